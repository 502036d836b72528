"""HTTP/2 on a connection: gRPC methods, and plain HTTP for clients that negotiated h2."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import unquote

from etcdwire import frames, grpc
from etcdwire.errors import NO_LEADER, ApiError, Code
from etcdwire.hpack import encode_headers
from etcdwire.http2 import Delivery, Head, ServerSession
from etcdwire.protobuf import DecodeError
from raftkv.api import v3_maintenance
from raftkv.api.access import Level, admit, caller_of, dispatch
from raftkv.api.calls import BodyWriter
from raftkv.api.figures import MethodCounter
from raftkv.api.host import Host
from raftkv.api.http import Feed, Headers, HttpRequest, streams_body
from raftkv.api.large_ranges import RangeStream
from raftkv.api.services import (
    KEEP_ALIVE_PATH,
    OBSERVE_PATH,
    RANGE_STREAM_PATH,
    STREAMED,
    UNARY_BY_PATH,
    WATCH_PATH,
    Unary,
)
from raftkv.api.v3_lease import KeepAliveStream
from raftkv.api.v3_lock import Observation
from raftkv.api.v3_watch import WatchStream
from raftkv.server.connection import Connection, Plane, internal_error
from raftkv.server.deadlines import Deadlines
from raftkv.values import NO_MEMBER

GRPC_OVERHEAD_BYTES: Final = 512 << 10
"""Etcd's allowance above the request limit before gRPC itself refuses a message."""
DEADLINE_EXCEEDED: Final = ApiError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
_LOG: Final = logging.getLogger("raftkv.http2")
_PLAIN: Final = object()
_UNKNOWN: Final = object()
_UNCOUNTED: Final = MethodCounter(b"unknown/unknown", "unary")
"""Calls of methods that do not exist: names of a caller's choice make no series."""
_TRAILERS_OK: Final = grpc.TRAILERS_OK
_RESPONSE_HEADERS: Final = grpc.RESPONSE_HEADERS


def _needs_leader(head: Head) -> bool:
    """Whether the client would rather have an error than wait for a leader (etcd's metadata)."""
    return head.headers.get(b"hasleader") == b"true"


