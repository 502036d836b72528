"""Virtual time, chance and the trace. Everything that happens is an event in one queue."""

from __future__ import annotations

import hashlib
import heapq
import random
import struct
from collections.abc import Callable
from typing import Any

MILLISECOND = 1_000
SECOND = 1_000_000
"""Times are whole microseconds of virtual time."""

_TRACE = struct.Struct("<QQQQQ")


class Violation(AssertionError):  # noqa: N818 - it names the fact
    """A checked property does not hold: a bug (or a mutant) was found."""


class World:
    """The event queue and everything that must be equal when a seed is replayed.

    Only ``random.Random.random`` is used: its values are the same on every Python version.
    """

    def __init__(self, seed: int, *, is_talking: bool = False) -> None:
        self.seed = seed
        self.now = 0
        self._random = random.Random(seed).random
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._hash = hashlib.blake2b(digest_size=8)
        self._is_talking = is_talking
        self.timeline: list[str] = []
        self.events_count = 0

    # ---- time ------------------------------------------------------------------------

    def after(self, delay: int, action: Callable[..., None], *arguments: Any) -> None:
        """Run ``action`` after ``delay`` microseconds; equal times run in order of asking."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, action, arguments))

    def run_until(self, end: int) -> None:
        """Run all events up to this time."""
        queue = self._queue
        while queue and queue[0][0] <= end:
            self.now, _, action, arguments = heapq.heappop(queue)
            self.events_count += 1
            action(*arguments)
        self.now = end

    # ---- chance ----------------------------------------------------------------------

    def below(self, limit: int) -> int:
        """Return an integer in ``range(limit)``."""
        return int(self._random() * limit)

    def between(self, low: int, high: int) -> int:
        """Return an integer in ``[low, high]``."""
        return low + int(self._random() * (high - low + 1))

    def happens(self, probability: float) -> bool:
        """Throw a coin."""
        return self._random() < probability

    def choose(self, options: list[Any]) -> Any:
        """Return one of the options."""
        return options[int(self._random() * len(options))]

    # ---- trace -----------------------------------------------------------------------

    def note(self, member: int, what: int, first: int, second: int) -> None:
        """Add to the trace hash."""
        self._hash.update(_TRACE.pack(self.now, member, what, first, second))

    def tell(self, text: str) -> None:
        """Add a line to the readable timeline; free when nobody listens (see ``is_talking``)."""
        if self._is_talking:
            self.timeline.append(f"{self.now / SECOND:10.6f}  {text}")

    @property
    def is_talking(self) -> bool:
        """Tell whether the timeline is being recorded."""
        return self._is_talking

    def trace_hash(self) -> str:
        """Return the hash of everything that happened so far."""
        return self._hash.hexdigest()
