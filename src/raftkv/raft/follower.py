"""A follower accepts a leader's log, answers, and campaigns when it hears nothing.

===================== ======================================= ================================
event                 what happens                            why
===================== ======================================= ================================
Append, log matches   take entries, promise AppendReply       acknowledged means on disk
Append, no match      AppendRejected with a hint              one round trip per term, not entry
Append below commit   AppendReply(commit)                     all of it is known to match
Heartbeat, Commit     commit what we surely share             entries may be in flight behind it
Snapshot, old         AppendReply(commit)                     nothing to install
Snapshot, in log      commit up to it                         the log is there, only the mark is not
Snapshot, unknown     ask the driver to install               no apply until it is done
TimeoutNow            campaign at once, without pre-vote      the leader itself asks for it
no message in time    pre-campaign; a learner only forgets    a learner never campaigns
                      the leader
leader's process      pre-campaign in turn, the first at the  nobody is left who could still
ended                 next tick (``RaftCore.note_gone``)      say that it leads
===================== ======================================= ================================
"""

from __future__ import annotations

from typing import Final

from raftkv.raft.member_state import MemberState, RoleName
from raftkv.raft.messages import (
    Append,
    AppendRejected,
    AppendReply,
    Commit,
    Heartbeat,
    HeartbeatReply,
    Message,
    Snapshot,
    TimeoutNow,
)
from raftkv.values import NO_MEMBER, Index, MemberId, Term


class Follower:
    """The role of members that do not lead; also of learners."""

    __slots__ = ("_state", "is_transfer")

    name: Final = RoleName.FOLLOWER

    def __init__(self, state: MemberState) -> None:
        self._state = state
        self.is_transfer = False
        """The next campaign was asked for by the leader."""

    def tick(self) -> RoleName | None:
        """Count; campaign when nothing was heard for a whole timeout."""
        state = self._state
        state.election_elapsed += 1
        if not state.is_voter or state.is_installing:
            if state.election_elapsed >= state.timeout_ticks:
                # It cannot campaign, but it can tell its clients that nobody leads.
                state.leader_id = NO_MEMBER
            return None
        if state.is_only_voter:
            # Nobody else could be leading: waiting would only delay the start.
            return RoleName.PRE_CANDIDATE
        if state.election_elapsed >= state.timeout_ticks:
            return RoleName.PRE_CANDIDATE
        return None

    def receive(self, sender: MemberId, message: Message) -> RoleName | None:
        """Handle a message of the current term; unknown kinds are answers to older roles."""
        kind = type(message)
        if kind is Append:
            assert isinstance(message, Append)
            self._hear(sender)
            self._receive_append(sender, message)
        elif isinstance(message, Commit):
            self._hear(sender)
            self._follow_commit(message.commit)
        elif isinstance(message, Heartbeat):
            self._hear(sender)
            self._follow_commit(message.commit)
            self._state.outputs.send(sender, HeartbeatReply(message.term, message.round_id))
        elif isinstance(message, Snapshot):
            self._hear(sender)
            self._receive_snapshot(sender, message)
        elif isinstance(message, TimeoutNow) and self._state.is_voter:
            if self._state.is_installing:
                return None
            self.is_transfer = True
            return RoleName.CANDIDATE
        return None

    def _hear(self, leader: MemberId) -> None:
        self._state.election_elapsed = 0
        self._state.leader_id = leader

    def _receive_append(self, sender: MemberId, message: Append) -> None:
        state = self._state
        if state.is_installing:
            return
        log = state.log
        prev_index = message.prev_index
        term = Term(state.term)
        if prev_index < log.commit:
            state.outputs.promise(sender, AppendReply(term, Index(log.commit)))
            return
        if log.term_at(prev_index) != message.prev_term:
            hint_index, hint_term = log.find_conflict(prev_index, message.prev_term)
            state.outputs.send(
                sender, AppendRejected(term, prev_index, Index(hint_index), Term(hint_term))
            )
            return
        entries = message.entries
        match = prev_index + len(entries)
        if entries:
            replaced_from = log.accept(prev_index, entries)
            if replaced_from is not None:
                state.outputs.limit_pending(replaced_from - 1)
        commit = min(message.commit, match)
        if commit > log.commit:
            log.commit = commit
        state.outputs.promise(sender, AppendReply(term, Index(match)))

    def _follow_commit(self, commit: Index) -> None:
        """The leader never names more than it knows to match here, so the entries are ours."""
        log = self._state.log
        if commit > log.commit and not self._state.is_installing:
            log.commit = min(commit, log.last)

    def _receive_snapshot(self, sender: MemberId, message: Snapshot) -> None:
        state = self._state
        log = state.log
        if state.is_installing:
            return
        if message.index > log.commit:
            if log.term_at(message.index) != message.snapshot_term:
                state.is_installing = True
                state.outputs.install = (message.index, message.snapshot_term)
                return
            log.commit = message.index
        state.outputs.promise(sender, AppendReply(Term(state.term), Index(log.commit)))