class Http2Codec:
    """Implements ``connection.Codec`` and ``http2.Handler``."""

    def __init__(self, connection: Connection, host: Host, plane: Plane, *, grpc: bool) -> None:
        self._connection = connection
        self._host = host
        self._plane = plane
        self._serves_grpc = grpc
        self.session = ServerSession(self)
        self._streams: dict[int, _GrpcStream] = {}
        self._closers: dict[int, Callable[[], None]] = {}
        self._feeds: dict[int, Feed] = {}
        self._failed = False
        self._counters = host.figures.methods
        self._whole_limit = host.limits.max_request_bytes + GRPC_OVERHEAD_BYTES
        self._deadlines = Deadlines(connection.loop, self.session.streams, self._on_deadline)
        self.expired: set[int] = set()
        """Unary calls that were answered for their time-out; what they wanted may still come."""
        self.begun: set[int] = set()
        """Unary calls whose answer is being sent in pieces."""

    # --- Codec ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        try:
            self.session.receive(data)
        except frames.ConnectionProtocolError as error:
            self._failed = True
            self.session.goaway(error.error_code, error.reason)

    def take_output(self) -> list[bytes]:
        """Bytes to be written now."""
        return self.session.take_output()

    def close(self) -> None:
        """The connection is gone."""
        self._deadlines.close()
        for stream_id in list(self._streams):
            self.on_reset(stream_id)
        for closer in list(self._closers.values()):
            closer()
        self._closers.clear()
        self.session.close()

    def drain(self) -> None:
        """Say goodbye; unary calls under way are still answered."""
        self.session.goaway(frames.NO_ERROR, "server is shutting down")
        for stream in list(self._streams.values()):
            stream.finish(ApiError(Code.UNAVAILABLE, "etcdserver: server stopped"))

    @property
    def should_close(self) -> bool:
        """After a protocol error, or drained and idle."""
        return self._failed or (self.session.draining and not self.session.streams)

    @property
    def is_mid_request(self) -> bool:
        """Whether a frame or a request has begun and its end has not come."""
        return self.session.is_mid_request

    # --- Handler ----------------------------------------------------------------------------

    def classify(self, head: Head) -> None:
        """Find the route once per kind of header block."""
        content_type = head.headers.get(b"content-type", b"")
        if self._serves_grpc and content_type.startswith(b"application/grpc"):
            path = head.path
            method = UNARY_BY_PATH.get(path)
            if method is not None:
                head.route = method
            elif path in STREAMED:
                head.route = path
                head.delivery = Delivery.STREAMED
            else:
                head.route = _UNKNOWN
        else:
            head.route = _PLAIN
            target = unquote(head.path.decode("latin-1").partition("?")[0])
            if streams_body(head.method.decode("latin-1"), target):
                head.delivery = Delivery.STREAMED

    def body_limit(self, head: Head) -> int:  # noqa: ARG002 - one limit for all
        """One limit for all requests."""
        return self._whole_limit

    def on_request(self, stream_id: int, head: Head, body: bytes) -> None:
        """A whole request: unary gRPC or plain HTTP."""
        route = head.route
        if isinstance(route, Unary):
            counter = self._counters[route.path]
            counter.started += 1
            call = UnaryCall(self, stream_id, counter)
            size = len(body) - 5
            if size < 0 or body[0] or int.from_bytes(body[1:5], "big") != size:
                self._refuse_framing(call, body)
                return
            if _needs_leader(head) and self._host.leader_id == NO_MEMBER:
                call.fail(NO_LEADER)
                return
            if b"grpc-timeout" in head.headers:
                self._set_deadline(stream_id, head)
            try:
                if self._host.machine.auth.enabled:
                    caller = caller_of(head.headers, self._connection.common_name)
                    dispatch(self._host, call, caller, route, body[5:])
                else:
                    route.handler(self._host, call, body[5:])
            except ApiError as error:
                call.fail(error)
            except DecodeError as error:
                call.fail(ApiError(Code.INTERNAL, f"grpc: error unmarshalling request: {error}"))
            except Exception as error:  # noqa: BLE001 - our bug: this call fails, the member goes on
                _LOG.exception("call %s failed", head.path)
                call.fail(internal_error(error))
        elif route is _PLAIN:
            self._on_plain(stream_id, head, body)
        else:
            self._refuse_method(stream_id, head)

    def _set_deadline(self, stream_id: int, head: Head) -> None:
        timeout_s = grpc.parse_timeout(head.headers[b"grpc-timeout"])
        if timeout_s is not None:
            self._deadlines.add(stream_id, timeout_s)

    def _on_deadline(self, stream_id: int) -> None:
        """Answer a call whose time is over; whether it was carried out nobody knows."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.finish(DEADLINE_EXCEEDED)
            return
        open_stream = self.session.streams[stream_id]
        if not isinstance(open_stream.head.route, Unary):
            return
        if open_stream.pending is not None or stream_id in self.begun:
            self.session.reset(stream_id, frames.CANCEL)  # the answer is on its way already
            self.touch()
            return
        counter = self._counters[open_stream.head.path]
        UnaryCall(self, stream_id, counter).fail(DEADLINE_EXCEEDED)
        closer = self._closers.pop(stream_id, None)
        if closer is not None:
            closer()  # it waited for others, and is forgotten
        else:
            self.expired.add(stream_id)

    def _refuse_framing(self, call: UnaryCall, body: bytes) -> None:
        try:
            grpc.unframe_one(body)
        except grpc.FramingError as error:
            call.fail(ApiError(error.code, str(error)))

    def _refuse_method(self, stream_id: int, head: Head) -> None:
        service, _, method = head.path.decode("utf-8", "replace").lstrip("/").rpartition("/")
        text = (
            f"unknown method {method} for service {service}"
            if any(p.startswith(f"/{service}/".encode()) for p in UNARY_BY_PATH)
            else f"unknown service {service}"
        )
        UnaryCall(self, stream_id, _UNCOUNTED).fail(ApiError(Code.UNIMPLEMENTED, text))

    def on_too_large(self, stream_id: int, head: Head, size_bytes: int) -> None:
        """A body above the limit."""
        if head.route is _PLAIN:
            self.session.send_whole(stream_id, encode_headers(((b":status", b"413"),)), b"", b"")
            return
        text = f"grpc: received message larger than max ({size_bytes} vs. {self._whole_limit})"
        counter = self._counters.get(head.path, _UNCOUNTED)
        counter.started += 1
        UnaryCall(self, stream_id, counter).fail(ApiError(Code.RESOURCE_EXHAUSTED, text))

    def on_open(self, stream_id: int, head: Head) -> None:
        """A streamed call begins."""
        if head.route is _PLAIN:
            self._feeds[stream_id] = feed = Feed()
            self._on_plain(stream_id, head, b"", feed)
            return
        counter = self._counters[head.path]
        counter.started += 1
        stream = _GrpcStream(self, stream_id, self._whole_limit, counter)
        self._streams[stream_id] = stream
        if b"grpc-timeout" in head.headers:
            self._set_deadline(stream_id, head)
        try:
            self._open(stream, head)
        except Exception as error:  # noqa: BLE001 - our bug: this stream fails, the rest goes on
            _LOG.exception("call %s failed", head.path)
            stream.finish(internal_error(error))

    def _open(self, stream: _GrpcStream, head: Head) -> None:
        host = self._host
        caller = caller_of(head.headers, self._connection.common_name)
        if head.route == WATCH_PATH:
            watch = WatchStream(host, stream, caller, needs_leader=_needs_leader(head))
            stream.on_message = watch.receive
            stream.on_close = watch.close
        elif head.route == KEEP_ALIVE_PATH:
            keeping = KeepAliveStream(host, stream, caller)
            stream.on_message = keeping.receive
            stream.on_half_close = keeping.half_close
        elif head.route == RANGE_STREAM_PATH:
            stream.on_message = RangeStream(host, stream, caller).receive
        elif head.route == OBSERVE_PATH:
            observation = Observation(host, stream, caller)
            stream.on_message = observation.receive
            stream.on_half_close = _ignore
            stream.on_close = observation.close
        else:
            stream.on_message = lambda _: admit(
                host,
                caller,
                Level.ROOT,
                lambda: v3_maintenance.snapshot(host, stream),
                stream.finish,
            )

    def on_data(self, stream_id: int, data: bytes) -> None:
        """A piece of a streamed call."""
        feed = self._feeds.get(stream_id)
        if feed is not None:
            if feed.on_piece is not None:
                feed.on_piece(data)
            return
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.receive(data)

    def on_end(self, stream_id: int) -> None:
        """The client will send no more; a watch ends with that, other calls are answered first."""
        feed = self._feeds.pop(stream_id, None)
        if feed is not None and feed.on_end is not None:
            feed.on_end()
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        if stream.on_half_close is not None:
            stream.on_half_close()
        elif stream.on_close is not None:
            stream.finish()

    def on_reset(self, stream_id: int) -> None:
        """The client gave up."""
        self._feeds.pop(stream_id, None)
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.closed()
        closer = self._closers.pop(stream_id, None)
        if closer is not None:
            closer()

    def touch(self) -> None:
        """There is output."""
        self._connection.touch()

    def forget(self, stream_id: int) -> None:
        """A streamed call ended."""
        self._streams.pop(stream_id, None)

    def pending_bytes(self, stream_id: int) -> int:
        """Bytes not yet taken, by flow control or by the kernel."""
        return self.session.pending_bytes(stream_id) + self._connection.pending_bytes()

    # --- plain HTTP over h2 -----------------------------------------------------------------

    def _on_plain(self, stream_id: int, head: Head, body: bytes, feed: Feed | None = None) -> None:
        raw_path, _, query = head.path.decode("latin-1").partition("?")
        request = HttpRequest(
            head.method.decode("latin-1"),
            unquote(raw_path, errors="surrogateescape"),
            query,
            head.headers,
            body,
            self._connection.common_name,
            feed=feed,
        )
        reply = PlainReply(self, stream_id, is_head=head.method == b"HEAD")
        try:
            self._plane(request, reply)
        except Exception as error:  # noqa: BLE001 - our bug: this request fails, the member goes on
            _LOG.exception("%s %s failed", request.method, request.path)
            reply.respond(500, (), str(internal_error(error)).encode())

    def set_closer(self, stream_id: int, closer: Callable[[], None]) -> None:
        """Call this when the client gives this stream up."""
        self._closers[stream_id] = closer

    def drop_closer(self, stream_id: int) -> None:
        """The stream ended in order."""
        self._closers.pop(stream_id, None)
        self._feeds.pop(stream_id, None)


def _ignore() -> None:
    """The client asks once and listens."""


class UnaryCall:
    """A unary gRPC call (``calls.Call``)."""

    __slots__ = ("_codec", "_counter", "_stream_id")
    identity: Final = None

    def __init__(self, codec: Http2Codec, stream_id: int, counter: MethodCounter) -> None:
        self._codec = codec
        self._stream_id = stream_id
        self._counter = counter

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """See ``calls.Call``."""
        if callback is None:
            self._codec.drop_closer(self._stream_id)
        else:
            self._codec.set_closer(self._stream_id, callback)

    def begin(self, length: int) -> BodyWriter:
        """Announce a message of so many bytes."""
        return _UnaryBody(self._codec, self._stream_id, length, self._counter)

    def ok(self, body: bytes) -> None:
        """Answer."""
        codec = self._codec
        if codec.expired and self._is_expired():
            return
        self._counter.ok += 1
        codec.session.send_whole(
            self._stream_id,
            _RESPONSE_HEADERS,
            b"\x00" + len(body).to_bytes(4, "big") + body,
            _TRAILERS_OK,
        )
        codec.touch()

    def fail(self, error: ApiError) -> None:
        """Answer with a status only."""
        codec = self._codec
        if codec.expired and self._is_expired():
            return
        self._counter.fail(error.code)
        codec.session.end(self._stream_id, grpc.trailers_only(error.code, error.message))
        codec.touch()

    def _is_expired(self) -> bool:
        """Whether its time was over before the answer came; the answer is nobody's then."""
        if self._stream_id not in self._codec.expired:
            return False
        self._codec.expired.discard(self._stream_id)
        return True


