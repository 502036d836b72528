"""A large range in small steps: what is in it, how long the answer is, then the rows.

The walk reads one revision while writes go on. Rows of that revision stay until it is closed: while
anybody walks, the store forgets nothing (``KeyValueStore.walkers``).
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from etcdwire.hot import encode_field
from etcdwire.messages import KeyValue, RangeRequest, SortOrder, SortTarget
from etcdwire.protobuf import decode, encode_varint
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.ranges import is_filtered, order_of, passes, without_value


def walk(store: KeyValueStore, request: RangeRequest) -> RangeWalk:
    """Begin to walk a range.

    Raises:
        RequestError: compacted or future revision.
    """
    if is_filtered(request) and not request.count_only:
        return _SortedWalk(store, request)
    return _PlainWalk(store, request)


class RangeWalk(ABC):
    """One range at one revision."""

    __slots__ = ("_cursor", "_is_closed", "_matched", "_request", "_row_ids", "_store", "count",
                 "revision", "size_bytes")  # fmt: skip

    def __init__(self, store: KeyValueStore, request: RangeRequest) -> None:
        """Begin; see ``walk``."""
        store.check_revision(request.revision)
        self._store = store
        self._request = request
        self.revision = request.revision if request.revision > 0 else store.revision
        self._cursor: bytes | None = request.key
        self._row_ids = array("q")
        """Of the rows in the answer, in order. A million of them are one object: forgotten at once."""
        self._matched = 0
        """Keys that would be in the answer, were there no limit."""
        self._is_closed = False
        self.count = 0
        """Keys that exist in the range, whatever limit and filters say."""
        self.size_bytes = 0
        """Of the rows in the answer, as fields of it."""
        store.walkers += 1

    def close(self) -> None:
        """Let the store forget again."""
        if not self._is_closed:
            self._is_closed = True
            self._store.walkers -= 1

    def forget(self, keys_max: int) -> bool:  # noqa: ARG002 - a sorted walk has more
        """After closing, let go of what some more keys left behind; whether that were all."""
        return True

    @abstractmethod
    def measure(self, keys_max: int, bytes_max: int) -> bool:
        """Look at some more keys; whether that were all."""

    def _visit(self, keys_max: int, bytes_max: int) -> bool:
        """Take some more keys; whether that were all."""
        store = self._store
        assert self._cursor is not None
        size = seen = 0
        last = b""
        rows = store.visible_from(self._cursor, self._request.range_end, self.revision, keys_max)
        for seen, (last, row_id) in enumerate(rows, 1):  # noqa: B007 - needed below
            if row_id:
                self.count += 1
                size += self._take(row_id)
                if size >= bytes_max:
                    break
        else:
            if seen < keys_max:
                self._cursor = None
                return True
        self._cursor = last + b"\0"
        return False

    @abstractmethod
    def _take(self, row_id: int) -> int:
        """One key that exists; the bytes that were read for it."""

    def _field(self, row_id: int) -> bytes:
        row = self._store.row(row_id)
        return encode_field(b"\x12", without_value(row) if self._request.keys_only else row)

    @property
    def tail(self) -> bytes:
        """What follows the rows: whether there are more, and how many in all."""
        more = b"\x18\x01" if len(self._row_ids) < self._matched else b""
        return more + (b"\x20" + encode_varint(self.count) if self.count else b"")

    def pieces(self, keys_max: int, bytes_max: int) -> Iterator[bytes]:
        """The rows as fields of the answer, in pieces of so many rows or about so many bytes."""
        parts: list[bytes] = []
        size = 0
        for row_id in self._row_ids:
            field = self._field(row_id)
            parts.append(field)
            size += len(field)
            if size >= bytes_max or len(parts) >= keys_max:
                yield b"".join(parts)
                parts.clear()
                size = 0
        if parts:
            yield b"".join(parts)


class _PlainWalk(RangeWalk):
    """All keys, in their order."""

    __slots__ = ()

    def measure(self, keys_max: int, bytes_max: int) -> bool:
        return self._visit(keys_max, bytes_max)

    def _take(self, row_id: int) -> int:
        if self._request.count_only:
            return 0
        self._matched += 1
        if 0 < self._request.limit <= len(self._row_ids):
            return 0
        self._row_ids.append(row_id)
        size = len(self._field(row_id))
        self.size_bytes += size
        return size


class _SortedWalk(RangeWalk):
    """What filters let through, sorted; each step's keys first, then all steps' merged."""

    __slots__ = ("_merged", "_run", "_runs")
    _COST = 5
    """Of a key, where a plain walk's is 1: it is decoded and compared."""

    def __init__(self, store: KeyValueStore, request: RangeRequest) -> None:
        super().__init__(store, request)
        self._run: list[tuple[Any, int]] = []
        """(what to sort by, row id) of this step's keys."""
        self._runs: list[list[tuple[Any, int]]] = []
        """Of all steps; emptied while they are merged."""
        self._merged: Iterator[tuple[Any, int]] | None = None

    def measure(self, keys_max: int, bytes_max: int) -> bool:
        keys_max = max(1, keys_max // self._COST)
        if self._merged is None:
            self._gather(keys_max, bytes_max)
            return False
        limit, row_ids = self._request.limit, self._row_ids
        read = seen = 0
        for seen, (_, row_id) in enumerate(islice(self._merged, keys_max), 1):  # noqa: B007
            row_ids.append(row_id)
            size = len(self._field(row_id))
            self.size_bytes += size
            read += size
            if len(row_ids) == limit:
                return True
            if read >= bytes_max:
                return False
        return seen < keys_max

    def forget(self, keys_max: int) -> bool:
        self._merged = None
        while self._runs and keys_max > 0:
            keys_max -= len(self._runs.pop()) or 1
        return not self._runs

    def _gather(self, keys_max: int, bytes_max: int) -> None:
        is_all = self._visit(keys_max, bytes_max)
        order = order_of(self._request)
        is_reversed = order == SortOrder.DESCEND
        if order != SortOrder.NONE:
            self._run.sort(key=itemgetter(0), reverse=is_reversed)
        self._matched += len(self._run)
        self._runs.append(self._run)
        self._run = []
        if not is_all:
            return
        runs = map(_consume, self._runs)
        if order == SortOrder.NONE:
            self._merged = chain.from_iterable(runs)
        else:
            self._merged = heapq.merge(*runs, key=itemgetter(0), reverse=is_reversed)

    def _take(self, row_id: int) -> int:
        row = self._store.row(row_id)
        value = decode(KeyValue, row)
        if passes(self._request, value):
            self._run.append((self._sort_key(value, row_id), row_id))
        return len(row)

    def _sort_key(self, value: KeyValue, row_id: int) -> Any:
        match self._request.sort_target:
            case SortTarget.KEY:
                return value.key
            case SortTarget.VERSION:
                return value.version
            case SortTarget.CREATE:
                return value.create_revision
            case SortTarget.MOD:
                return value.mod_revision
        return _Value(self._store, row_id, value.value)


def _consume(run: list[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
    """Its entries, each forgotten as it is taken: a million at once would take long to forget."""
    run.reverse()
    while run:
        yield run.pop()


class _Value:
    """A value to compare with others, without keeping all of it.

    Values that begin alike are often the same: that is known by their digests. Only those that begin
    alike and differ are read again to be compared.
    """

    __slots__ = ("_digest", "_head", "_row_id", "_store")
    _HEAD_BYTES = 64

    def __init__(self, store: KeyValueStore, row_id: int, value: bytes) -> None:
        self._store = store
        self._row_id = row_id
        self._head = value[: self._HEAD_BYTES]
        is_whole = len(value) <= self._HEAD_BYTES
        self._digest = b"" if is_whole else blake2b(value, digest_size=16).digest()

    def __lt__(self, other: _Value) -> bool:
        if self._head != other._head:
            return self._head < other._head
        return self._digest != other._digest and self._whole() < other._whole()

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, _Value)
        return self._head == other._head and self._digest == other._digest

    __hash__ = None  # type: ignore[assignment]

    def _whole(self) -> bytes:
        return decode(KeyValue, self._store.row(self._row_id)).value
