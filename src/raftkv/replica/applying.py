"""Carrying out what is committed: batches to the state machine, changes to the membership.

Deterministic: every member does the same with the same entry. Only who is answered differs.
"""

from __future__ import annotations

from raftkv.raft.core import RaftCore
from raftkv.raft.leader import Leader
from raftkv.replica.apply import StateMachine
from raftkv.replica.batch import decode_commands, decode_header
from raftkv.replica.divergence import Divergence
from raftkv.replica.effects import Effects, Rejected, Rejection
from raftkv.replica.membership import ChangeRefusal, MembershipTable, decode_change
from raftkv.replica.proposals import Proposals
from raftkv.replica.replica_state import decode_state, encode_state
from raftkv.replica.sessions import Sessions
from raftkv.values import Entry, EntryKind, Index, MembershipChange, MembershipChangeKind, Term


class Applier:
    """The replicated state of one member (machine, membership, sessions), and who waits for it."""

    __slots__ = (
        "_core",
        "_incarnation",
        "_machine",
        "_proposals",
        "_sessions",
        "divergence",
        "is_removed",
        "membership",
        "term",
    )

    def __init__(
        self,
        core: RaftCore,
        machine: StateMachine,
        proposals: Proposals,
        incarnation: int,
        term: Term,
        level: int,
    ) -> None:
        self._core = core
        self._machine = machine
        self._proposals = proposals
        self._incarnation = incarnation
        self._sessions = Sessions()
        self.membership = MembershipTable(understood=level)
        self.term = term
        """Term of the entry applied last."""
        self.is_removed = False
        self.divergence = Divergence()
        self._note_chain(core.state.log.applied)

    # ---- entries ---------------------------------------------------------------------

    def apply_committed(self, effects: Effects) -> None:
        """Apply everything that is committed and not applied yet."""
        core = self._core
        state = core.state
        log = state.log
        size_bytes = 0
        while log.applied < log.commit and not state.is_installing:
            for entry in log.slice_applicable():
                if entry.term != self.term:
                    self.term = entry.term
                    self._proposals.settle_term(entry.term)
                log.applied = entry.index
                data = entry.data
                size_bytes += len(data)
                if entry.kind is not EntryKind.COMMANDS:
                    self._apply_change(entry, effects)
                elif data:
                    self._apply_batch(entry, data, effects)
                self._note_chain(entry.index)
            effects.applied = Index(log.applied)
        role = core.role
        if type(role) is Leader:
            role.note_applied(size_bytes)

    def _note_chain(self, index: int) -> None:
        machine = self._machine
        self.divergence.note(index, machine.chain_origin, machine.chain)

    def _apply_batch(self, entry: Entry, data: bytes, effects: Effects) -> None:
        origin, incarnation, sequence, count = decode_header(data)
        if origin not in self.membership.view.members or not self._sessions.accept(
            origin, incarnation, sequence
        ):
            return
        if incarnation == self._incarnation and origin == self._core.state.member_id:
            batch = self._proposals.take(sequence)
            if batch is not None:
                results = self._machine.apply(entry.index, entry.term, batch.commands, True)
                effects.replies.append((batch.tokens, results))
                return
        self._machine.apply(entry.index, entry.term, decode_commands(data, count), False)

    def _apply_change(self, entry: Entry, effects: Effects) -> None:
        origin, incarnation, sequence, count = decode_header(entry.data)
        if origin and (
            origin not in self.membership.view.members
            or not self._sessions.accept(origin, incarnation, sequence)
        ):
            return
        change = decode_change(decode_commands(entry.data, count)[0])
        refusal = self._change(change)
        if incarnation == self._incarnation and origin == self._core.state.member_id:
            batch = self._proposals.take(sequence)
            if batch is not None and batch.tokens and refusal is not None:
                effects.rejected.append(
                    Rejected(batch.tokens, Rejection.INVALID_CHANGE, refusal.value)
                )
            elif batch is not None:
                effects.membership_done.extend(batch.tokens)
        if refusal is None:
            self._follow_membership(effects)

    def _change(self, change: MembershipChange) -> ChangeRefusal | None:
        refusal = self.membership.find_refusal(change)
        if refusal is None:
            self.membership.apply(change)
            if change.kind is MembershipChangeKind.REMOVE:
                self._sessions.forget(change.member.member_id)
        return refusal

    def _follow_membership(self, effects: Effects) -> None:
        view = self.membership.view
        self._machine.level = view.level
        effects.membership_changed = True
        self._core.set_configuration(view.voters, view.learners)
        if self._core.state.member_id in view.removed and not self.is_removed:
            self.is_removed = True
            effects.removed = True

    # ---- whole states ----------------------------------------------------------------

    def encode_state(self) -> bytes:
        """Return membership and sessions, as they belong to the applied index."""
        return encode_state(self.membership, self._sessions)

    def load_state(self, data: bytes, effects: Effects) -> None:
        """Start from what the backend holds; empty for a member that never applied anything."""
        if data:
            decode_state(data, self.membership, self._sessions)
            self._follow_membership(effects)

    def install_state(self, index: Index, term: Term, data: bytes, effects: Effects) -> None:
        """The backend was replaced; own batches up to it are applied, their results are gone."""
        self.term = term
        decode_state(data, self.membership, self._sessions)
        incarnation, sequence = self._sessions.rows.get(self._core.state.member_id, (0, 0))
        if incarnation == self._incarnation:
            self._proposals.settle_through(sequence)
        self._proposals.settle_term(term)
        self._note_chain(index)
        effects.applied = index
        self._follow_membership(effects)
