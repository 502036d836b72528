"""Linearizable reads without writing to the log (thesis 6.4).

A leader may answer a read at its commit index once it knows that it still led *after* the read
arrived: a quorum answered a heartbeat sent since. Reads are gathered: while one round is out, all
that arrive wait together for the next one, so a thousand reads cost as many heartbeats as one.

The leader must have committed an entry of its own term first; before that it does not know what
its predecessors committed (thesis 6.4, step 1).
"""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.values import Index, MemberId


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Who asked, and what to say back."""

    requester: MemberId
    context: int


class ReadRounds:
    """The rounds of one leader in one term. Round numbers start at 1."""

    __slots__ = ("_asked", "_gathered", "_index", "acks", "round_id")

    def __init__(self, own_id: MemberId) -> None:
        self._gathered: list[ReadRequest] = []
        self._asked: list[ReadRequest] = []
        self._index = Index(0)
        self.round_id = 0
        """The newest round; 0 when none was ever started."""
        self.acks: set[MemberId] = {own_id}

    @property
    def is_out(self) -> bool:
        """Tell whether a round waits for answers."""
        return bool(self._asked)

    @property
    def has_gathered(self) -> bool:
        """Tell whether reads wait for the next round."""
        return bool(self._gathered)

    def gather(self, request: ReadRequest) -> None:
        """Add a read to the next round."""
        self._gathered.append(request)

    def start(self, commit: Index, own_id: MemberId) -> int:
        """Begin the next round at this commit index and return its number."""
        self._asked, self._gathered = self._gathered, []
        self._index = commit
        self.round_id += 1
        self.acks = {own_id}
        return self.round_id

    def finish(self) -> tuple[list[ReadRequest], Index]:
        """The quorum answered: return who may read, and from which index on."""
        asked, self._asked = self._asked, []
        return asked, self._index
