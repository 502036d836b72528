"""How fast work in the background goes (copies of snapshots, defragmentation, forgetting after a
compaction), so that clients do not feel it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BUSY_BYTES_PER_S: Final = 32 << 20
QUIET_BYTES_PER_S: Final = 256 << 20
BUSY_BATCHES_PER_S: Final = 200
"""Where syncs take five milliseconds, more than two hundred batches a second is all there can be."""
JUDGED_EVERY_S: Final = 0.5
FORGET_STEPS_BUSY: Final = 64
FORGET_STEPS_QUIET: Final = 2048
FORGET_BACKLOG_MAX: Final = 2


def forget_steps(backlog: int, written: int, *, is_busy: bool) -> int:
    """How many rows (or keys without any) a compaction may forget in one step; 0 for none.

    Args:
        backlog: batches that the flush thread has not begun: when it is behind, it comes first.
        written: rows since the last step; twice as many are forgotten besides, so that no
            compaction is slower than what it has to follow.
        is_busy: clients write.
    """
    if backlog > FORGET_BACKLOG_MAX:
        return 0
    return 2 * written + (FORGET_STEPS_BUSY if is_busy else FORGET_STEPS_QUIET)


class Pace:
    """How fast bytes may be copied now: slower while clients write.

    Whoever gives a rate gets that one.
    """

    def __init__(
        self,
        given_bytes_per_s: int,
        read_applied_index: Callable[[], int],
        busy_batches_per_s: int = BUSY_BATCHES_PER_S,
        busy_bytes_per_s: int = BUSY_BYTES_PER_S,
    ) -> None:
        """0 is no rate given; the index is that of the last applied batch of commands."""
        self._given_bytes_per_s = given_bytes_per_s
        self._read_applied_index = read_applied_index
        self._busy_batches_per_s = busy_batches_per_s
        self._busy_bytes_per_s = busy_bytes_per_s
        self._noted: tuple[float, int] | None = None
        self._is_busy = True

    def read_bytes_per_s(self, now_s: float) -> int:
        """The rate at this moment."""
        if self._given_bytes_per_s:
            return self._given_bytes_per_s
        return self._busy_bytes_per_s if self.is_busy(now_s) else QUIET_BYTES_PER_S

    def is_busy(self, now_s: float) -> bool:
        """Whether clients write, as far as is known: at first they do."""
        applied = self._read_applied_index()
        if self._noted is None:
            self._noted = now_s, applied
        elapsed_s = now_s - self._noted[0]
        if elapsed_s >= JUDGED_EVERY_S:
            self._is_busy = applied - self._noted[1] > self._busy_batches_per_s * elapsed_s
            self._noted = now_s, applied
        return self._is_busy
