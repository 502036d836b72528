"""The one source of chance below the shell: a seeded generator, so that a run replays exactly."""

from __future__ import annotations

_MASK = (1 << 64) - 1
_NEVER_ZERO = 0x9E3779B97F4A7C15
"""xorshift stays at zero forever, so a zero state is replaced (constant: 2**64 / golden ratio)."""


class Chance:
    """xorshift64* (Vigna 2016): small, fast, equal on every Python. Not for secrets."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        # One round of splitmix64 spreads small seeds over all bits.
        mixed = (seed + _NEVER_ZERO) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        self._state = (mixed ^ (mixed >> 31)) or _NEVER_ZERO

    def below(self, limit: int) -> int:
        """Return an integer in ``range(limit)``."""
        state = self._state
        state ^= state >> 12
        state ^= (state << 25) & _MASK
        state ^= state >> 27
        self._state = state
        return ((state * 0x2545F4914F6CDD1D & _MASK) >> 32) % limit
