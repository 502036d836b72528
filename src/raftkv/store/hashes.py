"""The hash of a key space at a revision, equal to etcd's ``HashKV`` for the same history.

etcd hashes its bucket "key": the bucket's name, then for each row in order the 17 bytes of the
revision (main, ``_``, sub; big-endian; ``t`` behind a deletion's) and the KeyValue. Of the rows at
or below the last compaction only those count that are visible at the asked revision, so it does not
matter how far the rows of a compaction are gone already. A deletion's row holds only the key.
"""

from __future__ import annotations

import struct
from typing import Final

from crc32c import crc32c

from etcdwire.errors import COMPACTED, FUTURE_REVISION
from etcdwire.hot import encode_field
from raftkv.store.mvcc import KeyValueStore, key_of, main_revision, sub_revision

SLICE_BYTES: Final = 4 << 20
"""Hashed per step: a few milliseconds."""
SLICE_ROWS: Final = 2000
_REVISION: Final = struct.Struct(">QBQ")


class KeyValueHash:
    """One hash under way; the store may change between steps."""

    def __init__(self, store: KeyValueStore, revision: int) -> None:
        """Begin; a revision of 0 means the present one.

        Raises:
            RequestError: compacted, or in the future.
        """
        if 0 < revision <= store.compact_revision:
            raise COMPACTED
        if revision > store.revision:
            raise FUTURE_REVISION
        self._store = store
        self.revision = revision or store.revision
        self.compact_revision = store.compact_revision
        self._next = 0
        self._crc = crc32c(b"key")

    def is_of(self, store: KeyValueStore) -> bool:
        """Whether this store's rows are hashed."""
        return self._store is store

    @property
    def value(self) -> int:
        """The hash, once ``step`` has said that it is done."""
        return self._crc

    def step(self) -> bool:
        """Hash some more rows; whether that was the last of them.

        Raises:
            RequestError: the revision was compacted meanwhile.
        """
        store = self._store
        if store.compact_revision != self.compact_revision:
            if store.compact_revision >= self.revision:
                raise COMPACTED
            self.compact_revision = store.compact_revision  # other rows count now: begin anew
            self._next = 0
            self._crc = crc32c(b"key")
        parts: list[bytes] = []
        size = 0
        for count, (row_id, row) in enumerate(store.rows_from(self._next)):
            main = main_revision(row_id)
            if main > self.revision:
                break
            if count >= SLICE_ROWS or size >= SLICE_BYTES:
                self._take(parts)
                return False
            self._next = row_id + 1
            size += len(row)
            if main <= self.compact_revision and not store.is_visible(row_id, row, self.revision):
                continue
            head = _REVISION.pack(main, 0x5F, sub_revision(row_id))
            if row_id & 1:
                head += b"t"
                row = encode_field(b"\x0a", key_of(row))
            parts.append(head)
            parts.append(row)
        self._take(parts)
        return True

    def _take(self, parts: list[bytes]) -> None:
        self._crc = crc32c(b"".join(parts), self._crc)
