"""Applying writes: put, delete, and transactions with their guards.

Each function returns the response's bytes without the header: its revision is only known
when the whole transaction is done, and its ids differ per member.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from etcdwire.errors import (
    DUPLICATE_KEY,
    EMPTY_KEY,
    INVALID_SORT_OPTION,
    KEY_NOT_FOUND,
    LEASE_PROVIDED,
    TOO_MANY_OPS,
    VALUE_PROVIDED,
    RequestError,
)
from etcdwire.hot import encode_field
from etcdwire.messages import (
    Compare,
    CompareResult,
    CompareTarget,
    DeleteRangeRequest,
    KeyValue,
    PutRequest,
    RangeRequest,
    RequestOp,
    SortOrder,
    SortTarget,
    TxnRequest,
)
from etcdwire.protobuf import decode, encode_varint
from raftkv.store.mvcc import Change, KeyValueStore
from raftkv.store.ranges import answer_range

NESTING_MAX: Final = 64
"""Transactions inside transactions; recursion on input stays bounded."""


# --- validation: before anything is proposed ------------------------------------------------


def check_put(request: PutRequest) -> None:
    """Refuse a put that contradicts itself.

    Raises:
        RequestError: as etcd words it.
    """
    if not request.key:
        raise EMPTY_KEY
    if request.ignore_value and request.value:
        raise VALUE_PROVIDED
    if request.ignore_lease and request.lease:
        raise LEASE_PROVIDED


def check_range(request: RangeRequest) -> None:
    """Refuse a range without a key or with unknown sorting.

    Raises:
        RequestError: as etcd words it.
    """
    if not request.key:
        raise EMPTY_KEY
    if not 0 <= request.sort_order <= SortOrder.DESCEND:
        raise INVALID_SORT_OPTION
    if not 0 <= request.sort_target <= SortTarget.VALUE:
        raise INVALID_SORT_OPTION


def check_delete(request: DeleteRangeRequest) -> None:
    """Refuse a deletion without a key.

    Raises:
        RequestError: as etcd words it.
    """
    if not request.key:
        raise EMPTY_KEY


def check_txn(request: TxnRequest, max_ops: int, depth: int = 0) -> None:
    """Refuse a transaction that is too large, names no key, or writes one key twice.

    Raises:
        RequestError: as etcd words it.
    """
    _check_operations(request, max_ops, depth)
    if depth == 0:
        _puts_and_deletes(request.success)
        _puts_and_deletes(request.failure)


def _check_operations(request: TxnRequest, max_ops: int, depth: int) -> None:
    if depth > NESTING_MAX:
        raise TOO_MANY_OPS
    if max(len(request.compare), len(request.success), len(request.failure)) > max_ops:
        raise TOO_MANY_OPS
    for guard in request.compare:
        if not guard.key:
            raise EMPTY_KEY
    for operation in (*request.success, *request.failure):
        if operation.request_range is not None:
            check_range(operation.request_range)
        elif operation.request_put is not None:
            check_put(operation.request_put)
        elif operation.request_delete_range is not None:
            check_delete(operation.request_delete_range)
        elif operation.request_txn is not None:
            _check_operations(operation.request_txn, max_ops, depth + 1)
        else:
            raise KEY_NOT_FOUND


_Deletes = list[tuple[bytes, bytes]]


def _puts_and_deletes(operations: list[RequestOp]) -> tuple[set[bytes], _Deletes]:
    """Keys put and ranges deleted by one branch; a key may be written once (etcd's rule)."""
    puts: set[bytes] = set()
    deletes: _Deletes = []
    for operation in operations:
        delete = operation.request_delete_range
        if delete is not None:
            deletes.append((delete.key, delete.range_end))
    for operation in operations:
        if operation.request_txn is None:
            continue
        inner = operation.request_txn
        then_puts, then_deletes = _puts_and_deletes(inner.success)
        else_puts, else_deletes = _puts_and_deletes(inner.failure)
        both = then_puts | else_puts
        if any(key in puts or _is_deleted(key, deletes) for key in both):
            raise DUPLICATE_KEY
        for found in (*then_deletes, *else_deletes):
            if any(_is_deleted(key, [found]) for key in puts):
                raise DUPLICATE_KEY
        puts |= both
        deletes += then_deletes + else_deletes
    for operation in operations:
        put = operation.request_put
        if put is None:
            continue
        if put.key in puts or _is_deleted(put.key, deletes):
            raise DUPLICATE_KEY
        puts.add(put.key)
    return puts, deletes


def _is_deleted(key: bytes, deletes: _Deletes) -> bool:
    return any(in_range(key, start, end) for start, end in deletes)


def in_range(key: bytes, start: bytes, end: bytes) -> bool:
    """Whether etcd's range [start, end) holds a key."""
    if not end:
        return key == start
    return start <= key and (end == b"\0" or key < end)


# --- application: deterministic, inside one revision ----------------------------------------


def apply_put(store: KeyValueStore, request: PutRequest) -> bytes:
    """Write one key inside an open revision.

    Raises:
        RequestError: ``ignore_value`` or ``ignore_lease`` on a key that does not exist; a lease
            that does not exist.
    """
    if request.lease:
        store.leases.require(request.lease)
    value, lease = request.value, request.lease
    if request.ignore_value or request.ignore_lease:
        current = store.require(request.key)
        value = current.value if request.ignore_value else value
        lease = current.lease if request.ignore_lease else lease
    change = store.put(request.key, value, lease)
    if request.prev_kv and change.previous_id:
        return encode_field(b"\x12", store.row(change.previous_id))
    return b""


def apply_delete(store: KeyValueStore, request: DeleteRangeRequest) -> bytes:
    """Delete a range inside an open revision."""
    deleted: list[Change] = store.delete_range(request.key, request.range_end)
    if not deleted:
        return b""
    parts = [b"\x10" + encode_varint(len(deleted))]
    if request.prev_kv:
        parts += [encode_field(b"\x1a", store.row(change.previous_id)) for change in deleted]
    return b"".join(parts)


def apply_txn(store: KeyValueStore, request: TxnRequest) -> tuple[int, bytes]:
    """Run a whole transaction as one revision: (revision after it, response without header).

    Raises:
        RequestError: a read of a compacted revision or an ``ignore_*`` put of a missing key; both
            are found before the first write, so that nothing is half done.
    """
    path: dict[int, bool] = {}
    _choose_branches(store, request, path)
    _check_chosen(store, request, path, _check_put)  # all puts before the first range, as etcd
    _check_chosen(store, request, path, _check_read)
    store.begin()
    body = _run(store, request, path)
    return store.commit(), body


def _choose_branches(store: KeyValueStore, request: TxnRequest, path: dict[int, bool]) -> None:
    """Evaluate all guards against the state before the transaction, as etcd does."""
    succeeded = all(_holds(store, guard) for guard in request.compare)
    path[id(request)] = succeeded
    for operation in request.success if succeeded else request.failure:
        if operation.request_txn is not None:
            _choose_branches(store, operation.request_txn, path)


def _check_chosen(
    store: KeyValueStore,
    request: TxnRequest,
    path: dict[int, bool],
    check: Callable[[KeyValueStore, RequestOp], None],
) -> None:
    for operation in request.success if path[id(request)] else request.failure:
        if operation.request_txn is not None:
            _check_chosen(store, operation.request_txn, path, check)
        else:
            check(store, operation)


def _check_put(store: KeyValueStore, operation: RequestOp) -> None:
    put = operation.request_put
    if put is not None:
        if (put.ignore_value or put.ignore_lease) and store.latest(put.key) is None:
            raise KEY_NOT_FOUND
        if put.lease:
            store.leases.require(put.lease)


def _check_read(store: KeyValueStore, operation: RequestOp) -> None:
    if operation.request_range is not None:
        store.check_revision(operation.request_range.revision)


def _run(store: KeyValueStore, request: TxnRequest, path: dict[int, bool]) -> bytes:
    succeeded = path[id(request)]
    parts = [b"\x10\x01" if succeeded else b""]
    for operation in request.success if succeeded else request.failure:
        if operation.request_txn is not None:
            # etcd leaves the header of a nested transaction empty
            tag, header, body = b"\x22", b"\x0a\0", _run(store, operation.request_txn, path)
        else:
            tag, body = _run_one(store, operation)
            revision = store.revision_so_far
            header = encode_field(b"\x0a", b"\x18" + encode_varint(revision))
        parts.append(encode_field(b"\x1a", encode_field(tag, header + body)))
    return b"".join(parts)


def _run_one(store: KeyValueStore, operation: RequestOp) -> tuple[bytes, bytes]:
    """(tag of the answer, the answer without its header)."""
    if operation.request_range is not None:
        return b"\x0a", answer_range(store, operation.request_range)
    if operation.request_put is not None:
        return b"\x12", apply_put(store, operation.request_put)
    assert operation.request_delete_range is not None
    return b"\x1a", apply_delete(store, operation.request_delete_range)


def _holds(store: KeyValueStore, guard: Compare) -> bool:
    """Whether a guard holds: for each key of its range, or against zeroes when none exists."""
    row_ids = store.row_ids(guard.key, guard.range_end, 0)
    if not row_ids:
        # A value that does not exist equals nothing, not even the empty value (etcd's rule).
        return guard.target != CompareTarget.VALUE and _compare(guard, KeyValue())
    return all(_compare(guard, decode(KeyValue, store.row(row_id))) for row_id in row_ids)


def _compare(guard: Compare, kv: KeyValue) -> bool:
    left: bytes | int
    right: bytes | int
    if guard.target == CompareTarget.VALUE:
        left, right = kv.value, guard.value or b""
        sign = (left > right) - (left < right)
    else:
        number, wanted = {
            CompareTarget.VERSION: (kv.version, guard.version),
            CompareTarget.CREATE: (kv.create_revision, guard.create_revision),
            CompareTarget.MOD: (kv.mod_revision, guard.mod_revision),
            CompareTarget.LEASE: (kv.lease, guard.lease),
        }.get(CompareTarget(guard.target), (0, 0))
        left, right = number, wanted or 0
        sign = (left > right) - (left < right)
    return {
        CompareResult.EQUAL: sign == 0,
        CompareResult.GREATER: sign > 0,
        CompareResult.LESS: sign < 0,
        CompareResult.NOT_EQUAL: sign != 0,
    }[CompareResult(guard.result)]


def has_puts(request: TxnRequest) -> bool:
    """Whether a transaction may add data, in either branch, at any depth."""
    stack = [request]
    while stack:
        txn = stack.pop()
        for operation in (*txn.success, *txn.failure):
            if operation.request_put is not None:
                return True
            if operation.request_txn is not None:
                stack.append(operation.request_txn)
    return False


def leases_of(request: TxnRequest) -> set[int]:
    """Leases that puts of a transaction name, in either branch, at any depth."""
    found: set[int] = set()
    stack = [request]
    while stack:
        txn = stack.pop()
        for operation in (*txn.success, *txn.failure):
            if operation.request_put is not None:
                found.add(operation.request_put.lease)
            if operation.request_txn is not None:
                stack.append(operation.request_txn)
    return found


def check_compares(request: TxnRequest) -> None:
    """Refuse unknown enum values in guards before they are proposed.

    Raises:
        RequestError: etcd answers ``Unimplemented`` style errors; ours names the value.
    """
    for guard in request.compare:
        if not 0 <= guard.result <= CompareResult.NOT_EQUAL:
            raise RequestError(INVALID_SORT_OPTION.code, f"etcdserver: compare {guard.result}")
        if not 0 <= guard.target <= CompareTarget.LEASE:
            raise RequestError(INVALID_SORT_OPTION.code, f"etcdserver: target {guard.target}")
    for operation in (*request.success, *request.failure):
        if operation.request_txn is not None:
            check_compares(operation.request_txn)
