"""Writing a whole bbolt database in one pass over sorted rows; no page is written twice but metas.

Pages are filled to the brim and follow each other, so the file holds no free page, and a row that
is larger than a page gets one with an overflow. Memory: the first keys of one level's pages.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO, Final

from raftkv.bbolt.layout import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    CHECKSUM,
    COUNT_MAX,
    FREELIST,
    IS_BUCKET,
    LEAF,
    LEAF_ELEMENT,
    MAGIC,
    META,
    META_BODY,
    PAGE,
    PAGE_BYTES,
    VERSION,
    checksum,
)

_ROOM: Final = PAGE_BYTES - PAGE.size
Row = tuple[bytes, bytes]
Child = tuple[bytes, int]
"""(first key below, page id)."""


def write_database(file: BinaryIO, buckets: Iterable[tuple[bytes, Iterable[Row]]]) -> int:
    """Write a database; the file's size in bytes. Buckets come in order of their names, rows in
    order of their keys.

    Args:
        file: empty, open for writing and seeking.
        buckets: (name, rows) of each top-level bucket.

    Raises:
        ValueError: names or keys are not in ascending order, or a key is empty.
        OSError: the disk refused.
    """
    writer = _Writer(file)
    directory: list[tuple[bytes, bytes, int]] = []
    for name, rows in buckets:
        root = writer.write_tree((key, value, 0) for key, value in rows)
        directory.append((name, BUCKET.pack(root, 0), IS_BUCKET))
    root = writer.write_tree(directory)
    freelist = writer.write_page(FREELIST, 0, b"")
    return writer.finish(root, freelist)


class _Writer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next_page = 2
        file.seek(2 * PAGE_BYTES)

    def write_page(self, flags: int, count: int, content: bytes) -> int:
        """Write one page, with as many overflow pages as it needs; its id."""
        page_id = self._next_page
        size = PAGE.size + len(content)
        pages = -(-size // PAGE_BYTES)
        padding = bytes(pages * PAGE_BYTES - size)
        self._file.write(PAGE.pack(page_id, flags, count, pages - 1) + content + padding)
        self._next_page += pages
        return page_id

    def write_tree(self, rows: Iterable[tuple[bytes, bytes, int]]) -> int:
        """Write one bucket's pages; the id of its root."""
        level = self._write_leaves(rows)
        while len(level) > 1:
            level = self._write_branches(level)
        return level[0][1]

    def _write_leaves(self, rows: Iterable[tuple[bytes, bytes, int]]) -> list[Child]:
        children: list[Child] = []
        keys: list[bytes] = []
        values: list[bytes] = []
        flags: list[int] = []
        used = 0
        last = b""
        for key, value, flag in rows:
            if key <= last:
                raise ValueError(f"key {key!r} does not follow {last!r}")
            last = key
            size = LEAF_ELEMENT.size + len(key) + len(value)
            if keys and (used + size > _ROOM or len(keys) == COUNT_MAX - 1):
                children.append((keys[0], self._write_leaf(keys, values, flags)))
                keys, values, flags, used = [], [], [], 0
            keys.append(key)
            values.append(value)
            flags.append(flag)
            used += size
        if keys or not children:
            first = keys[0] if keys else b""
            children.append((first, self._write_leaf(keys, values, flags)))
        return children

    def _write_leaf(self, keys: list[bytes], values: list[bytes], flags: list[int]) -> int:
        count = len(keys)
        position = count * LEAF_ELEMENT.size
        fields: list[int] = []
        pieces: list[bytes] = []
        for key, value, flag in zip(keys, values, flags, strict=True):
            fields += (flag, position, len(key), len(value))
            pieces += (key, value)
            position += len(key) + len(value) - LEAF_ELEMENT.size
        content = struct.pack(f"<{4 * count}I", *fields) + b"".join(pieces)
        return self.write_page(LEAF, count, content)

    def _write_branches(self, children: list[Child]) -> list[Child]:
        parents: list[Child] = []
        batch: list[Child] = []
        used = 0
        for child in children:
            size = BRANCH_ELEMENT.size + len(child[0])
            # A branch of one child would make a tree that never ends: two at least.
            if len(batch) > 1 and (used + size > _ROOM or len(batch) == COUNT_MAX - 1):
                parents.append((batch[0][0], self._write_branch(batch)))
                batch, used = [], 0
            batch.append(child)
            used += size
        parents.append((batch[0][0], self._write_branch(batch)))
        return parents

    def _write_branch(self, batch: list[Child]) -> int:
        position = len(batch) * BRANCH_ELEMENT.size
        elements: list[bytes] = []
        for key, page_id in batch:
            elements.append(BRANCH_ELEMENT.pack(position, len(key), page_id))
            position += len(key) - BRANCH_ELEMENT.size
        content = b"".join(elements) + b"".join(key for key, _ in batch)
        return self.write_page(BRANCH, len(batch), content)

    def finish(self, root: int, freelist: int) -> int:
        """Write both metas; the file's size."""
        for number in (0, 1):
            body = META_BODY.pack(
                MAGIC, VERSION, PAGE_BYTES, 0, root, 0, freelist, self._next_page, number
            )
            content = PAGE.pack(number, META, 0, 0) + body + CHECKSUM.pack(checksum(body))
            self._file.seek(number * PAGE_BYTES)
            self._file.write(content.ljust(PAGE_BYTES, b"\0"))
        self._file.flush()
        return self._next_page * PAGE_BYTES
