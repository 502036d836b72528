"""Election safety: one leader per term, one vote per member and term."""

from __future__ import annotations

from raftkv.raft.messages import Message, VoteReply
from tests.simulation.clusters.world import Violation


class ElectionChecker:
    """Remembers all leaders and all votes of a run."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}

    def on_leader(self, member: int, term: int) -> None:
        """A member believes that it leads."""
        known = self.leaders.setdefault(term, member)
        if known != member:
            raise Violation(f"election safety: members {known} and {member} lead in term {term}")

    def on_send(self, sender: int, to: int, message: Message) -> None:
        """A message leaves."""
        if isinstance(message, VoteReply) and message.is_granted:
            known = self._votes.setdefault((sender, message.term), to)
            if known != to:
                raise Violation(
                    f"election safety: member {sender} voted for {known} and {to} in term "
                    f"{message.term}"
                )
