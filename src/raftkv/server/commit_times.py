"""When the backend's transaction ends. Pure: times are arguments, in seconds of any clock.

What is not in a commit yet is replayed from the log after a crash, so none is urgent; but each syncs
a disk that the log is on as well. So a transaction with little in it waits for more.
"""

from __future__ import annotations

from typing import Final

COMMIT_EVERY_S: Final = 0.3
"""At most this often, unless somebody waits for it."""
COMMIT_LATEST_S: Final = 1.0
ROWS: Final = 2000
BYTES: Final = 1 << 20
"""With so many rows or bytes it does not wait until then."""


class CommitTimes:
    """What was written since the last commit, and when it was."""

    __slots__ = ("_bytes", "_last_s", "_look_at_s", "_rows")

    def __init__(self) -> None:
        self._last_s = self._look_at_s = float("-inf")
        self._rows = self._bytes = 0

    def should_look(self, now_s: float) -> bool:
        """Whether it is time to see how much there is; asked again after ``COMMIT_EVERY_S``."""
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + COMMIT_EVERY_S
        return True

    def note_written(self, rows: int, size_bytes: int) -> None:
        """So much went into the transaction."""
        self._rows += rows
        self._bytes += size_bytes

    def is_due(self, now_s: float) -> bool:
        """Whether it should end now."""
        return (
            self._rows >= ROWS or self._bytes >= BYTES or now_s >= self._last_s + COMMIT_LATEST_S
        )

    def note_commit(self, now_s: float) -> None:
        """It ended."""
        self._last_s = now_s
        self._look_at_s = now_s + COMMIT_EVERY_S
        self._rows = self._bytes = 0
