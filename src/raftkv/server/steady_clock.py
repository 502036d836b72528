"""The time of day, read once: what happens to the clock afterwards changes nothing here.

TTLs of v2 end at a time of day. If that were read anew each time, a clock that is set a day ahead
would end them all at once. ``CLOCK_BOOTTIME`` goes on while the machine sleeps, and is never set.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Milliseconds since 1970, as of the start of the process, going on steadily."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = _boot_ns
    ) -> None:
        self._steady_ns = steady_ns
        self._offset_ns = wall_ns() - steady_ns()

    def now_ms(self) -> int:
        """Now."""
        return (self._steady_ns() + self._offset_ns) // 1_000_000
