"""Who belongs to the cluster: the table that membership entries change, and their encoding.

A change is checked twice: by the leader before it appends (so that the caller gets a reason), and
when it is applied (so that every member decides the same from the same state).

Encodings, little endian; ``text`` is u16 length + UTF-8::

    member  = id u64, flags u8, name text, count u16 x text peer, count u16 x text client
    flags   = 1 learner | 2 wants a vote
    change  = kind u8, member; for RAISE_LEVEL: kind u8, level u8
    table   = format u8, count u32 x member, count u32 x removed id u64; in format 2: level u8

A table is written in format 1 for as long as the cluster is at level 1 (see ``levels``).
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections.abc import Iterable

from raftkv.raft.errors import InvariantViolated
from raftkv.replica.batch import encode_batch
from raftkv.replica.levels import FIRST_LEVEL, LEVEL, check_level
from raftkv.values import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Member,
    MemberId,
    Membership,
    MembershipChange,
    MembershipChangeKind,
    Term,
)

TABLE_FORMAT = 2
LEARNERS_MAX = 1
"""etcd's default for --max-learners: each one costs the leader a whole log stream."""
WAITING_MAX = 4
"""Learners that wait for their vote; the same cost, but the leader ends it by itself."""
_LEARNER = 1
_WANTS_VOTE = 2


class ChangeRefusal(enum.Enum):
    """Why a change is refused; the value is ``Rejected.detail``."""

    MEMBER_EXISTS = "member exists"
    MEMBER_REMOVED = "member was removed"
    MEMBER_NOT_FOUND = "member not found"
    PEER_URL_EXISTS = "peer URL exists"
    NOT_LEARNER = "member is not a learner"
    LEARNER_NOT_READY = "learner is not in sync with the leader"
    TOO_MANY_LEARNERS = "too many learners"
    LAST_VOTER = "last voter"
    LEVEL_NOT_ABOVE = "the cluster is at this level"
    CHANGE_IN_FLIGHT = "another change is in flight"


VOTER_CHANGES = frozenset(
    {
        MembershipChangeKind.ADD_VOTER,
        MembershipChangeKind.ADD_LEARNER,
        MembershipChangeKind.PROMOTE,
        MembershipChangeKind.REMOVE,
    }
)
"""Changes of which only one may be under way (thesis 4.1: majorities of neighbours overlap)."""


class MembershipTable:
    """The applied membership. ``view`` is replaced, never changed in place."""

    __slots__ = ("_understood", "learners_max", "view")

    def __init__(self, learners_max: int = LEARNERS_MAX, understood: int = LEVEL) -> None:
        """``understood``: the highest level that this member understands."""
        self.view = Membership()
        self.learners_max = learners_max
        self._understood = understood

    def find_refusal(self, change: MembershipChange) -> ChangeRefusal | None:
        """Return why this change is not possible now; None when it is."""
        members = self.view.members
        member = change.member
        kind = change.kind
        if kind in {MembershipChangeKind.ADD_VOTER, MembershipChangeKind.ADD_LEARNER}:
            return self._find_addition_refusal(change)
        if kind is MembershipChangeKind.RAISE_LEVEL:
            return ChangeRefusal.LEVEL_NOT_ABOVE if change.level <= self.view.level else None
        known = members.get(member.member_id)
        if known is None:
            return ChangeRefusal.MEMBER_NOT_FOUND
        if kind is MembershipChangeKind.PROMOTE and not known.is_learner:
            return ChangeRefusal.NOT_LEARNER
        if kind is MembershipChangeKind.REMOVE and self.view.voters == {member.member_id}:
            return ChangeRefusal.LAST_VOTER
        if kind is MembershipChangeKind.UPDATE_PEER_URLS:
            others = [m for m in members.values() if m.member_id != member.member_id]
            if _shares_peer_url(member, others):
                return ChangeRefusal.PEER_URL_EXISTS
        return None

    def _find_addition_refusal(self, change: MembershipChange) -> ChangeRefusal | None:
        view = self.view
        member = change.member
        if member.member_id in view.members:
            return ChangeRefusal.MEMBER_EXISTS
        if member.member_id in view.removed:
            return ChangeRefusal.MEMBER_REMOVED
        if _shares_peer_url(member, view.members.values()):
            return ChangeRefusal.PEER_URL_EXISTS
        if change.kind is MembershipChangeKind.ADD_LEARNER:
            alike = [i for i in view.learners if view.members[i].wants_vote == member.wants_vote]
            if len(alike) >= (WAITING_MAX if member.wants_vote else self.learners_max):
                return ChangeRefusal.TOO_MANY_LEARNERS
        return None

    def apply(self, change: MembershipChange) -> None:
        """Make a possible change.

        Raises:
            InvariantViolated: the members agreed on a level that this version does not know.
        """
        members = dict(self.view.members)
        removed = self.view.removed
        member = change.member
        known = members.get(member.member_id)
        kind = change.kind
        if kind is MembershipChangeKind.RAISE_LEVEL:
            check_level(change.level, self._understood)
            self.view = dataclasses.replace(self.view, level=change.level)
            return
        if kind is MembershipChangeKind.ADD_VOTER:
            members[member.member_id] = dataclasses.replace(member, is_learner=False)
        elif kind is MembershipChangeKind.ADD_LEARNER:
            members[member.member_id] = dataclasses.replace(member, is_learner=True)
        elif known is None:
            raise InvariantViolated(f"change {kind.name} of unknown member {member.member_id}")
        elif kind is MembershipChangeKind.PROMOTE:
            members[member.member_id] = dataclasses.replace(
                known, is_learner=False, wants_vote=False
            )
        elif kind is MembershipChangeKind.REMOVE:
            del members[member.member_id]
            removed |= {member.member_id}
        elif kind is MembershipChangeKind.UPDATE_PEER_URLS:
            members[member.member_id] = dataclasses.replace(known, peer_urls=member.peer_urls)
        else:
            members[member.member_id] = dataclasses.replace(
                known, name=member.name, client_urls=member.client_urls
            )
        self.view = dataclasses.replace(self.view, members=members, removed=removed)

    def encode(self) -> bytes:
        """Return the table's bytes."""
        view = self.view
        has_level = view.level > FIRST_LEVEL
        return b"".join(
            (
                struct.pack("<BI", TABLE_FORMAT if has_level else 1, len(view.members)),
                *(_encode_member(view.members[i]) for i in sorted(view.members)),
                struct.pack("<I", len(view.removed)),
                *(struct.pack("<Q", i) for i in sorted(view.removed)),
                bytes((view.level,)) if has_level else b"",
            )
        )

    def load(self, data: bytes) -> None:
        """Replace the table by encoded bytes.

        Raises:
            InvariantViolated: a newer version wrote them.
        """
        table_format, count = struct.unpack_from("<BI", data)
        if not 1 <= table_format <= TABLE_FORMAT:
            raise InvariantViolated(
                f"membership table has format {table_format}, this version knows {TABLE_FORMAT}: "
                "start the newer version again"
            )
        offset = 5
        members: dict[MemberId, Member] = {}
        for _ in range(count):
            member, offset = _decode_member(data, offset)
            members[member.member_id] = member
        (removed_count,) = struct.unpack_from("<I", data, offset)
        removed = struct.unpack_from(f"<{removed_count}Q", data, offset + 4)
        level = data[offset + 4 + 8 * removed_count] if table_format > 1 else FIRST_LEVEL
        check_level(level, self._understood)
        self.view = Membership(members, frozenset(MemberId(i) for i in removed), level)


