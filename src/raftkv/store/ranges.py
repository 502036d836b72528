"""Answering a RangeRequest: selection, filters, order, limit, and the response's bytes.

Rows are stored as encoded KeyValues, so the common answer is a join of stored bytes; only sorting
by something else than the key, revision filters and ``keys_only`` decode them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from etcdwire.hot import encode_field, encode_key_value
from etcdwire.messages import KeyValue, RangeRequest, SortOrder, SortTarget
from etcdwire.protobuf import decode, encode_varint
from raftkv.store.mvcc import KeyValueStore

ROWS_FIRST: Final = 16
"""Rows read before it is known how large they are."""
HEADS_MAX: Final = 4096
_HEADS: Final[dict[int, bytes]] = {}
_SORT_KEYS: dict[int, Callable[[KeyValue], bytes | int]] = {
    SortTarget.KEY: lambda kv: kv.key,
    SortTarget.VERSION: lambda kv: kv.version,
    SortTarget.CREATE: lambda kv: kv.create_revision,
    SortTarget.MOD: lambda kv: kv.mod_revision,
    SortTarget.VALUE: lambda kv: kv.value,
}


class LargeAnswerError(Exception):
    """The rows are more than should be put together at once."""


def answer_range(
    store: KeyValueStore, request: RangeRequest, bytes_max: int | None = None
) -> bytes:
    """The RangeResponse without its header.

    Raises:
        RequestError: compacted or future revision.
        LargeAnswerError: its rows have more than ``bytes_max`` bytes.
    """
    store.check_revision(request.revision)
    if not request.range_end and not is_filtered(request):
        return _answer_one(store, request)
    row_ids = store.row_ids(request.key, request.range_end, request.revision)
    count = len(row_ids)
    if request.count_only:
        return _count_field(count)
    limit = request.limit
    more = False
    if is_filtered(request):
        rows, more = _filter_and_sort(request, _read_rows(store, row_ids, bytes_max))
    else:
        if 0 < limit < count:
            row_ids = row_ids[:limit]
            more = True
        rows = _read_rows(store, row_ids, bytes_max)
        if request.keys_only:
            rows = [without_value(row) for row in rows]
    parts: list[bytes] = []
    for row in rows:
        parts += (_HEADS.get(len(row)) or _head(len(row)), row)
    if more:
        parts.append(b"\x18\x01")
    parts.append(_count_field(count))
    return b"".join(parts)


def _read_rows(store: KeyValueStore, row_ids: list[int], bytes_max: int | None) -> list[bytes]:
    if bytes_max is None:
        return store.rows(row_ids)
    rows: list[bytes] = []
    size = 0
    step = ROWS_FIRST
    while len(rows) < len(row_ids):
        found = store.rows(row_ids[len(rows) : len(rows) + step])
        rows += found
        size += sum(map(len, found))
        if size > bytes_max:
            raise LargeAnswerError
        step = max(ROWS_FIRST, (bytes_max - size) * len(rows) // (size + 1))
    return rows


def _head(size_bytes: int) -> bytes:
    """What stands before a row of this size; small sizes come again and again."""
    head = b"\x12" + encode_varint(size_bytes)
    if size_bytes < HEADS_MAX:
        _HEADS[size_bytes] = head
    return head


def _answer_one(store: KeyValueStore, request: RangeRequest) -> bytes:
    row_ids = store.row_ids(request.key, b"", request.revision)
    if not row_ids:
        return b""
    if request.count_only:
        return b"\x20\x01"
    row = store.row(row_ids[0])
    if request.keys_only:
        row = without_value(row)
    return encode_field(b"\x12", row) + b"\x20\x01"


def _count_field(count: int) -> bytes:
    return b"\x20" + encode_varint(count) if count else b""


def is_filtered(request: RangeRequest) -> bool:
    """Whether rows have to be looked into, or put in another order."""
    return bool(
        request.sort_order
        or request.sort_target
        or request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def passes(request: RangeRequest, kv: KeyValue) -> bool:
    """Whether the filters let a key through; 0 filters nothing."""
    return (
        request.min_mod_revision <= kv.mod_revision
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and request.min_create_revision <= kv.create_revision
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )


def order_of(request: RangeRequest) -> int:
    """The order of the answer; like etcd, a target without an order sorts ascending.

    But for the key: keys without an order are as the index has them.
    """
    if request.sort_order == SortOrder.NONE and request.sort_target != SortTarget.KEY:
        return SortOrder.ASCEND
    return request.sort_order


def _filter_and_sort(request: RangeRequest, rows: list[bytes]) -> tuple[list[bytes], bool]:
    values = [kv for row in rows if passes(request, kv := decode(KeyValue, row))]
    order = order_of(request)
    if order != SortOrder.NONE:
        values.sort(key=_SORT_KEYS[request.sort_target], reverse=order == SortOrder.DESCEND)
    more = 0 < request.limit < len(values)
    if more:
        values = values[: request.limit]
    return [_encode(kv, keys_only=request.keys_only) for kv in values], more


def without_value(row: bytes) -> bytes:
    """A row as ``keys_only`` shows it."""
    return _encode(decode(KeyValue, row), keys_only=True)


def _encode(kv: KeyValue, *, keys_only: bool) -> bytes:
    value = b"" if keys_only else kv.value
    return encode_key_value(
        kv.key,
        kv.create_revision,
        kv.mod_revision,
        kv.version,
        value,
        kv.lease,
    )
