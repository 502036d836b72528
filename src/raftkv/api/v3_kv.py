"""The KV service: Put, Range, DeleteRange, Txn."""

from __future__ import annotations

from etcdwire import errors
from etcdwire.errors import RequestError
from etcdwire.hot import decode_put, decode_range
from etcdwire.messages import (
    CompactionRequest,
    DeleteRangeRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from etcdwire.protobuf import decode
from raftkv.api import large_ranges
from raftkv.api.calls import AlteredCall, Call, ReadToken, propose
from raftkv.api.host import Host, error_of
from raftkv.auth import policy
from raftkv.replica.commands import CommandKind, encode_compact
from raftkv.replica.effects import Rejected
from raftkv.store.ranges import LargeAnswerError, answer_range, is_filtered
from raftkv.store.txn import (
    apply_txn,
    check_compares,
    check_delete,
    check_put,
    check_range,
    check_txn,
)

_PUT = bytes((CommandKind.PUT,))
_DELETE_RANGE = bytes((CommandKind.DELETE_RANGE,))
_TXN = bytes((CommandKind.TXN,))


def put(host: Host, call: Call, data: bytes) -> None:
    """Put."""
    request = decode_put(data)
    check_put(request)
    if call.identity is not None:
        policy.check_put(call.identity.rights, request)
    _check_size(host, data)
    _check_quota(host)
    propose(host, call, _PUT + data)


def delete_range(host: Host, call: Call, data: bytes) -> None:
    """DeleteRange."""
    request = decode(DeleteRangeRequest, data)
    check_delete(request)
    if call.identity is not None:
        policy.check_delete(call.identity.rights, request)
    _check_size(host, data)
    propose(host, call, _DELETE_RANGE + data)


def range_(host: Host, call: Call, data: bytes) -> None:
    """Range."""
    request = decode_range(data)
    check_range(request)
    if call.identity is not None:
        policy.check_range(call.identity.rights, request)
    if request.serializable:
        _answer(host, request, call)
        return
    if host.is_learner:
        raise errors.NOT_SUPPORTED_FOR_LEARNER
    host.read(_RangeToken(host, call, request))


def compact(host: Host, call: Call, data: bytes) -> None:
    """Compact; with ``physical`` it is answered when the rows are gone, else when they may go."""
    request = decode(CompactionRequest, data)
    if request.revision < 0:
        raise errors.COMPACTED
    if call.identity is not None and not call.identity.rights.has_all_keys:
        raise errors.PERMISSION_DENIED
    answered = call
    if request.physical:  # answered once the rows are gone
        answered = AlteredCall(call, lambda body: host.when_forgotten(lambda: call.ok(body)))
    propose(host, answered, encode_compact(request.revision))


def txn(host: Host, call: Call, data: bytes) -> None:
    """Txn; one that only reads does not go through the log."""
    request = decode(TxnRequest, data)
    check_compares(request)
    check_txn(request, host.limits.max_txn_ops)
    if call.identity is not None:
        policy.check_txn(call.identity.rights, request)
    _check_size(host, data)
    if not _is_read_only(request):
        if any(operation.request_put is not None for operation in _operations(request)):
            _check_quota(host)
        propose(host, call, _TXN + data)
        return

    def answer(call: Call) -> None:
        try:
            revision, body = apply_txn(host.machine.kv, request)
        except RequestError as error:
            call.fail(error)
            return
        call.ok(host.headers.encode(revision, host.term) + body)

    if _is_serializable(request):
        answer(call)
    else:
        host.read(ReadToken(call, answer))


class _RangeToken:
    """A linearizable range: a class of its own, because there are many."""

    __slots__ = ("_call", "_host", "_request")

    def __init__(self, host: Host, call: Call, request: RangeRequest) -> None:
        self._host = host
        self._call = call
        self._request = request

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Answer."""
        _answer(self._host, self._request, self._call)

    def rejected(self, rejection: Rejected) -> None:
        """Answer that there is no result."""
        self._call.fail(error_of(rejection))


def _answer(host: Host, request: RangeRequest, call: Call) -> None:
    kv = host.machine.kv
    try:
        if request.range_end:
            body = _answer_many(host, request, call)
            if body is None:
                return
        else:
            body = answer_range(kv, request)
    except RequestError as error:
        call.fail(error)
        return
    call.ok(host.headers.encode(kv.revision, host.term) + body)


def _answer_many(host: Host, request: RangeRequest, call: Call) -> bytes | None:
    """The answer to a range, None when it is given in steps."""
    kv = host.machine.kv
    if large_ranges.is_large(host, request):
        large_ranges.answer(host, call, request)
        return None
    is_cached = not is_filtered(request)
    body = host.range_cache.find(kv, request) if is_cached else None
    if body is None:
        try:
            body = answer_range(kv, request, large_ranges.LARGE_BYTES)
        except LargeAnswerError:
            large_ranges.answer(host, call, request)
            return None
        if is_cached:
            host.range_cache.keep(request, body)
    return body


def _check_size(host: Host, data: bytes) -> None:
    if len(data) > host.limits.max_request_bytes:
        raise errors.REQUEST_TOO_LARGE


def _check_quota(host: Host) -> None:
    """Refuse what would grow a full store; deletions go on.

    The alarm does the same in the log, for what was on its way when it was raised.
    """
    if host.is_full or host.machine.alarms.is_full:
        raise errors.NO_SPACE


def _operations(request: TxnRequest) -> list[RequestOp]:
    out: list[RequestOp] = []
    stack = [request]
    while stack:
        current = stack.pop()
        for operation in (*current.success, *current.failure):
            out.append(operation)
            if operation.request_txn is not None:
                stack.append(operation.request_txn)
    return out


def _is_read_only(request: TxnRequest) -> bool:
    return all(
        operation.request_range is not None or operation.request_txn is not None
        for operation in _operations(request)
    )


def _is_serializable(request: TxnRequest) -> bool:
    return all(
        operation.request_range is None or operation.request_range.serializable
        for operation in _operations(request)
    )
