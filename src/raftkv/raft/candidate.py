"""A candidate collects votes; a pre-candidate asks whether it would get them (thesis 9.6).

A pre-candidate changes nothing that others can see: a member that was cut off does not raise
the term of a healthy cluster when it comes back. A candidate has raised its term; its own vote
counts only once it is on disk, and so do the requests leave only then: a candidate that lost
unsynced entries in a crash must not win by votes granted to the log it had before.
"""

from __future__ import annotations

from raftkv.raft.member_state import MemberState, RoleName
from raftkv.raft.messages import Message, PreVote, PreVoteReply, Vote, VoteReply
from raftkv.raft.quorum import has_quorum, is_vote_lost
from raftkv.values import Index, MemberId, Term


class Candidate:
    """Both kinds of candidate; ``name`` tells which."""

    __slots__ = ("_state", "name", "votes")

    def __init__(self, state: MemberState, *, is_pre_vote: bool) -> None:
        self._state = state
        self.name = RoleName.PRE_CANDIDATE if is_pre_vote else RoleName.CANDIDATE
        self.votes: dict[MemberId, bool] = {}

    def start(self, *, is_transfer: bool) -> RoleName | None:
        """Ask the other voters. The core has raised the term and voted already, if real."""
        state = self._state
        own = state.member_id
        last_index, last_term = Index(state.log.last), Term(state.log.last_term)
        if self.name is RoleName.PRE_CANDIDATE:
            for voter in state.voters:
                if voter != own:
                    term = Term(state.term + 1)
                    state.outputs.send(voter, PreVote(term, last_index, last_term))
            return self._count(own, is_granted=True)
        term = Term(state.term)
        for voter in state.voters:
            if voter != own:
                state.outputs.promise(voter, Vote(term, last_index, last_term, is_transfer))
        state.outputs.promise(own, VoteReply(term, is_granted=True))
        return None

    def tick(self) -> RoleName | None:
        """Start anew, from the pre-vote on, when the votes do not come."""
        state = self._state
        if self.name is RoleName.CANDIDATE and state.is_only_voter:
            # Only the own disk is awaited; a new term would not make it faster.
            return None
        state.election_elapsed += 1
        if state.election_elapsed < state.timeout_ticks:
            return None
        return RoleName.PRE_CANDIDATE if state.is_voter else RoleName.FOLLOWER

    def receive(self, sender: MemberId, message: Message) -> RoleName | None:
        """Count answers to this kind of campaign only."""
        expected = PreVoteReply if self.name is RoleName.PRE_CANDIDATE else VoteReply
        if type(message) is expected:
            assert isinstance(message, (PreVoteReply, VoteReply))
            return self._count(sender, is_granted=message.is_granted)
        return None

    def _count(self, sender: MemberId, *, is_granted: bool) -> RoleName | None:
        self.votes.setdefault(sender, is_granted)
        voters = self._state.voters
        if has_quorum(voters, (i for i, granted in self.votes.items() if granted)):
            if self.name is RoleName.PRE_CANDIDATE:
                return RoleName.CANDIDATE
            return RoleName.LEADER
        if is_vote_lost(voters, self.votes):
            return RoleName.FOLLOWER
        return None
