"""The Raft core: term rules, votes and role transitions around one :class:`MemberState`.

Sans I/O: messages, ticks and finished writes come in as calls; messages, writes, confirmed reads
and snapshot requests pile up in ``state.outputs`` until the replica takes them.

Which messages may change the term (etcd's rules; 0 means the message has no term):

================ ============================== ==============================================
message's term   kind                           rule
================ ============================== ==============================================
higher           Vote, PreVote, leader is alive ignored: a member that was cut off, or was
                 and no transfer                removed and does not know it, disturbs nobody
higher           PreVote                        answered, own term stays
higher           PreVoteReply, granted          counted, own term stays (it names the asked one)
higher           any other                      own term rises, this member follows
lower            Append, Heartbeat, ...         StaleTerm: the old leader steps down
lower            PreVote                        refused with the own term
lower            any other                      ignored
equal            Append, Heartbeat, ...         a candidate follows the winner
================ ============================== ==============================================

Transitions::

    FOLLOWER ──timeout──► PRE_CANDIDATE ──majority would──► CANDIDATE ──majority did──► LEADER
        ▲ └──TimeoutNow──────────────────────────────────────►┘                          │
        └──────── higher term, current leader, votes lost, no quorum, disk stalled ◄─────┘
"""

from __future__ import annotations

from collections.abc import Iterable

from raftkv.raft.candidate import Candidate
from raftkv.raft.chance import Chance
from raftkv.raft.errors import InvariantViolated
from raftkv.raft.follower import Follower
from raftkv.raft.leader import Leader
from raftkv.raft.log_view import LogView
from raftkv.raft.member_state import MemberState, RoleName
from raftkv.raft.messages import (
    Append,
    AppendReply,
    Commit,
    Heartbeat,
    Message,
    PreVote,
    PreVoteReply,
    Snapshot,
    StaleTerm,
    Vote,
    VoteReply,
)
from raftkv.raft.outputs import LogWrite
from raftkv.raft.settings import RaftSettings
from raftkv.values import NO_MEMBER, HardState, Index, MemberId, Term

_VOTE_REQUESTS = frozenset({Vote, PreVote})
_FROM_LEADER = frozenset({Append, Commit, Heartbeat, Snapshot})


