"""A large range in small steps: what is in it, how long the answer is, then the rows.

The walk reads one revision while writes go on. Rows of that revision stay until it is closed: while
anybody walks, the store forgets nothing (``KeyValueStore.walkers``).
"""

from __future__ import annotations

from collections.abc import Iterator

from etcdwire.hot import encode_field
from etcdwire.messages import RangeRequest
from etcdwire.protobuf import encode_varint
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.ranges import without_value


class RangeWalk:
    """One range that is neither filtered nor sorted by anything but its keys."""

    __slots__ = ("_cursor", "_is_closed", "_request", "_row_ids", "_store", "count", "revision",
                 "size_bytes")  # fmt: skip

    def __init__(self, store: KeyValueStore, request: RangeRequest) -> None:
        """Begin.

        Raises:
            RequestError: compacted or future revision.
        """
        store.check_revision(request.revision)
        self._store = store
        self._request = request
        self.revision = request.revision if request.revision > 0 else store.revision
        self._cursor: bytes | None = request.key
        self._row_ids: list[int] = []
        self._is_closed = False
        self.count = 0
        """Keys that exist in the range, whatever the limit."""
        self.size_bytes = 0
        """Of the rows in the answer, as fields of it."""
        store.walkers += 1

    def close(self) -> None:
        """Let the store forget again."""
        if not self._is_closed:
            self._is_closed = True
            self._store.walkers -= 1

    def measure(self, keys_max: int, bytes_max: int) -> bool:
        """Look at some more keys; whether that were all."""
        store, request = self._store, self._request
        assert self._cursor is not None
        limit = request.limit
        row_ids = self._row_ids
        stop_bytes = self.size_bytes + bytes_max
        seen, last = 0, b""
        rows = store.visible_from(self._cursor, request.range_end, self.revision, keys_max)
        for seen, (last, row_id) in enumerate(rows, 1):  # noqa: B007 - needed below
            if row_id:
                self.count += 1
                if not request.count_only and not 0 < limit <= len(row_ids):
                    row_ids.append(row_id)
                    self.size_bytes += len(self._field(row_id))
                    if self.size_bytes >= stop_bytes:
                        break
        else:
            if seen < keys_max:
                self._cursor = None
                return True
        self._cursor = last + b"\0"
        return False

    def _field(self, row_id: int) -> bytes:
        row = self._store.row(row_id)
        return encode_field(b"\x12", without_value(row) if self._request.keys_only else row)

    @property
    def tail(self) -> bytes:
        """What follows the rows: whether there are more, and how many in all."""
        more = b"\x18\x01" if len(self._row_ids) < self.count else b""
        if self._request.count_only:
            more = b""
        return more + (b"\x20" + encode_varint(self.count) if self.count else b"")

    def pieces(self, bytes_max: int) -> Iterator[bytes]:
        """The rows as fields of the answer, in pieces of about so many bytes."""
        parts: list[bytes] = []
        size = 0
        for row_id in self._row_ids:
            field = self._field(row_id)
            parts.append(field)
            size += len(field)
            if size >= bytes_max:
                yield b"".join(parts)
                parts.clear()
                size = 0
        if parts:
            yield b"".join(parts)