class _UnaryBody:
    """The one message of a unary answer, in pieces (``calls.BodyWriter``)."""

    __slots__ = ("_codec", "_counter", "_stream_id")

    def __init__(
        self, codec: Http2Codec, stream_id: int, length: int, counter: MethodCounter
    ) -> None:
        self._codec = codec
        self._stream_id = stream_id
        self._counter = counter
        codec.begun.add(stream_id)
        codec.session.send_head(stream_id, _RESPONSE_HEADERS)
        self.send(b"\x00" + length.to_bytes(4, "big"))

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""
        return self._stream_id in self._codec.session.streams

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the client."""
        return self._codec.pending_bytes(self._stream_id)

    def send(self, piece: bytes) -> None:
        """Send a piece."""
        self._codec.session.send_data(self._stream_id, piece)
        self._codec.touch()

    def finish(self) -> None:
        """End the call."""
        self._counter.ok += 1
        self._codec.begun.discard(self._stream_id)
        self._codec.session.end(self._stream_id, _TRAILERS_OK)
        self._codec.touch()

    def abort(self) -> None:
        """Reset: what was announced will not come."""
        self._counter.fail(Code.UNAVAILABLE)
        self._codec.begun.discard(self._stream_id)
        self._codec.session.reset(self._stream_id, frames.INTERNAL_ERROR)
        self._codec.touch()


class _GrpcStream:
    """A streamed gRPC call (``v3_maintenance.OutStream``)."""

    def __init__(
        self, codec: Http2Codec, stream_id: int, limit_bytes: int, counter: MethodCounter
    ) -> None:
        self._codec = codec
        self._counter = counter
        self._stream_id = stream_id
        self._reader = grpc.MessageReader(limit_bytes)
        self._has_headers = False
        self.is_open = True
        self.on_message: Callable[[bytes], None] | None = None
        self.on_close: Callable[[], None] | None = None
        self.on_half_close: Callable[[], None] | None = None

    def receive(self, data: bytes) -> None:
        """Take a piece of the request."""
        try:
            messages = self._reader.feed(data)
        except grpc.FramingError as error:
            self.finish(ApiError(error.code, str(error)))
            return
        for message in messages:
            if self.on_message is not None and self.is_open:
                try:
                    self.on_message(message)
                except Exception as error:  # noqa: BLE001 - our bug: this stream fails, the rest goes on
                    _LOG.exception("a message of a stream failed")
                    self.finish(internal_error(error))

    def send(self, body: bytes) -> None:
        """Send one message."""
        if not self.is_open:
            return
        session = self._codec.session
        if not self._has_headers:
            self._has_headers = True
            session.send_head(self._stream_id, _RESPONSE_HEADERS)
        session.send_data(self._stream_id, b"\x00" + len(body).to_bytes(4, "big") + body)
        self._codec.touch()

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the client."""
        return self._codec.pending_bytes(self._stream_id)

    def finish(self, error: ApiError | None = None) -> None:
        """End the call."""
        if not self.is_open:
            return
        code = error.code if error is not None else Code.OK
        if error is None:
            self._counter.ok += 1
        else:
            self._counter.fail(code)
        text = error.message if error is not None else ""
        block = grpc.trailers(code, text) if self._has_headers else grpc.trailers_only(code, text)
        self._codec.session.end(self._stream_id, block)
        self._codec.forget(self._stream_id)
        self.closed()
        self._codec.touch()

    def closed(self) -> None:
        """No more can be sent."""
        self.is_open = False
        if self.on_close is not None:
            self.on_close()
        self.on_message = self.on_close = self.on_half_close = None


