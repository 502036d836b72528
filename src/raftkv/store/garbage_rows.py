"""Rows that a compaction let the index forget, on their way out of the backend.

The index forgets key by key, but the backend holds rows in the order of their revisions. Deleted
in the order of the keys, nearly every row costs a page read, written and synced anew; in their own
order, neighbours go together, pages become empty instead of being written, and a row costs a
seventh of the time. So all are collected first.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

BLOCK_ROWS: Final = 1024
"""A block of this size is sorted in a tenth of a millisecond; larger ones would be felt."""


class GarbageRows:
    """Row ids, added in any order and taken out in ascending order.

    Of one key the older ids must be added no later than the newer ones: then they leave first, and
    wherever a crash stops the deletion, no row outlives the tombstone that hides it.
    """

    __slots__ = ("_blocks", "_count", "_firsts")

    def __init__(self) -> None:
        self._firsts = [0]
        self._blocks: list[list[int]] = [[]]
        """Each holds the ids from its first on; unsorted until it is split or taken from."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row_ids: list[int]) -> None:
        """Add ids that are not there yet."""
        for row_id in row_ids:
            at = bisect_right(self._firsts, row_id) - 1
            block = self._blocks[at]
            block.append(row_id)
            if len(block) >= BLOCK_ROWS:
                self._split(at)
        self._count += len(row_ids)

    def _split(self, at: int) -> None:
        block = self._blocks[at]
        block.sort()
        half = len(block) // 2
        self._blocks[at : at + 1] = [block[:half], block[half:]]
        self._firsts.insert(at + 1, block[half])

    def take(self, rows_max: int) -> list[int]:
        """Remove the smallest ids, at most so many; ascending."""
        taken: list[int] = []
        while self._count and len(taken) < rows_max:
            block = self._blocks[0]
            block.sort()
            part = block[: rows_max - len(taken)]
            del block[: len(part)]
            if not block and len(self._blocks) > 1:
                del self._blocks[0]
                del self._firsts[0]
                self._firsts[0] = 0  # whatever is smaller than the rest belongs here
            self._count -= len(part)
            taken += part
        return taken


__all__ = ["GarbageRows"]
