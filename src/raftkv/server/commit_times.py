"""When the backend's transaction ends. Pure: times are arguments, in seconds of any clock.

What is not in a commit yet is replayed from the log after a crash, so none is urgent; but each syncs
a disk that the log is on as well. So a transaction with little in it waits for more; but not while
there is room to be had: what one transaction frees, only the next but one may use, and until then
the file grows.
"""

from __future__ import annotations

from typing import Final

COMMIT_EVERY_S: Final = 0.3
"""At most this often, unless somebody waits for it."""
COMMIT_LATEST_S: Final = 1.0
ROWS: Final = 2000
BYTES: Final = 1 << 20
"""With so many rows or bytes it does not wait until then."""
EAGER_COMMITS: Final = 2
"""Nor do so many after one that deleted rows of a compaction."""


class CommitTimes:
    """What was written since the last commit, and when it was."""

    __slots__ = ("_bytes", "_eager", "_last_s", "_rows")

    def __init__(self) -> None:
        self._last_s = float("-inf")
        self._rows = self._bytes = self._eager = 0

    def note_written(self, rows: int, size_bytes: int) -> None:
        """So much went into the transaction."""
        self._rows += rows
        self._bytes += size_bytes

    def note_deleted(self) -> None:
        """Rows of a compaction go with the present transaction."""
        self._eager = EAGER_COMMITS + 1

    def is_due(self, now_s: float, waiting_rows: int) -> bool:
        """Whether it should end now, with the rows that still wait to be written."""
        if now_s < self._last_s + COMMIT_EVERY_S:
            return False
        return (
            self._eager > 0
            or self._rows + waiting_rows >= ROWS
            or self._bytes >= BYTES
            or now_s >= self._last_s + COMMIT_LATEST_S
        )

    def note_commit(self, now_s: float) -> None:
        """It ended."""
        self._last_s = now_s
        self._rows = self._bytes = 0
        self._eager = max(self._eager - 1, 0)


__all__ = ["CommitTimes"]