class PlainCarrier(Protocol):
    """What a plain answer needs of its connection."""

    session: ServerSession

    def touch(self) -> None:
        """There is output."""

    def pending_bytes(self, stream_id: int) -> int:
        """Bytes not yet taken."""

    def set_closer(self, stream_id: int, closer: Callable[[], None]) -> None:
        """Call this when the client gives this stream up."""

    def drop_closer(self, stream_id: int) -> None:
        """The stream ended in order."""


class PlainReply:
    """A plain HTTP answer over h2 (``api.http.HttpReply``)."""

    def __init__(self, codec: PlainCarrier, stream_id: int, *, is_head: bool) -> None:
        self._codec = codec
        self._stream_id = stream_id
        self._is_head = is_head
        self._is_done = False

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""
        return not self._is_done and self._stream_id in self._codec.session.streams

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer completely."""
        block = _head_block(status, headers, len(body))
        self._end()
        session = self._codec.session
        if self._is_head or not body:
            session.end(self._stream_id, block)
        else:
            session.send_whole(self._stream_id, block, body, b"")
        self._codec.touch()

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer in pieces."""
        self._codec.session.send_head(self._stream_id, _head_block(status, headers, None))
        self._codec.touch()

    def send(self, piece: bytes) -> None:
        """Send a piece."""
        self._codec.session.send_data(self._stream_id, piece)
        self._codec.touch()

    def finish(self) -> None:
        """End an answer in pieces."""
        self._end()
        self._codec.session.end(self._stream_id)
        self._codec.touch()

    def abort(self) -> None:
        """Reset the stream: the rest will not come."""
        self._end()
        self._codec.session.reset(self._stream_id, frames.INTERNAL_ERROR)
        self._codec.touch()

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the client."""
        return self._codec.pending_bytes(self._stream_id)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self._codec.set_closer(self._stream_id, callback)

    def _end(self) -> None:
        self._is_done = True
        self._codec.drop_closer(self._stream_id)


def _head_block(status: int, headers: Headers, length: int | None) -> bytes:
    fields = [(b":status", b"%d" % status)]
    fields += [(name.lower(), value) for name, value in headers]
    if length is not None and status != 204:
        fields.append((b"content-length", b"%d" % length))
    return encode_headers(tuple(fields))
