"""When history may go by itself: what was older than a time, or further back than so many revisions.

Only the leader acts, with an ordinary entry. The clock is an argument; a new leader begins to
remember revisions anew, so that after a change of leaders history is kept longer, never shorter.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

REVISION_EVERY_MS: Final = 300_000
"""Revision mode looks this often, as etcd does."""
SAMPLE_MIN_MS: Final = 1_000
SAMPLE_MAX_MS: Final = 360_000
SAMPLES: Final = 10
"""The time that history is kept is met up to a tenth of it."""


class Mode(enum.Enum):
    """What ``--auto-compaction-retention`` counts."""

    PERIODIC = "periodic"
    REVISION = "revision"


class AutoCompaction:
    """Decides, from time to time, up to which revision to compact."""

    def __init__(self, mode: Mode, retention: int) -> None:
        """``retention``: milliseconds or revisions; 0 switches it off."""
        self._mode = mode
        self._retention = retention
        self._samples: deque[tuple[int, int]] = deque()
        self._next_ms = 0
        self._last = 0

    def step(self, now_ms: int, revision: int, *, leads: bool) -> int:
        """The revision to compact to now; 0 for none."""
        if not self._retention:
            return 0
        if not leads:
            self._samples.clear()
            self._next_ms = 0
            return 0
        if now_ms < self._next_ms:
            return 0
        target = (
            self._periodic(now_ms, revision)
            if self._mode is Mode.PERIODIC
            else self._by_revision(now_ms, revision)
        )
        if target <= self._last:
            return 0
        self._last = target
        return target

    def _periodic(self, now_ms: int, revision: int) -> int:
        every = min(max(self._retention // SAMPLES, SAMPLE_MIN_MS), SAMPLE_MAX_MS)
        self._next_ms = now_ms + every
        samples = self._samples
        samples.append((now_ms, revision))
        target = 0
        while samples and samples[0][0] <= now_ms - self._retention:
            target = samples.popleft()[1]
        return target

    def _by_revision(self, now_ms: int, revision: int) -> int:
        self._next_ms = now_ms + REVISION_EVERY_MS
        return revision - self._retention
