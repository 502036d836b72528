"""``grpc-proxy --namespace``: every key of a client stands under one prefix, and it does not see that.

Pure: one message in, one message out. As etcd's ``clientv3/namespace`` for the services KV, Watch
and Lease. Locks and elections are translated as well (etcd's proxy leaves them outside, where the
key of a lock cannot be used as a guard by the client that holds it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from etcdwire import messages as m
from etcdwire import messages_lock as lm
from etcdwire.errors import EMPTY_KEY, ApiError, Code
from etcdwire.grpc import FramingError, MessageReader, frame
from etcdwire.key_ranges import prefix_end
from etcdwire.protobuf import decode, encode

ANSWER_BYTES_MAX: Final = 0x7FFF_FFFF
"""Answers are changed whole, as etcd's proxy reads them whole."""
EDGE: Final = b"\x00"
"""As a range's end: everything from the key on."""


class Namespace:
    """One prefix."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self._requests: dict[bytes, tuple[type[Any], Callable[[Any], None]]] = {
            b"/etcdserverpb.KV/Range": (m.RangeRequest, self._key_and_end),
            b"/etcdserverpb.KV/Put": (m.PutRequest, self._key),
            b"/etcdserverpb.KV/DeleteRange": (m.DeleteRangeRequest, self._key_and_end),
            b"/etcdserverpb.KV/Txn": (m.TxnRequest, self._txn),
            b"/etcdserverpb.Watch/Watch": (m.WatchRequest, self._watch),
            b"/v3lockpb.Lock/Lock": (lm.LockRequest, self._name),
            b"/v3lockpb.Lock/Unlock": (lm.UnlockRequest, self._key),
            b"/v3electionpb.Election/Campaign": (lm.CampaignRequest, self._name),
            b"/v3electionpb.Election/Proclaim": (lm.ProclaimRequest, self._leader),
            b"/v3electionpb.Election/Leader": (lm.LeaderRequest, self._name),
            b"/v3electionpb.Election/Observe": (lm.LeaderRequest, self._name),
            b"/v3electionpb.Election/Resign": (lm.ResignRequest, self._leader),
        }
        self._answers: dict[bytes, tuple[type[Any], Callable[[Any], None]]] = {
            b"/etcdserverpb.KV/Range": (m.RangeResponse, self._without_kvs),
            b"/etcdserverpb.KV/Put": (m.PutResponse, self._without_previous),
            b"/etcdserverpb.KV/DeleteRange": (m.DeleteRangeResponse, self._without_many),
            b"/etcdserverpb.KV/Txn": (m.TxnResponse, self._without_txn),
            b"/etcdserverpb.Watch/Watch": (m.WatchResponse, self._without_events),
            b"/etcdserverpb.Lease/LeaseTimeToLive": (m.LeaseTimeToLiveResponse, self._own_keys),
            b"/v3lockpb.Lock/Lock": (lm.LockResponse, self._without_key),
            b"/v3electionpb.Election/Campaign": (lm.CampaignResponse, self._without_leader),
            b"/v3electionpb.Election/Leader": (lm.LeaderResponse, self._without_kv),
            b"/v3electionpb.Election/Observe": (lm.LeaderResponse, self._without_kv),
        }

    def concerns(self, path: bytes) -> bool:
        """Whether messages of a method hold keys."""
        return path in self._requests or path in self._answers

    def put_in(self, path: bytes, message: bytes) -> bytes:
        """A client's message, as members shall see it.

        Raises:
            RequestError: no key.
            ValueError: it is not what the method takes.
        """
        found = self._requests.get(path)
        return message if found is None else _change(message, *found)

    def take_out(self, path: bytes, message: bytes) -> bytes:
        """A member's message, as the client shall see it.

        Raises:
            ValueError: it is not what the method answers.
        """
        found = self._answers.get(path)
        return message if found is None else _change(message, *found)

    # --- in ---------------------------------------------------------------------------------

    def _end(self, end: bytes) -> bytes:
        if end == EDGE:
            return prefix_end(self.prefix)
        return self.prefix + end if end else end

    def _key(self, request: Any) -> None:
        if not request.key:
            raise EMPTY_KEY
        request.key = self.prefix + request.key

    def _key_and_end(self, request: Any) -> None:
        self._key(request)
        request.range_end = self._end(request.range_end)

    def _txn(self, request: m.TxnRequest) -> None:
        for guard in request.compare:
            self._key_and_end(guard)
        for op in (*request.success, *request.failure):
            if op.request_range is not None:
                self._key_and_end(op.request_range)
            if op.request_put is not None:
                self._key(op.request_put)
            if op.request_delete_range is not None:
                self._key_and_end(op.request_delete_range)
            if op.request_txn is not None:
                self._txn(op.request_txn)

    def _watch(self, request: m.WatchRequest) -> None:
        create = request.create_request
        if create is not None:
            create.key = self.prefix + create.key
            create.range_end = self._end(create.range_end)

    def _name(self, request: Any) -> None:
        request.name = self.prefix + request.name

    def _leader(self, request: Any) -> None:
        leader = request.leader
        if leader is not None:
            leader.name = self.prefix + leader.name
            leader.key = self.prefix + leader.key

    # --- out --------------------------------------------------------------------------------

    def _without(self, key: bytes) -> bytes:
        return key.removeprefix(self.prefix)

    def _without_key(self, answer: Any) -> None:
        answer.key = self._without(answer.key)

    def _without_kv(self, answer: Any) -> None:
        if answer.kv is not None:
            self._without_key(answer.kv)

    def _without_kvs(self, answer: m.RangeResponse) -> None:
        for kv in answer.kvs:
            self._without_key(kv)

    def _without_previous(self, answer: Any) -> None:
        if answer.prev_kv is not None:
            self._without_key(answer.prev_kv)

    def _without_many(self, answer: m.DeleteRangeResponse) -> None:
        for kv in answer.prev_kvs:
            self._without_key(kv)

    def _without_txn(self, answer: m.TxnResponse) -> None:
        for op in answer.responses:
            if op.response_range is not None:
                self._without_kvs(op.response_range)
            if op.response_put is not None:
                self._without_previous(op.response_put)
            if op.response_delete_range is not None:
                self._without_many(op.response_delete_range)
            if op.response_txn is not None:
                self._without_txn(op.response_txn)

    def _without_events(self, answer: m.WatchResponse) -> None:
        for event in answer.events:
            self._without_kv(event)
            self._without_previous(event)

    def _own_keys(self, answer: m.LeaseTimeToLiveResponse) -> None:
        answer.keys = [self._without(k) for k in answer.keys if k.startswith(self.prefix)]

    def _without_leader(self, answer: lm.CampaignResponse) -> None:
        if answer.leader is not None:
            answer.leader.name = self._without(answer.leader.name)
            self._without_key(answer.leader)


class Translation:
    """The messages of one call, which come in pieces."""

    def __init__(self, namespace: Namespace, path: bytes, request_bytes_max: int) -> None:
        self._namespace = namespace
        self._path = path
        self._requests = MessageReader(request_bytes_max)
        self._answers = MessageReader(ANSWER_BYTES_MAX)

    def put_in(self, data: bytes) -> bytes:
        """What members shall get of a piece that the client sent.

        Raises:
            ApiError: it cannot be read, or has no key.
        """
        return _each(self._requests, data, self._path, self._namespace.put_in)

    def take_out(self, data: bytes) -> bytes:
        """What the client shall get of a piece that a member sent.

        Raises:
            ApiError: it cannot be read.
        """
        return _each(self._answers, data, self._path, self._namespace.take_out)


def _each(
    reader: MessageReader, data: bytes, path: bytes, change: Callable[[bytes, bytes], bytes]
) -> bytes:
    try:
        return b"".join(frame(change(path, message)) for message in reader.feed(data))
    except FramingError as error:
        raise ApiError(error.code, str(error)) from None
    except ValueError as error:
        raise ApiError(Code.INTERNAL, f"grpc-proxy: cannot read a message: {error}") from None


def _change(message: bytes, kind: type[Any], change: Callable[[Any], None]) -> bytes:
    decoded = decode(kind, message)
    change(decoded)
    return encode(decoded)
