"""Planted bugs: does the simulation find what it exists to find?

None of this is in production code: a mutant replaces a method, or makes the disk forget.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

from raftkv.lease.clock import LeaseClock
from raftkv.lease.lessor import Lessor
from raftkv.raft.core import RaftCore
from raftkv.raft.leader import Leader
from raftkv.raft.log_view import LogView
from raftkv.raft.messages import AppendReply, Heartbeat, Vote
from raftkv.raft.outputs import Outputs
from raftkv.raft.quorum import quorum_count
from raftkv.raft.read_index import ReadRequest, ReadRounds
from raftkv.replica import step
from raftkv.replica.applying import Applier
from raftkv.replica.effects import Effects
from raftkv.replica.sessions import Sessions
from raftkv.values import Entry, EntryKind, HardState, Index, MemberId, Term

Replacement = tuple[type | ModuleType, str, Callable[..., Any]]

DISK_MUTANTS: dict[str, frozenset[str]] = {
    "vote-not-persisted": frozenset({"vote"}),
    "term-not-persisted": frozenset({"term"}),
    "torn-writes": frozenset({"atomicity"}),
}
"""What the disk forgets: parts of the hard state, or that a write is all or nothing."""


def _always(*_: object) -> bool:
    return True


def _never(*_: object) -> bool:
    return False


def _start_without_time(self: LeaseClock, lessor: Lessor, _extra_ms: int) -> None:
    _start_clock(self, lessor, 0)
    self._fresh = dict.fromkeys(lessor.leases, 0)


_start_clock = LeaseClock.start


def _promise_appends_at_once(self: Outputs, to: MemberId, message: Any) -> None:
    if isinstance(message, AppendReply):
        self.messages.append((to, message))
    else:
        self._promises.append((to, message))


def _promise_votes_at_once(self: Outputs, to: MemberId, message: Any) -> None:
    if isinstance(message, Vote):
        self.messages.append((to, message))
    else:
        self._promises.append((to, message))


def _start_read_round_alone(self: Leader) -> None:
    if self.reads.has_gathered and self.has_committed_in_term:
        self.reads.start(Index(self._state.log.commit), self._state.member_id)
        self._answer_reads()


_accept = LogView.accept


def _accept_and_truncate(self: LogView, prev_index: int, entries: tuple[Entry, ...]) -> int | None:
    replaced = _accept(self, prev_index, entries)
    end = prev_index + len(entries)
    if entries and self.commit < end < self.last:
        self._truncate(end + 1)
        return end + 1 if replaced is None else min(replaced, end + 1)
    return replaced


def _count_learners(self: Leader) -> None:
    log = self._state.log
    matches = sorted([log.stable, *(p.match for p in self.progress.values())], reverse=True)
    index = matches[min(quorum_count(len(self._state.voters)), len(matches)) - 1]
    if index > log.commit and self.may_commit(index):
        log.commit = index


def _count_unsynced(self: LogView, _index: int) -> None:
    self.stable = self.last


def _load_nothing(self: Sessions, _data: bytes) -> None:
    self.rows = {}


_init_core = RaftCore.__init__


def _trust_torn_commit(
    self: RaftCore, member_id: Any, settings: Any, chance: Any, log: LogView, hard_state: HardState
) -> None:
    commit = Index(min(hard_state.commit, log.last))
    _init_core(self, member_id, settings, chance, log, replace(hard_state, commit=commit))


def _heartbeat_full_commit(self: Leader) -> None:
    state = self._state
    for member in self.progress:
        beat = Heartbeat(Term(state.term), Index(state.log.commit), self.reads.round_id)
        state.outputs.send(member, beat)


_install_state = Applier.install_state


def _install_without_configuration(
    self: Applier, index: Index, term: Term, data: bytes, effects: Effects
) -> None:
    before = self.membership.view
    _install_state(self, index, term, data, effects)
    if before.members:
        self.membership.view = before
        self._core.set_configuration(before.voters, before.learners)


_set_configuration = RaftCore.set_configuration


def _keep_removed_voters(
    self: RaftCore, voters: Iterable[MemberId], learners: Iterable[MemberId]
) -> None:
    _set_configuration(self, {*voters, *self.state.voters}, learners)


_slice_applicable = LogView.slice_applicable


def _swap_neighbours(self: LogView) -> list[Entry]:
    entries = _slice_applicable(self)
    if len(entries) > 1 and all(e.kind is EntryKind.COMMANDS and e.data for e in entries[:2]):
        first, second = entries[:2]
        entries[:2] = [replace(first, data=second.data), replace(second, data=first.data)]
    return entries


def _join_round(self: ReadRounds, request: ReadRequest) -> None:
    (self._asked if self.is_out else self._gathered).append(request)


_REPLACEMENTS: dict[str, list[Replacement]] = {
    "vote-not-persisted": [],
    "term-not-persisted": [],
    "torn-writes": [(RaftCore, "__init__", _trust_torn_commit)],
    "old-term-committed-by-count": [(Leader, "may_commit", _always)],
    "ack-before-fsync": [(Outputs, "promise", _promise_appends_at_once)],
    "read-without-quorum": [(Leader, "start_read_round", _start_read_round_alone)],
    "truncate-on-stale-append": [(LogView, "accept", _accept_and_truncate)],
    "learner-counted-as-voter": [(Leader, "advance_commit", _count_learners)],
    "duplicates-applied": [(Sessions, "accept", _always)],
    "two-changes-at-once": [(Leader, "may_change_voters", _always)],
    "vote-without-log-check": [(LogView, "is_up_to_date", _always)],
    "vote-request-before-fsync": [(Outputs, "promise", _promise_votes_at_once)],
    "leader-counts-unsynced": [(LogView, "mark_stable", _count_unsynced)],
    "sessions-not-in-snapshot": [(Sessions, "load", _load_nothing)],
    "commit-beyond-match": [(Leader, "_send_heartbeats", _heartbeat_full_commit)],
    "snapshot-forgets-configuration": [(Applier, "install_state", _install_without_configuration)],
    "removed-voter-counted": [(RaftCore, "set_configuration", _keep_removed_voters)],
    "apply-out-of-order": [(LogView, "slice_applicable", _swap_neighbours)],
    "read-joins-old-round": [(ReadRounds, "gather", _join_round)],
    "lease-revoked-by-a-deposed-leader": [(Lessor, "is_void", _never)],
    "new-leader-gives-leases-no-time": [(LeaseClock, "start", _start_without_time)],
    "read-before-own-commit": [(Leader, "has_committed_in_term", property(_always))],  # type: ignore[list-item]
}


def _raise_level_alone(current: int, own: int, *_: object) -> int:
    return max(current, own)


_REPLACEMENTS["level-raised-over-older-members"] = [(step, "find_level", _raise_level_alone)]

MUTANTS = sorted(_REPLACEMENTS)


@contextlib.contextmanager
def planted(mutant: str | None) -> Iterator[None]:
    """Plant a mutant for the time of one run."""
    replacements = _REPLACEMENTS[mutant] if mutant is not None else []
    originals = [(owner, name, owner.__dict__[name]) for owner, name, _ in replacements]
    for owner, name, replacement in replacements:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
