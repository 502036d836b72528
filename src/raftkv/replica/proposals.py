"""This member's own batches that have no result yet.

=========================================== ==================== ==========================
what this member sees                       outcome              why
=========================================== ==================== ==========================
its batch applied                           the results          -
a later batch of its own applied            LEADER_CHANGED       overtaken: the session table
                                                                 will skip it if it comes
an entry of a later term applied            LEADER_CHANGED       it was not in the log before
                                                                 that; it may still come late
the leader refused it                       the leader's reason  -
nothing for ``proposal_ticks``              LEADER_CHANGED       lost on the way, or no leader
a snapshot was installed                    LEADER_CHANGED       its results are not in there
=========================================== ==================== ==========================

Only LEADER_CHANGED is ambiguous: the batch may have been applied, or may yet be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class PendingBatch:
    """One batch: who waits for it, since when, and in which term it left."""

    __slots__ = ("commands", "term", "tick", "tokens")

    def __init__(
        self, commands: Sequence[bytes], tokens: Sequence[object], term: int, tick: int
    ) -> None:
        self.commands = commands
        self.tokens = tokens
        self.term = term
        self.tick = tick


class Proposals:
    """Pending batches by sequence number. Sequences, terms and ticks only grow, so the oldest
    is always first.
    """

    __slots__ = ("_on_lost", "_pending", "sequence")

    def __init__(self, on_lost: Callable[[Sequence[object]], None]) -> None:
        self._pending: dict[int, PendingBatch] = {}
        self._on_lost = on_lost
        self.sequence = 0

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self) -> int:
        """Return the number for the next batch; it is never used again."""
        self.sequence += 1
        return self.sequence

    def add(self, sequence: int, batch: PendingBatch) -> None:
        """Remember a batch that is under way."""
        self._pending[sequence] = batch

    def take(self, sequence: int) -> PendingBatch | None:
        """The batch is being applied, or was refused: forget it, and lose all before it."""
        pending = self._pending
        batch = pending.pop(sequence, None)
        if pending and next(iter(pending)) < sequence:
            self._lose_while(lambda first, _: first < sequence)
        return batch

    def remove(self, sequence: int) -> PendingBatch | None:
        """The batch was refused: forget it alone."""
        return self._pending.pop(sequence, None)

    def settle_term(self, term: int) -> None:
        """An entry of this term was applied: what left in older terms is lost."""
        self._lose_while(lambda _, batch: batch.term < term)

    def settle_through(self, sequence: int) -> None:
        """An installed snapshot contains everything up to here; the results are gone."""
        self._lose_while(lambda first, _: first <= sequence)

    def expire(self, oldest_tick: int) -> None:
        """Lose what left before this tick."""
        if self._pending:
            self._lose_while(lambda _, batch: batch.tick < oldest_tick)

    def drain(self) -> list[object]:
        """Return all tokens and forget everything: this member was removed."""
        tokens = [token for batch in self._pending.values() for token in batch.tokens]
        self._pending.clear()
        return tokens

    def _lose_while(self, is_lost: Callable[[int, PendingBatch], bool]) -> None:
        pending = self._pending
        while pending:
            first = next(iter(pending))
            batch = pending[first]
            if not is_lost(first, batch):
                return
            del pending[first]
            self._on_lost(batch.tokens)