def encode_change(change: MembershipChange) -> bytes:
    """Return the one command of a membership entry."""
    if change.kind is MembershipChangeKind.RAISE_LEVEL:
        return bytes((change.kind, change.level))
    return bytes((change.kind,)) + _encode_member(change.member)


def decode_change(data: bytes) -> MembershipChange:
    """Return the change that a membership entry holds."""
    kind = MembershipChangeKind(data[0])
    if kind is MembershipChangeKind.RAISE_LEVEL:
        return MembershipChange(kind, level=data[1])
    member, _ = _decode_member(data, 1)
    return MembershipChange(kind, member)


def bootstrap_entries(members: Iterable[Member]) -> list[Entry]:
    """Return the first entries of a new cluster, byte for byte equal on all founding members.

    So the log alone carries the whole membership, and a joining member needs nothing else. They
    count as committed: the founders start with :func:`bootstrap_hard_state`.
    """
    entries: list[Entry] = []
    for member in sorted(members, key=lambda m: m.member_id):
        kind = (
            MembershipChangeKind.ADD_LEARNER
            if member.is_learner
            else MembershipChangeKind.ADD_VOTER
        )
        data = encode_batch(0, 0, 0, [encode_change(MembershipChange(kind, member))])
        entries.append(Entry(Term(1), Index(len(entries) + 1), EntryKind.MEMBERSHIP, data))
    return entries


def bootstrap_hard_state(members_count: int) -> HardState:
    """Return the hard state that goes with :func:`bootstrap_entries`."""
    return HardState(Term(1), MemberId(0), Index(members_count))


def _shares_peer_url(member: Member, others: Iterable[Member]) -> bool:
    urls = set(member.peer_urls)
    return any(not urls.isdisjoint(other.peer_urls) for other in others)


def _encode_text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<H", len(data)) + data


def _decode_text(data: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<H", data, offset)
    end = offset + 2 + length
    return data[offset + 2 : end].decode(), end


def _encode_member(member: Member) -> bytes:
    flags = _LEARNER * member.is_learner | _WANTS_VOTE * member.wants_vote
    parts = [struct.pack("<QB", member.member_id, flags), _encode_text(member.name)]
    for urls in (member.peer_urls, member.client_urls):
        parts.append(struct.pack("<H", len(urls)))
        parts.extend(_encode_text(url) for url in urls)
    return b"".join(parts)


def _decode_member(data: bytes, offset: int) -> tuple[Member, int]:
    member_id, flags = struct.unpack_from("<QB", data, offset)
    name, offset = _decode_text(data, offset + 9)
    url_lists: list[tuple[str, ...]] = []
    for _ in range(2):
        (count,) = struct.unpack_from("<H", data, offset)
        offset += 2
        urls: list[str] = []
        for _ in range(count):
            url, offset = _decode_text(data, offset)
            urls.append(url)
        url_lists.append(tuple(urls))
    is_learner, wants_vote = bool(flags & _LEARNER), bool(flags & _WANTS_VOTE)
    peer_urls, client_urls = url_lists
    member = Member(MemberId(member_id), name, peer_urls, client_urls, is_learner, wants_vote)
    return member, offset
