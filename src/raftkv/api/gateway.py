"""The JSON gateway: the same methods as gRPC, called with JSON over plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from etcdwire import messages as m
from etcdwire import messages_lock as ml
from etcdwire.errors import HTTP_STATUS, ApiError, Code
from etcdwire.json_v3 import DocumentSplitter, JsonError, dumps, loads, to_json
from etcdwire.protobuf import DecodeError, Message, decode, encode
from raftkv.api import v3_lease, v3_maintenance
from raftkv.api.access import Level, admit, caller_of, dispatch
from raftkv.api.calls import BodyWriter, GatheredBody
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest, method_not_allowed
from raftkv.api.services import (
    KEEP_ALIVE_GATEWAY,
    OBSERVE_GATEWAY,
    SNAPSHOT_GATEWAY,
    UNARY_BY_GATEWAY,
    WATCH_GATEWAY,
)
from raftkv.api.v3_lock import Observation
from raftkv.api.v3_watch import WatchStream


def is_gateway_path(path: str) -> bool:
    """Whether the gateway knows this path."""
    return (
        path in UNARY_BY_GATEWAY
        or path in WATCH_GATEWAY
        or path in SNAPSHOT_GATEWAY
        or path in KEEP_ALIVE_GATEWAY
        or path in OBSERVE_GATEWAY
    )


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one gateway request."""
    if request.method != "POST":
        method_not_allowed(reply, "POST")
        return
    if request.path in WATCH_GATEWAY:
        _watch(host, request, reply)
        return
    if request.path in SNAPSHOT_GATEWAY:
        stream = _ResultStream(reply, m.SnapshotResponse)
        admit(
            host,
            caller_of(request.headers, request.common_name),
            Level.ROOT,
            lambda: v3_maintenance.snapshot(host, stream),
            _JsonCall(reply, m.SnapshotResponse).fail,
        )
        return
    if request.path in OBSERVE_GATEWAY:
        _observe(host, request, reply)
        return
    if request.path in KEEP_ALIVE_GATEWAY:
        _keep_alive(host, request, reply)
        return
    method = UNARY_BY_GATEWAY[request.path]
    call = _JsonCall(reply, method.response)
    try:
        message = loads(method.request, request.body)
        if host.machine.auth.enabled:
            caller = caller_of(request.headers, request.common_name)
            dispatch(host, call, caller, method, encode(message))
        else:
            method.handler(host, call, encode(message))
    except JsonError as error:
        call.fail(ApiError(Code.INVALID_ARGUMENT, str(error)))
    except DecodeError as error:
        call.fail(ApiError(Code.INTERNAL, str(error)))
    except ApiError as error:
        call.fail(error)


def error_body(error: ApiError) -> dict[str, Any]:
    """An error as grpc-gateway 1 writes it."""
    return {"error": error.message, "message": error.message, "code": int(error.code)}


def _nothing() -> None:
    """It does not matter any more that the caller went away."""


class _JsonCall:
    """A unary call whose answer is JSON."""

    __slots__ = ("_reply", "_response")
    identity: Final = None

    def __init__(self, reply: HttpReply, response: type[Message]) -> None:
        self._reply = reply
        self._response = response

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """See ``calls.Call``."""
        self._reply.on_close(callback or _nothing)

    def begin(self, length: int) -> BodyWriter:  # noqa: ARG002 - see ``Call``
        """See ``Call``."""
        return _JsonRange(self._reply) if self._response is m.RangeResponse else GatheredBody(self)

    def ok(self, body: bytes) -> None:
        """Answer with the message as JSON."""
        self._reply.respond(200, (JSON,), dumps(decode(self._response, body)))

    def fail(self, error: ApiError) -> None:
        """Answer with the error as JSON."""
        text = json.dumps(error_body(error), separators=(",", ":")).encode()
        self._reply.respond(HTTP_STATUS[error.code], (JSON,), text)


