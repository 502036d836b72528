"""The daemon's vocabulary: distinct integer types, log entries, members.

Knows nothing of files, sockets or time. Everything here is immutable.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NewType

Term = NewType("Term", int)
"""Raft term; 0 before the first election."""
Index = NewType("Index", int)
"""Position in the Raft log; 0 is before the first entry."""
Revision = NewType("Revision", int)
"""MVCC main revision of the v3 store; 1 is the empty store."""
MemberId = NewType("MemberId", int)
"""64-bit member id; 0 means none."""
ClusterId = NewType("ClusterId", int)
"""64-bit cluster id; 0 means none."""

NO_MEMBER = MemberId(0)


class EntryKind(enum.IntEnum):
    """What the data of a log entry is."""

    COMMANDS = 0
    """A batch of state-machine commands; an empty batch is the no-op of a new leader."""
    MEMBERSHIP = 1
    """One membership change."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the replicated log.

    One entry carries *all* proposals that one member gathered in one loop turn (ADR 2):
    Raft's cost per entry is paid once per batch.
    """

    term: Term
    index: Index
    kind: EntryKind
    data: bytes
    checksum: int | None = field(default=None, compare=False)
    """CRC-32 of ``data`` when known: computed once by the proposing leader, checked once on each
    follower, and then reused by the log."""


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be on disk before a member answers (Ongaro 2014, figure 3.1)."""

    term: Term = Term(0)
    vote: MemberId = NO_MEMBER
    commit: Index = Index(0)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the cluster, as the cluster agreed on it."""

    member_id: MemberId
    name: str = ""
    """Empty until the member has started and published it."""
    peer_urls: tuple[str, ...] = ()
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False
    wants_vote: bool = False
    """A learner that was added as a voter: the leader promotes it once it has caught up."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The cluster's members by id, and the ids that may never come back."""

    members: dict[MemberId, Member] = field(default_factory=dict)
    removed: frozenset[MemberId] = frozenset()
    level: int = 1
    """What all members understand; see ``replica.levels``."""

    @property
    def voters(self) -> frozenset[MemberId]:
        """Ids of the members whose votes count."""
        return frozenset(i for i, m in self.members.items() if not m.is_learner)

    @property
    def learners(self) -> frozenset[MemberId]:
        """Ids of the members that only receive the log."""
        return frozenset(i for i, m in self.members.items() if m.is_learner)


class MembershipChangeKind(enum.IntEnum):
    """The single-step changes (Ongaro 2014, section 4.1) and the two that move no vote."""

    ADD_VOTER = 0
    ADD_LEARNER = 1
    PROMOTE = 2
    REMOVE = 3
    UPDATE_PEER_URLS = 4
    PUBLISH = 5
    """A started member tells its name and client URLs."""
    RAISE_LEVEL = 6
    """All members understand more than before."""


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """One proposed change; for REMOVE and PROMOTE only the id of ``member`` counts."""

    kind: MembershipChangeKind
    member: Member = Member(NO_MEMBER)
    level: int = 0
    """RAISE_LEVEL only."""