class RaftCore:
    """One member's part in the algorithm."""

    __slots__ = ("_reset_to", "_written", "role", "state")

    def __init__(
        self,
        member_id: MemberId,
        settings: RaftSettings,
        chance: Chance,
        log: LogView,
        hard_state: HardState,
    ) -> None:
        state = MemberState(member_id, settings, chance, log)
        state.term = max(hard_state.term, log.last_term)
        state.vote = hard_state.vote if hard_state.term == state.term else NO_MEMBER
        if hard_state.commit > log.last:
            # The commit index is written in one piece with the entries it came with.
            raise InvariantViolated(f"commit {hard_state.commit} beyond the log's end {log.last}")
        log.commit = max(log.commit, hard_state.commit)
        self.state = state
        self.role: Follower | Candidate | Leader = Follower(state)
        self._written = hard_state
        self._reset_to: tuple[Index, Term] | None = None
        state.restart_timeout()

    # ---- inputs ----------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of the logical clock."""
        wanted = self.role.tick()
        if wanted is not None:
            self._become(wanted)

    def receive(self, sender: MemberId, message: Message) -> None:
        """Take a message: first its term, then its meaning for the role."""
        state = self.state
        term = message.term
        if term != state.term and term and not self._settle_term(sender, message, term):
            return
        kind = type(message)
        role = self.role
        if kind in _FROM_LEADER:
            if role.name is RoleName.LEADER:
                raise InvariantViolated(f"two leaders in term {term}: {sender} and this member")
            if role.name is not RoleName.FOLLOWER:
                self._follow(term, sender)
                role = self.role
        elif kind in _VOTE_REQUESTS:
            assert isinstance(message, (Vote, PreVote))
            self._receive_vote_request(sender, message)
            return
        wanted = role.receive(sender, message)
        if wanted is not None:
            self._become(wanted)

    def note_gone(self, member: MemberId) -> None:
        """The transport is sure that this member's process has ended (see ``inputs.Gone``).

        When it led, waiting out the election timeout would be of no use: it is over for this
        member, and the voters campaign one after the other instead of at random, so that no vote
        is split. A rumour does no harm: pre-votes need a majority that believes it, and the next
        word of a living leader ends it.
        """
        state = self.state
        if member != state.leader_id or type(self.role) is not Follower:
            return
        successors = [voter for voter in state.voters if voter != member]
        turn = 1
        if state.member_id in successors:
            turn += 2 * successors.index(state.member_id)
        left = min(turn, state.timeout_ticks - state.election_elapsed)
        state.election_elapsed = max(state.election_elapsed, state.settings.election_ticks)
        state.timeout_ticks = state.election_elapsed + left

    def finish_writes(self, sequence: int) -> None:
        """All writes up to ``sequence`` are on disk: keep the promises that waited for them."""
        state = self.state
        stable, promises = state.outputs.finish_writes(sequence)
        if stable > state.log.stable:
            state.log.mark_stable(stable)
            role = self.role
            if type(role) is Leader:
                role.advance_commit()
        self._keep(promises)

    def take_write(self, *, is_tick: bool) -> LogWrite | None:
        """Return what must be written now, and bind the promises made so far to it.

        The commit index rides along with every write of entries and never follows later: that
        a member holding a membership change also knows the commit of the change before it is
        what makes changes safe that take effect when applied. Alone it is written on ticks only.
        """
        state = self.state
        log = state.log
        outputs = state.outputs
        written = self._written
        has_new_vote = state.term != written.term or state.vote != written.vote
        has_new_commit = log.commit != written.commit
        must_sync = log.has_unwritten or has_new_vote or self._reset_to is not None
        if not must_sync:
            if outputs.has_promises:
                self._keep(outputs.release_unbound())
            if not (is_tick and has_new_commit):
                return None
        hard_state = None
        if has_new_vote or has_new_commit:
            hard_state = HardState(Term(state.term), state.vote, Index(log.commit))
            self._written = hard_state
        entries, truncate_from = log.take_unwritten()
        reset_to, self._reset_to = self._reset_to, None
        if must_sync:
            sequence = outputs.begin_write(log.last)
        else:
            outputs.sequence += 1
            sequence = outputs.sequence
        return LogWrite(
            sequence,
            hard_state,
            entries,
            None if truncate_from is None else Index(truncate_from),
            must_sync,
            reset_to,
        )

    def set_configuration(self, voters: Iterable[MemberId], learners: Iterable[MemberId]) -> None:
        """The applied configuration changed: count and send accordingly from now on."""
        state = self.state
        state.voters = tuple(sorted(voters))
        state.learners = tuple(sorted(learners))
        role = self.role
        if type(role) is Leader:
            if not state.is_voter:
                # Tell everybody the commit of our own removal before falling silent.
                role.broadcast()
                self._follow(state.term, NO_MEMBER)
                return
            for member in sorted(role.progress.keys() - {*state.voters, *state.learners}):
                role.farewell(member)
            role.follow_configuration()
            if role.transferee not in state.voters:
                role.transferee = NO_MEMBER
            # A smaller quorum may already have been reached.
            role.advance_commit()

    def end_install(self, index: Index, term: Term) -> None:
        """The backend was replaced by the snapshot; the log starts anew after it."""
        state = self.state
        state.is_installing = False
        state.log.reset(index, term)
        state.outputs.limit_pending(0)
        self._reset_to = (index, term)
        if state.term < term:
            state.term = term
            state.vote = NO_MEMBER
        if state.leader_id != NO_MEMBER and state.leader_id != state.member_id:
            state.outputs.promise(state.leader_id, AppendReply(Term(state.term), index))

    def discard_log(self, index: Index, term: Term) -> None:
        """At boot: the log is older than the applied state (a crash while installing)."""
        self._reset_to = (index, term)

    # ---- terms and votes -------------------------------------------------------------

    def _settle_term(self, sender: MemberId, message: Message, term: int) -> bool:
        """Apply the table above to a foreign term; True when the message goes on."""
        state = self.state
        kind = type(message)
        if term > state.term:
            if isinstance(message, (Vote, PreVote)):
                is_transfer = isinstance(message, Vote) and message.is_transfer
                if not is_transfer and self._has_living_leader():
                    return False
                if kind is PreVote:
                    return True
            if isinstance(message, PreVoteReply) and message.is_granted:
                return term == state.term + 1
            self._follow(term, sender if kind in _FROM_LEADER else NO_MEMBER)
            return kind is not StaleTerm
        if kind in _FROM_LEADER:
            state.outputs.send(sender, StaleTerm(Term(state.term)))
        elif kind is PreVote:
            state.outputs.send(sender, PreVoteReply(Term(state.term), is_granted=False))
        return False

    def _has_living_leader(self) -> bool:
        state = self.state
        return (
            state.leader_id != NO_MEMBER and state.election_elapsed < state.settings.election_ticks
        )

    def _receive_vote_request(self, sender: MemberId, message: Vote | PreVote) -> None:
        state = self.state
        may_vote = state.vote == sender or (
            state.vote == NO_MEMBER and state.leader_id == NO_MEMBER
        )
        if type(message) is PreVote and message.term > state.term:
            may_vote = True
        is_granted = may_vote and state.log.is_up_to_date(message.last_index, message.last_term)
        if type(message) is PreVote:
            term = message.term if is_granted else Term(state.term)
            state.outputs.send(sender, PreVoteReply(term, is_granted))
            return
        if is_granted:
            state.election_elapsed = 0
            state.vote = sender
        state.outputs.promise(sender, VoteReply(Term(state.term), is_granted))

    def _keep(self, promises: list[tuple[MemberId, Message]]) -> None:
        own = self.state.member_id
        for to, message in promises:
            if to == own:
                self.receive(own, message)
            else:
                self.state.outputs.send(to, message)

    # ---- transitions -----------------------------------------------------------------

    def _become(self, wanted: RoleName) -> None:
        next_role: RoleName | None = wanted
        while next_role is not None:
            if next_role is RoleName.FOLLOWER:
                self._follow(self.state.term, NO_MEMBER)
                next_role = None
            elif next_role is RoleName.LEADER:
                self._lead()
                next_role = None
            else:
                next_role = self._campaign(is_pre_vote=next_role is RoleName.PRE_CANDIDATE)

    def _follow(self, term: int, leader: MemberId) -> None:
        state = self.state
        if term < state.term:
            raise InvariantViolated(f"term would fall from {state.term} to {term}")
        if term > state.term:
            state.term = term
            state.vote = NO_MEMBER
        state.leader_id = leader
        state.restart_timeout()
        self.role = Follower(state)

    def _campaign(self, *, is_pre_vote: bool) -> RoleName | None:
        state = self.state
        is_transfer = isinstance(self.role, Follower) and self.role.is_transfer
        state.leader_id = NO_MEMBER
        state.restart_timeout()
        if not is_pre_vote:
            state.term += 1
            state.vote = state.member_id
        role = Candidate(state, is_pre_vote=is_pre_vote)
        self.role = role
        return role.start(is_transfer=is_transfer)

    def _lead(self) -> None:
        state = self.state
        state.leader_id = state.member_id
        state.restart_timeout()
        role = Leader(state)
        self.role = role
        role.start()