class _JsonRange:
    """A RangeResponse in pieces, each of them whole fields, as one JSON document."""

    __slots__ = ("_has_keys", "_reply")

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply
        self._has_keys = False
        reply.start(200, (JSON,))

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""
        return self._reply.is_open

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the network."""
        return self._reply.pending_bytes()

    def send(self, piece: bytes) -> None:
        """The header, some of the keys, or what follows them."""
        fields = to_json(decode(m.RangeResponse, piece))
        if "header" in fields:
            self._reply.send(b'{"header":' + _compact(fields["header"]))
        elif "kvs" in fields:
            self._reply.send(b"," if self._has_keys else b',"kvs":[')
            self._reply.send(_compact(fields["kvs"])[1:-1])
            self._has_keys = True
        else:
            self._end_keys()
            self._reply.send(b"".join(b',"%s":%s' % (name.encode(), _compact(value))
                                      for name, value in fields.items()))  # fmt: skip

    def finish(self) -> None:
        """End the document."""
        self._end_keys()
        self._reply.send(b"}")
        self._reply.finish()

    def abort(self) -> None:
        """Hang up: the document is not whole."""
        self._reply.abort()

    def _end_keys(self) -> None:
        if self._has_keys:
            self._has_keys = False
            self._reply.send(b"]")


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


class _ResultStream:
    """A streamed answer: one ``{"result": ...}`` document a line."""

    def __init__(self, reply: HttpReply, response: type[Message]) -> None:
        self._reply = reply
        self._response = response
        self._started = False

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""
        return self._reply.is_open

    @property
    def has_started(self) -> bool:
        """Whether something was sent."""
        return self._started

    def send(self, body: bytes) -> None:
        """Send one message."""
        self._line({"result": to_json(decode(self._response, body))})

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the network."""
        return self._reply.pending_bytes()

    def finish(self, error: ApiError | None = None) -> None:
        """End the answer, with an error document if there is one."""
        if error is not None:
            document = error_body(error)
            document.pop("error")
            document["grpc_code"] = document.pop("code")
            self._line({"error": document})
        self._reply.finish()

    def _line(self, document: dict[str, Any]) -> None:
        if not self._started:
            self._started = True
            self._reply.start(200, (JSON,))
        self._reply.send(json.dumps(document, separators=(",", ":")).encode() + b"\n")


def _observe(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """One LeaderRequest; answers follow until the client leaves."""
    try:
        data = encode(loads(ml.LeaderRequest, request.body))
    except JsonError as error:
        _JsonCall(reply, ml.LeaderResponse).fail(ApiError(Code.INVALID_ARGUMENT, str(error)))
        return
    caller = caller_of(request.headers, request.common_name)
    observation = Observation(host, _ResultStream(reply, ml.LeaderResponse), caller)
    reply.on_close(observation.close)
    observation.receive(data)


def _keep_alive(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """One keep-alive; its answer is a stream of one document."""
    call = _JsonCall(reply, m.LeaseKeepAliveResponse)
    stream = _ResultStream(reply, m.LeaseKeepAliveResponse)
    try:
        data = encode(loads(m.LeaseKeepAliveRequest, request.body))
    except JsonError as error:
        call.fail(ApiError(Code.INVALID_ARGUMENT, str(error)))
        return
    admit(
        host,
        caller_of(request.headers, request.common_name),
        Level.USER,
        lambda: v3_lease.keep_alive(host, _OneResult(stream, call), data),
        call.fail,
    )


class _OneResult:
    """A streamed answer of one message, or an error in its place."""

    __slots__ = ("_call", "_stream")

    def __init__(self, stream: _ResultStream, call: _JsonCall) -> None:
        self._stream = stream
        self._call = call

    def ok(self, body: bytes) -> None:
        """Send it."""
        self._stream.send(body)
        self._stream.finish()

    def fail(self, error: ApiError) -> None:
        """Answer with the error."""
        self._call.fail(error)


def _watch(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """WatchRequest documents, as they come; answers follow until the client leaves."""
    stream = _ResultStream(reply, m.WatchResponse)
    watch = WatchStream(host, stream, caller_of(request.headers, request.common_name))
    splitter = DocumentSplitter(host.limits.max_request_bytes)
    reply.on_close(watch.close)

    def take(piece: bytes) -> None:
        if not reply.is_open:
            return
        try:
            for document in splitter.feed(piece):
                watch.receive(encode(loads(m.WatchRequest, document)))
        except JsonError as error:
            refuse(ApiError(Code.INVALID_ARGUMENT, str(error)))

    def refuse(error: ApiError) -> None:
        watch.close()
        if stream.has_started:
            stream.finish(error)
        else:
            _JsonCall(reply, m.WatchResponse).fail(error)

    def end() -> None:
        if not splitter.is_between and reply.is_open:
            refuse(ApiError(Code.INVALID_ARGUMENT, "unexpected EOF"))

    if request.feed is None:
        take(request.body)
        end()
    else:
        request.feed.on_piece = take
        request.feed.on_end = end
