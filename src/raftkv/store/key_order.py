"""A sorted set of keys in blocks: order for ranges, touched only when a key is new or forgotten.

Point look-ups never come here (a dictionary serves them). One flat list would move megabytes on
each insert into a million keys; blocks of ``BLOCK_KEYS`` keep an insert below a microsecond.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from typing import Final

BLOCK_KEYS: Final = 512
BLOCKS_COUNTED: Final = 8


class KeyOrder:
    """Keys in byte order."""

    __slots__ = ("_blocks", "_firsts")

    def __init__(self, sorted_keys: list[bytes] | None = None) -> None:
        keys = sorted_keys or []
        self._blocks = [keys[i : i + BLOCK_KEYS] for i in range(0, len(keys), BLOCK_KEYS)] or [[]]
        self._firsts = [block[0] if block else b"" for block in self._blocks]

    def add(self, key: bytes) -> None:
        """Insert a key that is not in the set."""
        at = max(bisect_right(self._firsts, key) - 1, 0)
        block = self._blocks[at]
        insort(block, key)
        self._firsts[at] = block[0]
        if len(block) > 2 * BLOCK_KEYS:
            self._blocks.insert(at + 1, block[BLOCK_KEYS:])
            self._firsts.insert(at + 1, block[BLOCK_KEYS])
            del block[BLOCK_KEYS:]

    def remove(self, key: bytes) -> None:
        """Remove a key that is in the set."""
        at = max(bisect_right(self._firsts, key) - 1, 0)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._firsts[at] = block[0]
        elif len(self._blocks) > 1:
            del self._blocks[at]
            del self._firsts[at]
        else:
            self._firsts[at] = b""

    def count_at_most(self, start: bytes, end: bytes | None) -> int:
        """How many keys are in a range; an upper bound when it spans many blocks."""
        blocks = self._blocks
        first = max(bisect_right(self._firsts, start) - 1, 0)
        last = len(blocks) if end is None else bisect_left(self._firsts, end)
        if last - first > BLOCKS_COUNTED:
            return (last - first) * 2 * BLOCK_KEYS
        if last <= first:
            return 0
        count = sum(map(len, blocks[first:last])) - bisect_left(blocks[first], start)
        if end is not None:
            count -= len(blocks[last - 1]) - bisect_left(blocks[last - 1], end)
        return max(count, 0)

    def scan(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        """Keys with start <= key < end; no end means to the last."""
        at = max(bisect_right(self._firsts, start) - 1, 0)
        position = bisect_left(self._blocks[at], start)
        while at < len(self._blocks):
            block = self._blocks[at]
            if end is not None and block and block[-1] >= end:
                yield from block[position : bisect_left(block, end)]
                return
            yield from block[position:] if position else block
            position = 0
            at += 1
