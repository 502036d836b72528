"""Questions that only the leader's clock can answer: keep a lease alive, how long has it left.

::

    client ─► any member ─► leader: a read round ─► answer        LeaseAsk, LeaseReply between members

The leader answers after a read round that began when the question was there: a quorum has said
since that nobody else leads. So a keep-alive is answered by the one member that could end the lease,
and whoever leads later gives every lease its time anew, later than this answer's question.

A keep-alive of a lease whose remaining time was noted as less (a checkpoint) first needs that note
undone, by an entry: otherwise the next leader would give it less than was promised here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import NamedTuple

from raftkv.lease.clock import LeaseClock
from raftkv.lease.lessor import Lessor
from raftkv.replica.commands import encode_checkpoint, encode_lease_expire


class LeaseAsks(enum.IntEnum):
    """What is asked about a lease; part of the peer protocol."""

    KEEP_ALIVE = 1
    TIME_TO_LIVE = 2


class LeaseQuestion(NamedTuple):
    """One question and who waits for the answer."""

    kind: LeaseAsks
    lease_id: int
    token: object


class LeaseAnswer(NamedTuple):
    """Seconds left and seconds granted; ``granted_s`` 0: there is no such lease (any more)."""

    left_s: int
    granted_s: int


GONE = LeaseAnswer(0, 0)
Rows = tuple[tuple[int, int], ...]
"""(kind, lease id) of each question."""


class LeaseRound:
    """Questions of one member that wait for a read round; a token of ``reads.Reads``."""

    __slots__ = ("origin", "rows", "sequence", "term", "tokens")

    def __init__(
        self, origin: int, sequence: int, term: int, rows: Rows, tokens: Sequence[object]
    ) -> None:
        self.origin = origin
        """0 for this member itself."""
        self.sequence = sequence
        self.term = term
        self.rows = rows
        self.tokens = tokens


class Leases:
    """The clock while this member leads, and questions on their way to another leader."""

    __slots__ = (
        "_asked",
        "_clock",
        "_extra_ms",
        "_lessor",
        "_sequence",
        "_term",
        "_undoing",
        "rounds_count",
    )

    def __init__(self, lessor: Callable[[], Lessor], election_ms: int, incarnation: int) -> None:
        self._lessor = lessor
        self._clock = LeaseClock(election_ms)
        self._extra_ms = election_ms
        self._term = 0
        """The term that this member leads in, as the clock knows it; 0 when it does not lead."""
        self._asked: dict[int, tuple[int, Sequence[object]]] = {}
        self._sequence = (incarnation & 0xFFFFFFFF) << 32
        """Numbers of an earlier life are not used again: its answers may still be under way."""
        self._undoing: set[int] = set()
        """Leases whose checkpoint is being undone."""
        self.rounds_count = 0
        """Rounds among the pending reads."""

    # --- leading ----------------------------------------------------------------------------

    def lead(self, term: int) -> None:
        """This member leads in this term, and has applied everything of before; 0: it does not."""
        if term != self._term:
            self._term = term
            self._undoing.clear()
            if term:
                self._clock.start(self._lessor(), self._extra_ms)

    def tick(self, clock_ms: int) -> list[bytes]:
        """Time passed; commands to propose."""
        clock = self._clock
        clock.advance(clock_ms)
        if not self._term:
            return []
        lessor = self._lessor()
        clock.follow(lessor)
        commands: list[bytes] = []
        expired = clock.take_expired(lessor)
        if expired:
            commands.append(encode_lease_expire(self._term, expired))
        left = clock.take_checkpoints(lessor)
        if left:
            commands.append(encode_checkpoint(self._term, left))
        return commands

    def answer(self, rows: Rows) -> tuple[list[LeaseAnswer] | None, list[bytes]]:
        """Answers of a leader whose leadership is confirmed.

        None when something has to be applied first: propose the commands and ask once more.
        """
        lessor, clock = self._lessor(), self._clock
        clock.follow(lessor)
        answers: list[LeaseAnswer] = []
        undo: list[tuple[int, int]] = []
        must_wait = False
        for kind, lease_id in rows:
            lease = lessor.leases.get(lease_id)
            if lease is None:
                answers.append(GONE)
            elif kind == LeaseAsks.KEEP_ALIVE:
                if not clock.renew(lease_id, lease.granted_s):
                    answers.append(GONE)
                    continue
                answers.append(LeaseAnswer(lease.granted_s, lease.granted_s))
                if lease.remaining_s < lease.granted_s:
                    must_wait = True
                    if lease_id not in self._undoing:
                        undo.append((lease_id, lease.granted_s))
                        self._undoing.add(lease_id)
                else:
                    self._undoing.discard(lease_id)
            else:
                left_ms = clock.remaining_ms(lease_id)
                left_s = left_ms // 1000 if left_ms is not None else 0
                answers.append(LeaseAnswer(left_s, lease.granted_s))
        commands = [encode_checkpoint(self._term, undo)] if undo else []
        return None if must_wait else answers, commands

    # --- asking another leader --------------------------------------------------------------

    def remember(self, tick: int, tokens: Sequence[object]) -> int:
        """Questions leave for the leader; the number that their answer will carry."""
        self._sequence += 1
        self._asked[self._sequence] = (tick, tokens)
        return self._sequence

    def take(self, sequence: int) -> Sequence[object]:
        """An answer came: who waits for it."""
        found = self._asked.pop(sequence, None)
        return found[1] if found is not None else ()

    def expire(self, oldest_tick: int) -> list[object]:
        """Tokens of questions that left before this tick."""
        tokens: list[object] = []
        while self._asked:
            first = next(iter(self._asked))
            if self._asked[first][0] >= oldest_tick:
                break
            tokens.extend(self._asked.pop(first)[1])
        return tokens

    def drain(self) -> list[object]:
        """All tokens that wait for another member."""
        tokens = [token for _, waiting in self._asked.values() for token in waiting]
        self._asked.clear()
        return tokens
