"""What each request of the key space needs, whatever the rest of it says.

The rules are those of the newest etcd, not of 3.4.23, which forgot some of them inside
transactions (GHSA-x35m-3gp4-4fh5) and for open-ended watches (GHSA-xg4h-6gfc-h4m8):

| in a request, at any depth | needs |
| --- | --- |
| range, guard, watch | read on the whole range |
| put, deletion | write on the whole range |
| ``prev_kv`` of a put or deletion | read as well |
| compaction | read and write on every key: it takes history from everybody |

Both branches of a transaction count, because which one runs depends on the data. What a lease
needs depends on the keys attached to it when the command is applied: see ``check_lease_keys``.
"""

from __future__ import annotations

from collections.abc import Iterable

from etcdwire.errors import PERMISSION_DENIED
from etcdwire.messages import DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from raftkv.auth.rights import Rights


def check_range(rights: Rights, request: RangeRequest) -> None:
    """Refuse a range that reaches beyond the caller's rights.

    Raises:
        RequestError: permission denied.
    """
    if not rights.may_read(request.key, request.range_end):
        raise PERMISSION_DENIED


def check_put(rights: Rights, request: PutRequest) -> None:
    """Refuse a put beyond the caller's rights.

    Raises:
        RequestError: permission denied.
    """
    if not rights.may_write(request.key):
        raise PERMISSION_DENIED
    if request.prev_kv and not rights.may_read(request.key):
        raise PERMISSION_DENIED


def check_delete(rights: Rights, request: DeleteRangeRequest) -> None:
    """Refuse a deletion beyond the caller's rights.

    Raises:
        RequestError: permission denied.
    """
    if not rights.may_write(request.key, request.range_end):
        raise PERMISSION_DENIED
    if request.prev_kv and not rights.may_read(request.key, request.range_end):
        raise PERMISSION_DENIED


def check_txn(rights: Rights, request: TxnRequest) -> None:
    """Refuse a transaction that holds anything beyond the caller's rights, at any depth.

    Raises:
        RequestError: permission denied.
    """
    if rights.is_root:
        return
    stack = [request]
    while stack:
        txn = stack.pop()
        for guard in txn.compare:
            if not rights.may_read(guard.key, guard.range_end):
                raise PERMISSION_DENIED
        for operation in (*txn.success, *txn.failure):
            if operation.request_range is not None:
                check_range(rights, operation.request_range)
            elif operation.request_put is not None:
                check_put(rights, operation.request_put)
            elif operation.request_delete_range is not None:
                check_delete(rights, operation.request_delete_range)
            elif operation.request_txn is not None:
                stack.append(operation.request_txn)


def check_lease_keys(rights: Rights, keys: Iterable[bytes]) -> None:
    """Refuse to end a lease, or to tie a key to it, when the caller may not write all its keys.

    Raises:
        RequestError: permission denied.
    """
    if not rights.is_root and not all(rights.may_write(key) for key in keys):
        raise PERMISSION_DENIED
