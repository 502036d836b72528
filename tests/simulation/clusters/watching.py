"""All checkers of one run, and the one place where a step passes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from raftkv.raft.member_state import RoleName
from raftkv.replica.effects import Effects, SendSnapshot
from raftkv.replica.step import Replica
from tests.simulation.clusters.checkers.apply_equality import ApplyChecker
from tests.simulation.clusters.checkers.durability import DurabilityChecker
from tests.simulation.clusters.checkers.election import ElectionChecker
from tests.simulation.clusters.checkers.lease_safety import LeaseChecker
from tests.simulation.clusters.checkers.linearizability import LinearizabilityChecker
from tests.simulation.clusters.checkers.log_matching import LogChecker
from tests.simulation.clusters.disk import BackendState

if TYPE_CHECKING:
    from tests.simulation.clusters.member import SimulatedMember


class Watching:
    """The checkers, and snapshots under way."""

    def __init__(self) -> None:
        self.applied = ApplyChecker()
        self.elections = ElectionChecker()
        self.logs = LogChecker()
        self.linearizability = LinearizabilityChecker()
        self.durability = DurabilityChecker()
        self.leases = LeaseChecker()
        self.on_send_snapshot: Callable[[SimulatedMember, SendSnapshot], None] = _refuse
        self._snapshots: dict[int, BackendState] = {}
        self._commits: dict[int, int] = {}
        self._leading: dict[int, int] = {}
        self.snapshots_count = 0
        self.on_new_leader: Callable[[int], None] = _ignore
        self.on_replacing_write: Callable[[int], None] = _ignore

    def on_step(self, member: int, replica: Replica, effects: Effects) -> None:
        """Check what one step did."""
        log = replica._core.state.log
        for send in effects.send:
            self.elections.on_send(member, send.to, send.message)
        for persist in effects.persist:
            if persist.entries:
                entries = list(persist.entries)
                self.logs.on_write(member, entries, log.term_at(entries[0].index - 1))
        commit = replica.commit_index
        if self._commits.get(member) != commit:
            self._commits[member] = commit
            term = log.term_at(commit)
            if term is not None and commit:
                self.logs.on_commit(member, commit, term)
        if replica.role is RoleName.LEADER:
            term = replica.term
            if self._leading.get(member) != term:
                self._leading[member] = term
                self.elections.on_leader(member, term)
                self.logs.on_leader(member, term, log)
                self.on_new_leader(member)

    def keep_snapshot(self, state: BackendState) -> None:
        """A snapshot file exists somewhere."""
        self._snapshots[state.index] = state
        self.snapshots_count += 1

    def find_snapshot(self, index: int) -> BackendState:
        """Return the file for this index: equal on all members, as the checkers show."""
        return self._snapshots[index]


def _ignore(_member: int) -> None:
    pass


def _refuse(_member: SimulatedMember, _snapshot: SendSnapshot) -> None:
    raise AssertionError("no snapshot transport")
