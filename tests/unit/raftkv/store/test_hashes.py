"""Hashing in steps: each reads what it hashes, and no step much more than its share."""

from __future__ import annotations

from collections.abc import Iterator

from raftkv.store.hashes import SLICE_BYTES, KeyValueHash
from raftkv.store.mvcc import KeyValueStore
from tests.kit.rows import DictRows

VALUES = 100
VALUE_BYTES = 200 << 10


class CountedRows(DictRows):
    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0

    def scan_rows(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        for row_id, row in super().scan_rows(first, end):
            self.read_bytes += len(row)
            yield row_id, row


def test_a_step_reads_its_share_however_large_the_rows_are() -> None:
    rows = CountedRows()
    store = KeyValueStore(rows)
    for number in range(VALUES):
        store.begin()
        store.put(b"%04d" % number, bytes(VALUE_BYTES), 0)
        store.commit()
    whole = KeyValueHash(store, 0)
    while not whole.step():
        pass
    flushed = store.changes[: VALUES // 2]  # the rest is read from memory
    rows.rows.update((change.row_id, change.row) for change in flushed)
    store.forget_flushed([change.row_id for change in flushed])

    sliced = KeyValueHash(store, 0)
    steps, is_done = 0, False
    while not is_done:
        before = rows.read_bytes
        is_done = sliced.step()
        steps += 1
        assert rows.read_bytes - before <= SLICE_BYTES + 2 * (VALUE_BYTES + 100)
    assert steps >= VALUES * VALUE_BYTES // (SLICE_BYTES + VALUE_BYTES)
    assert sliced.value == whole.value
