"""When a leader should leave because its disk is much slower than the others'.

A leader whose sync does not come back at all gives up in the core, after an election time-out. One
whose disk is merely slow does not hold up writes while the others are a majority without it; but it
does as soon as one of them is gone, so leadership moves off it while all is well. What it knows of
another's disk is the time from an append to its acknowledgement, which has the network in it: so the
other one's disk is never thought faster than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from raftkv.values import NO_MEMBER, MemberId

WINDOW_ELECTIONS: Final = 10
"""It must be so for this many election time-outs: a compaction beside it is over by then."""
REST_ELECTIONS: Final = 300
"""Having handed over, it does not do so again for this long."""
FLOOR_DIVISOR: Final = 20
"""Syncs shorter than this part of an election time-out are never slow."""
FACTOR: Final = 4
"""So many times faster must the other one be."""
SAMPLES_MIN: Final = 8


class SlowDisk:
    """Compares a leader's syncs with its followers' acknowledgements."""

    def __init__(self, election_ms: int) -> None:
        self._election_ms = election_ms
        self._slow_since_ms = 0
        self._rests_until_ms = 0

    def step(
        self, now_ms: int, own_s: Sequence[float], others_s: Mapping[MemberId, Sequence[float]]
    ) -> MemberId:
        """Return the member that should lead instead; ``NO_MEMBER`` to stay.

        Args:
            now_ms: of a clock that never jumps.
            own_s: how long this leader's latest syncs took.
            others_s: the latest acknowledgements of voters that are well.
        """
        usual_s = {i: median(s) for i, s in others_s.items() if len(s) >= SAMPLES_MIN}
        best = min(usual_s, key=usual_s.__getitem__, default=NO_MEMBER)
        if (
            best == NO_MEMBER
            or len(own_s) < SAMPLES_MIN
            or (own := median(own_s)) * 1000 < self._election_ms / FLOOR_DIVISOR
            or own < FACTOR * usual_s[best]
        ):
            self._slow_since_ms = 0
            return NO_MEMBER
        self._slow_since_ms = self._slow_since_ms or now_ms
        is_long = now_ms - self._slow_since_ms >= WINDOW_ELECTIONS * self._election_ms
        if not is_long or now_ms < self._rests_until_ms:
            return NO_MEMBER
        self._slow_since_ms = 0
        self._rests_until_ms = now_ms + REST_ELECTIONS * self._election_ms
        return best
