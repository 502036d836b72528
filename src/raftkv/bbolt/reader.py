"""Reading a bbolt database that may come from anywhere: every offset is checked before it is used.

A hostile file gets ``DamagedDatabaseError``: no page is visited twice, no tree is deeper than
``DEPTH_MAX``, nothing outside the file is read, and memory stays at one path from root to leaf.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from raftkv.bbolt.errors import DamagedDatabaseError
from raftkv.bbolt.layout import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    CHECKSUM,
    IS_BUCKET,
    LEAF,
    LEAF_ELEMENT,
    MAGIC,
    META,
    META_BODY,
    PAGE,
    VERSION,
    checksum,
)

DEPTH_MAX: Final = 64
PAGE_BYTES_MIN: Final = 512
PAGE_BYTES_MAX: Final = 1 << 20
_META_AT: Final = PAGE.size


class Element(NamedTuple):
    """One row of a leaf."""

    key: bytes
    value: bytes
    is_bucket: bool


class _Meta(NamedTuple):
    page_bytes: int
    root: int
    pages_count: int
    transaction_id: int


def is_database(head: bytes) -> bool:
    """Whether a file that begins like this (at least 20 bytes) says to be a bbolt database."""
    return int.from_bytes(head[_META_AT : _META_AT + 4], "little") == MAGIC


class Database:
    """An open database; a context manager."""

    def __init__(self, path: Path, size_bytes: int | None = None) -> None:
        """Open for reading.

        Args:
            path: the file.
            size_bytes: how much of it is the database (a snapshot has a hash behind it).

        Raises:
            DamagedDatabaseError: no valid meta page.
            OSError: the file cannot be read.
        """
        self._path = path
        with path.open("rb") as file:
            whole = file.seek(0, 2)
            self._size = whole if size_bytes is None else min(size_bytes, whole)
            if self._size < 2 * PAGE_BYTES_MIN:
                raise self._damaged(f"{self._size} bytes are too few")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._meta = self._find_meta()

    def __enter__(self) -> Database:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.close()

    def bucket_names(self) -> list[bytes]:
        """The top-level buckets."""
        return [element.key for element in self._walk(self._meta.root) if element.is_bucket]

    def rows(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All rows of a top-level bucket in order; none when there is no such bucket.

        Raises:
            DamagedDatabaseError: while iterating.
        """
        for element in self._walk(self._meta.root):
            if element.key == bucket and element.is_bucket:
                for row in self._walk_bucket(element.value):
                    yield row.key, row.value
                return

    # --- meta -------------------------------------------------------------------------------

    def _damaged(self, text: str) -> DamagedDatabaseError:
        return DamagedDatabaseError(f"{self._path}: {text}")

    def _find_meta(self) -> _Meta:
        """The valid meta with the higher transaction id; the second's place depends on the first,
        so all page sizes are tried when that one is damaged.
        """
        found = [meta for meta in (self._read_meta(0),) if meta is not None]
        size = PAGE_BYTES_MIN
        while size <= PAGE_BYTES_MAX:
            meta = self._read_meta(size)
            if meta is not None and meta.page_bytes == size:
                found.append(meta)
            size *= 2
        if not found:
            raise self._damaged("no valid meta page: not a bbolt database, or a damaged one")
        return max(found, key=lambda meta: meta.transaction_id)

    def _read_meta(self, offset: int) -> _Meta | None:
        end = offset + PAGE.size + META_BODY.size + CHECKSUM.size
        if end > self._size:
            return None
        _, flags, _, _ = PAGE.unpack_from(self._data, offset)
        body = self._data[offset + PAGE.size : end - CHECKSUM.size]
        magic, version, page_bytes, _, root, _, _, pages, transaction = META_BODY.unpack(body)
        (expected,) = CHECKSUM.unpack_from(self._data, end - CHECKSUM.size)
        if magic != MAGIC or not flags & META or checksum(body) != expected:
            return None
        if version != VERSION:
            raise self._damaged(f"version {version} of bbolt's form is unknown")
        is_power = page_bytes & (page_bytes - 1) == 0
        if not is_power or not PAGE_BYTES_MIN <= page_bytes <= PAGE_BYTES_MAX:
            raise self._damaged(f"a page size of {page_bytes} bytes")
        return _Meta(page_bytes, root, pages, transaction)

    # --- trees ------------------------------------------------------------------------------

    def _walk_bucket(self, value: bytes) -> Iterator[Element]:
        if len(value) < BUCKET.size:
            raise self._damaged("a bucket of less than 16 bytes")
        root, _ = BUCKET.unpack_from(value)
        if root:
            yield from self._walk(root)
        else:
            yield from self._read_leaf(value[BUCKET.size :], "inline bucket")

    def _walk(self, root: int) -> Iterator[Element]:
        """All elements below a page, in order; the path is kept by hand, never by recursion."""
        seen: set[int] = set()
        path: list[Iterator[int]] = [iter((root,))]
        last: bytes | None = None
        while path:
            page_id = next(path[-1], None)
            if page_id is None:
                path.pop()
                continue
            if page_id in seen:
                raise self._damaged(f"page {page_id} is reached twice")
            seen.add(page_id)
            page = self._read_page(page_id)
            _, flags, _, _ = PAGE.unpack_from(page)
            where = f"page {page_id}"
            if flags & BRANCH:
                if len(path) > DEPTH_MAX:
                    raise self._damaged(f"the tree is deeper than {DEPTH_MAX}")
                path.append(iter(self._read_branch(page, where)))
            elif flags & LEAF:
                for element in self._read_leaf(page, where):
                    if last is not None and element.key <= last:
                        raise self._damaged(f"{where}: keys are not in order")
                    last = element.key
                    yield element
            else:
                raise self._damaged(f"{where} is neither branch nor leaf")

    def _read_page(self, page_id: int) -> bytes:
        meta = self._meta
        start = page_id * meta.page_bytes
        if not 2 <= page_id < meta.pages_count or start + meta.page_bytes > self._size:
            raise self._damaged(f"page {page_id} lies outside the file")
        own_id, _, _, overflow = PAGE.unpack_from(self._data, start)
        end = start + (overflow + 1) * meta.page_bytes
        if own_id != page_id:
            raise self._damaged(f"page {page_id} says to be page {own_id}")
        if end > self._size or page_id + overflow >= meta.pages_count:
            raise self._damaged(f"page {page_id} is longer than the file")
        return self._data[start:end]

    def _read_branch(self, page: bytes, where: str) -> list[int]:
        count = self._count(page, BRANCH_ELEMENT.size, where)
        offsets = range(PAGE.size, PAGE.size + count * BRANCH_ELEMENT.size, BRANCH_ELEMENT.size)
        return [BRANCH_ELEMENT.unpack_from(page, offset)[2] for offset in offsets]

    def _read_leaf(self, page: bytes, where: str) -> Iterator[Element]:
        count = self._count(page, LEAF_ELEMENT.size, where)
        data_at = PAGE.size + count * LEAF_ELEMENT.size
        size = len(page)
        left = size - data_at
        for offset in range(PAGE.size, data_at, LEAF_ELEMENT.size):
            flags, position, key_bytes, value_bytes = LEAF_ELEMENT.unpack_from(page, offset)
            key_at = offset + position
            value_at = key_at + key_bytes
            end = value_at + value_bytes
            left -= key_bytes + value_bytes
            if key_at < data_at or end > size or left < 0:
                raise self._damaged(f"{where}: an element points outside its page")
            yield Element(page[key_at:value_at], page[value_at:end], bool(flags & IS_BUCKET))

    def _count(self, page: bytes, element_bytes: int, where: str) -> int:
        if len(page) < PAGE.size:
            raise self._damaged(f"{where} is cut short")
        count: int = PAGE.unpack_from(page)[2]
        if PAGE.size + count * element_bytes > len(page):
            raise self._damaged(f"{where}: {count} elements do not fit")
        return count
