"""This member's linearizable reads: gathered, asked for, confirmed, ready.

::

    waiting ──ask the leader (or oneself)──► asked ──index comes back──► confirmed ──applied──► ready

One question is out at a time; what arrives meanwhile waits for the next one. A question may be
repeated, to the same or to a new leader: any answer given after it was first asked is good.
The context is unique over restarts, so that no answer to a former life is taken for this one.
"""

from __future__ import annotations

RETRY_TICKS = 3
"""A question without an answer is asked again: the message or the answer was lost."""
_CONTEXTS_PER_INCARNATION = 1 << 40


class Reads:
    """The tokens of pending reads. ``tick`` arguments are this replica's own tick count."""

    __slots__ = ("_asked", "_asked_of", "_asked_tick", "_confirmed", "_waiting", "context")

    def __init__(self, incarnation: int) -> None:
        self.context = (incarnation % (1 << 24)) * _CONTEXTS_PER_INCARNATION
        self._waiting: list[tuple[int, object]] = []
        self._asked: list[tuple[int, object]] = []
        self._asked_of: tuple[int, int] = (0, 0)
        self._asked_tick = 0
        self._confirmed: list[tuple[int, list[tuple[int, object]]]] = []

    def gather(self, tokens: list[tuple[int, object]]) -> None:
        """Add (tick, token) pairs."""
        self._waiting.extend(tokens)

    @property
    def is_idle(self) -> bool:
        """Tell whether nothing is pending at all."""
        return not (self._waiting or self._asked or self._confirmed)

    def next_question(self, leader: int, term: int, own_id: int, tick: int) -> int | None:
        """Return the context to ask the leader for now; None when there is nothing to ask."""
        if not leader:
            return None
        if self._asked:
            is_same = self._asked_of == (leader, term)
            if is_same and (leader == own_id or tick - self._asked_tick < RETRY_TICKS):
                return None
        elif self._waiting:
            self._asked, self._waiting = self._waiting, []
            self.context += 1
        else:
            return None
        self._asked_of = (leader, term)
        self._asked_tick = tick
        return self.context

    def confirm(self, context: int, index: int) -> None:
        """The leader answered."""
        if self._asked and context == self.context:
            self._confirmed.append((index, self._asked))
            self._asked = []

    def take_ready(self, applied: int) -> list[object]:
        """Return the tokens whose index is applied."""
        if not self._confirmed:
            return []
        ready: list[object] = []
        still: list[tuple[int, list[tuple[int, object]]]] = []
        for index, tokens in self._confirmed:
            if index <= applied:
                ready.extend(token for _, token in tokens)
            else:
                still.append((index, tokens))
        self._confirmed = still
        return ready

    def expire(self, oldest_tick: int) -> list[object]:
        """Return and forget the tokens that came before this tick, confirmed or not: a member
        that is cut off right after the answer never applies what it must wait for.
        """
        expired = [token for tick, token in self._asked if tick < oldest_tick]
        expired += [token for tick, token in self._waiting if tick < oldest_tick]
        if expired:
            self._asked = [pair for pair in self._asked if pair[0] >= oldest_tick]
            self._waiting = [pair for pair in self._waiting if pair[0] >= oldest_tick]
        for position, (index, pairs) in enumerate(self._confirmed):
            if pairs[0][0] < oldest_tick:
                expired += [token for tick, token in pairs if tick < oldest_tick]
                still = [pair for pair in pairs if pair[0] >= oldest_tick]
                self._confirmed[position] = (index, still)
        self._confirmed = [(index, pairs) for index, pairs in self._confirmed if pairs]
        return expired

    def drain(self) -> list[object]:
        """Return all tokens and forget everything."""
        tokens = [token for _, token in (*self._asked, *self._waiting)]
        tokens += [token for _, pairs in self._confirmed for _, token in pairs]
        self._asked, self._waiting, self._confirmed = [], [], []
        return tokens
