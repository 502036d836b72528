"""Is a recorded history of one register linearizable? Wing and Gong's search, with Lowe's cache.

A history is a set of operations with the times at which each began and ended. It is linearizable
when each can be given a moment in between, such that the register then gives every answer that was
seen. Registers are independent, so each key is checked by itself (Herlihy and Wing, locality).

An operation without an answer may have taken effect at any later time, or never: it ends at
infinity, and may be left out.
"""

from __future__ import annotations

import enum
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

STATES_MAX = 20_000_000


class Kind(enum.Enum):
    """What an operation does."""

    READ = "read"
    WRITE = "write"
    SWAP = "swap"
    """Write ``value`` if the register holds ``expected``; ``succeeded`` tells which it was."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of one client on one key."""

    key: str
    kind: Kind
    began: float
    ended: float = math.inf
    """Infinity: no answer, the outcome is unknown."""
    value: str | None = None
    """Written, or read (None: the register was empty)."""
    expected: str | None = None
    succeeded: bool = True

    @property
    def is_unknown(self) -> bool:
        return math.isinf(self.ended)

    def apply(self, state: str | None) -> tuple[bool, str | None]:
        """(whether this may happen in this state, the state after it)."""
        if self.kind is Kind.READ:
            return self.value == state, state
        if self.kind is Kind.WRITE:
            return True, self.value
        if self.is_unknown:
            return True, self.value if state == self.expected else state
        if self.succeeded:
            return state == self.expected, self.value
        return state != self.expected, state


def find_violation(history: Iterable[Operation]) -> str:
    """The first key whose history cannot be explained, with its operations; empty if there is none."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        if operation.is_unknown and operation.kind is Kind.READ:
            continue  # says nothing
        by_key[operation.key].append(operation)
    for key, operations in sorted(by_key.items()):
        search = _Search(sorted(operations, key=lambda o: o.began))
        if not search.succeeds():
            story = "\n".join(f"  {operation}" for operation in search.story())
            return f"{key}: no order explains\n{story}"
    return ""


@dataclass(frozen=True, slots=True)
class _Point:
    """How far a search has come: what is done, and what the register then holds."""

    first: int
    """All answered operations before this one are done."""
    mask: int
    """Bit n: the answered operation ``first + n`` is done as well."""
    used: int
    """Bit n: the n-th operation of unknown outcome has taken effect."""
    state: str | None


class _Search:
    """Depth first over what is done and the state, each pair tried once (Lowe 2017).

    An answered operation may come next when none that is still open ended before it began; one of
    unknown outcome at any time after it began, or never. Of those whose value nobody saw all that
    matters is that the register then holds something else: only the earliest is tried.
    """

    def __init__(self, operations: list[Operation]) -> None:
        self._known = [o for o in operations if not o.is_unknown]
        self._unknown = [o for o in operations if o.is_unknown]
        last_wanted: dict[str | None, int] = {}
        for position, operation in enumerate(self._known):
            if operation.kind is Kind.READ:
                last_wanted[operation.value] = position
            elif operation.kind is Kind.SWAP:
                last_wanted[operation.expected] = position
        self._wanted_until = [last_wanted.get(o.value, -1) for o in self._unknown]
        self.furthest = _Point(0, 0, 0, None)

    def succeeds(self) -> bool:
        """Whether there is an order."""
        stack = [self.furthest]
        seen: set[_Point] = set()
        while stack:
            point = stack.pop()
            if point.first == len(self._known):
                return True
            if point.first > self.furthest.first:
                self.furthest = point
            for after in self._next(point):
                if after not in seen:
                    seen.add(after)
                    stack.append(after)
            if len(seen) > STATES_MAX:
                raise RuntimeError(f"undecided after {STATES_MAX} states")
        return False

    def _next(self, point: _Point) -> Iterator[_Point]:
        """Unlikely ones first: the last is tried first."""
        horizon = math.inf
        likely: list[_Point] = []
        for position in range(point.first, len(self._known)):
            operation = self._known[position]
            if operation.began > horizon:
                break
            bit = 1 << position - point.first
            if point.mask & bit:
                continue
            horizon = min(horizon, operation.ended)
            is_possible, state = operation.apply(point.state)
            if is_possible:
                likely.append(self._advance(point, bit, state))
        yield from self._guesses(point, horizon)
        yield from reversed(likely)

    @staticmethod
    def _advance(point: _Point, bit: int, state: str | None) -> _Point:
        first, mask = point.first, point.mask | bit
        while mask & 1:
            first += 1
            mask >>= 1
        return _Point(first, mask, point.used, state)

    def _guesses(self, point: _Point, horizon: float) -> Iterator[_Point]:
        has_guessed_blindly = False
        for number, operation in enumerate(self._unknown):
            if operation.began > horizon:
                return
            if point.used >> number & 1:
                continue
            is_seen = self._wanted_until[number] >= point.first
            if not is_seen and has_guessed_blindly:
                continue
            _, state = operation.apply(point.state)
            if state == point.state:
                continue
            has_guessed_blindly = has_guessed_blindly or not is_seen
            yield _Point(point.first, point.mask, point.used | 1 << number, state)

    def story(self) -> list[Operation]:
        """The operations around the furthest point."""
        first = self.furthest.first
        return self._known[max(first - 5, 0) : first + 8]
