"""Starting one survivor as a cluster of its own, after the quorum is lost for good.

Unlike etcd's ``--force-new-cluster`` nothing is cut off the log: an entry that this member holds
may have been committed by a majority that is gone, and whoever was told so must find it. What was
never acknowledged may appear too, as after any crash.

Removals of the others are appended and declared committed, under a term above everything that this
member has seen. From then on it is the only voter, and the removed ids can never come back.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from raftkv.raft.log_view import LogView
from raftkv.replica.batch import decode_commands, decode_header, encode_batch
from raftkv.replica.booting import view_log
from raftkv.replica.inputs import Boot
from raftkv.replica.membership import MembershipTable, decode_change, encode_change
from raftkv.replica.replica_state import decode_state
from raftkv.replica.sessions import Sessions
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


@dataclass(frozen=True, slots=True)
class Forced:
    """What the log must hold before the member starts (``log.wal.LogWrite``)."""

    hard_state: HardState
    entries: tuple[Entry, ...]
    reset_to: tuple[Index, Term] | None
    boot: Boot
    """What the replica then starts from."""
    removed: tuple[Member, ...]


class NotForceableError(Exception):
    """This member cannot become a cluster of its own; says why."""


def read_membership(boot: Boot) -> Membership:
    """The membership at the end of the log, as if all of it were committed."""
    log, _ = view_log(boot)
    return _read_membership(boot, log)


def _read_all(log: LogView) -> tuple[Entry, ...]:
    return log.read(log.start + 1, sys.maxsize)


def _read_membership(boot: Boot, log: LogView) -> Membership:
    table = MembershipTable()
    if boot.state:
        decode_state(boot.state, table, Sessions())
    for entry in _read_all(log):
        if entry.index > boot.applied and entry.kind is EntryKind.MEMBERSHIP:
            count = decode_header(entry.data)[3]
            change = decode_change(decode_commands(entry.data, count)[0])
            if table.find_refusal(change) is None:
                table.apply(change)
    return table.view


def force_alone(boot: Boot) -> Forced | None:
    """Return what makes this member the only one; None when it is alone already.

    Raises:
        NotForceableError: the member itself does not belong to its cluster any more.
    """
    log, is_behind = view_log(boot)
    membership = _read_membership(boot, log)
    me = membership.members.get(boot.member_id)
    if me is None:
        raise NotForceableError(f"member {boot.member_id:x} was removed from the cluster")
    others = tuple(m for i, m in sorted(membership.members.items()) if i != boot.member_id)
    if not others:
        return None
    changes = [MembershipChange(MembershipChangeKind.REMOVE, member) for member in others]
    if me.is_learner:
        changes.insert(0, MembershipChange(MembershipChangeKind.PROMOTE, me))
    term = Term(max(boot.hard_state[0], log.last_term) + 1)
    entries = tuple(
        Entry(
            term,
            Index(log.last + number),
            EntryKind.MEMBERSHIP,
            encode_batch(0, 0, 0, [encode_change(change)]),
        )
        for number, change in enumerate(changes, 1)
    )
    hard_state = HardState(term, MemberId(boot.member_id), entries[-1].index)
    reset_to = (Index(log.start), Term(log.start_term)) if is_behind else None
    started = replace(
        boot,
        hard_state=(hard_state.term, hard_state.vote, hard_state.commit),
        log_start=Index(log.start),
        log_start_term=Term(log.start_term),
        entries=[*_read_all(log), *entries],
    )
    return Forced(hard_state, entries, reset_to, started, others)
