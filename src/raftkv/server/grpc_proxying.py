"""``raftkvd grpc-proxy start``: gRPC calls passed on to members, as ``etcd grpc-proxy start`` does.

Each client has a connection of its own to one member; when that breaks the next call goes to
another member. A call is repeated there only if nothing of it was sent, or if it reads and nothing
of its answer came. Members see the proxy's certificate, and the client's token.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from etcdwire import frames, grpc
from etcdwire import messages as m
from etcdwire.errors import ApiError, Code
from etcdwire.hpack import encode_headers
from etcdwire.http2 import Delivery, Head, ServerSession
from etcdwire.http2_client import ClientStream
from etcdwire.protobuf import decode, encode
from raftkv.api.host import Limits
from raftkv.api.http import HttpReply, HttpRequest, not_found
from raftkv.api.services import STREAMED
from raftkv.proxy.directory import Directory
from raftkv.proxy.grpc_link import Headers, Link
from raftkv.proxy.namespace import Namespace, Translation
from raftkv.proxy.reverse import ReverseProxy
from raftkv.proxy.upstream import Timeouts, Upstream
from raftkv.server import tls
from raftkv.server.config import TlsFiles, parse_url
from raftkv.server.connection import Codec, Connection, Connections, Plane
from raftkv.server.event_loop import new_event_loop
from raftkv.server.flags import ConfigError
from raftkv.server.guard import Guard
from raftkv.server.http1 import Http1Codec
from raftkv.server.http2_codec import PlainReply
from raftkv.server.listeners import Bound, Listener, bind
from raftkv.server.notify import notify_systemd, start_logging

FAILURE_WAIT_S: Final = 1.0
DRAIN_S: Final = 5.0
REQUEST_BYTES_MAX: Final = 2 << 20
PLAIN_PATHS: Final = frozenset({"/metrics", "/health", "/version"})
PENDING_BYTES_MAX: Final = 4 << 20
"""Unread answers of a client beyond which its member is not listened to."""
PENDING_LOOK_S: Final = 0.01
MEMBER_LIST: Final = b"/etcdserverpb.Cluster/MemberList"
SAFE: Final = frozenset(
    {
        b"/etcdserverpb.KV/Range",
        MEMBER_LIST,
        b"/etcdserverpb.Lease/LeaseTimeToLive",
        b"/etcdserverpb.Lease/LeaseLeases",
        b"/etcdserverpb.Maintenance/Status",
        b"/etcdserverpb.Maintenance/HashKV",
        b"/etcdserverpb.Auth/Authenticate",
        b"/etcdserverpb.Auth/UserGet",
        b"/etcdserverpb.Auth/UserList",
        b"/etcdserverpb.Auth/RoleGet",
        b"/etcdserverpb.Auth/RoleList",
    }
)
"""Unary calls that change nothing: they may be asked twice."""
_NOT_PASSED: Final = frozenset({b"host", b"connection", b"content-length"})
_LOG: Final = logging.getLogger("raftkv.grpc_proxy")


def run_grpc_proxy(arguments: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    options = _parse(arguments)
    start_logging("debug" if options.debug else "info")
    try:
        proxy = _Proxy(options)
        bound = proxy.bind()
    except ConfigError as error:
        print(f"raftkvd: {error}", file=sys.stderr)
        return 1
    loop = new_event_loop()
    try:
        loop.run_until_complete(proxy.serve(loop, bound))
    finally:
        loop.close()
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="raftkvd grpc-proxy", description="a gRPC proxy")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="pass gRPC calls on to members")
    add = start.add_argument
    add("--listen-addr", default="127.0.0.1:23790", help="where to listen")
    add("--endpoints", default="127.0.0.1:2379", help="members, HOST:PORT or URLs, with commas")
    add("--advertise-client-url", default="127.0.0.1:23790", help="what MemberList answers")
    add("--metrics-addr", default="", help="accepted; /metrics is that of a member")
    add("--data-dir", default="default.proxy", help="accepted; nothing is kept")
    add("--namespace", default="", help="a prefix of all keys, which clients do not see")
    add("--cacert", default="", help="who signs the members' certificates")
    add("--cert", default="", help="the proxy's certificate, for the members")
    add("--key", default="", help="its key")
    add("--insecure-skip-tls-verify", action="store_true")
    add("--cert-file", default="", help="the proxy's certificate, for clients")
    add("--key-file", default="", help="its key")
    add("--trusted-ca-file", default="", help="who signs the clients' certificates")
    add("--debug", action="store_true")
    return parser.parse_args(list(arguments))


class _Proxy:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        has_tls = bool(options.cacert or options.cert or options.insecure_skip_tls_verify)
        scheme = "https" if has_tls else "http"
        texts = [text.strip() for text in options.endpoints.split(",") if text.strip()]
        endpoints = [text if "://" in text else f"{scheme}://{text}" for text in texts]
        for endpoint in endpoints:
            parse_url(endpoint, "--endpoints")
        if not endpoints:
            raise ConfigError("--endpoints is empty")
        self.members_context = _members_context(options, "h2")
        self._plain_context = _members_context(options, "http/1.1")
        files = TlsFiles(
            options.cert_file,
            options.key_file,
            options.trusted_ca_file,
            client_cert_auth=bool(options.trusted_ca_file),
        )
        self._listen_context = (
            tls.server_context(files, plane="client") if files.cert_file else None
        )
        listen_scheme = "https" if files.cert_file else "http"
        self._url = parse_url(f"{listen_scheme}://{options.listen_addr}", "--listen-addr")
        self.advertised: str = options.advertise_client_url
        self.namespace = Namespace(options.namespace.encode()) if options.namespace else None
        self.directory = Directory(FAILURE_WAIT_S, random.Random())  # noqa: S311 - only an order
        self.directory.replace(endpoints)

    def bind(self) -> list[Bound]:
        """Raises:
        ConfigError: the address cannot be had.
        """
        return [Bound("grpc-proxy", self._url, one) for one in bind(self._url)]

    async def serve(self, loop: asyncio.AbstractEventLoop, bound: Sequence[Bound]) -> None:
        """Until a signal comes, then finish what is under way."""
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        upstream = Upstream(loop, self._plain_context, Timeouts(2.0, 5.0, 0.0))
        plane: Plane = ReverseProxy(self.directory, upstream, is_readonly=False).handle
        if self.namespace is not None:
            plane = _without_keys(plane)
        limits = Limits(128, REQUEST_BYTES_MAX, 0)

        def make(connection: Connection, is_http2: bool) -> Codec:  # noqa: FBT001 - see group
            if is_http2:
                return ProxyCodec(connection, self, plane)
            return Http1Codec(connection, limits, plane)

        group = Connections(loop, make, Guard())
        listeners = [Listener(one, lambda: Connection(group)) for one in bound]
        for listener in listeners:
            await listener.serve(self._listen_context)
        _LOG.info("ready to proxy gRPC calls to %s", ", ".join(self.directory.endpoints))
        notify_systemd("READY=1")
        await stopped.wait()
        for listener in listeners:
            listener.close()
        group.drain()
        if group.open:
            drained = asyncio.Event()
            group.on_empty = drained.set
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(drained.wait(), DRAIN_S)
        upstream.close()


def _without_keys(plane: Plane) -> Plane:
    """Only what has no keys: through the JSON gateway or v2 a client would see them all."""

    def handle(request: HttpRequest, reply: HttpReply) -> None:
        if request.path in PLAIN_PATHS:
            plane(request, reply)
        else:
            not_found(reply)

    return handle


def _members_context(options: argparse.Namespace, protocol: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    try:
        if options.insecure_skip_tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif options.cacert:
            context.load_verify_locations(options.cacert)
        else:
            context.load_default_certs()
        if options.cert:
            context.load_cert_chain(options.cert, options.key or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use --cacert, --cert, --key: {error}") from None
    return context


@dataclass(slots=True, eq=False)
class _Call:
    """One call (``grpc_link.Passage``)."""

    codec: ProxyCodec
    stream_id: int
    head: Head
    link: Link | None = None
    request: bytearray | None = None
    """What the client has sent, while the call might be sent (again); None afterwards."""
    is_whole: bool = False
    has_answer: bool = False
    held: bytearray | None = None
    """An answer that is changed before it goes on."""
    translation: Translation | None = None
    """Where there is a namespace and the method has keys."""
    tries: int = 0

    @property
    def headers(self) -> Headers:
        """See ``Passage``."""
        passed = (
            (name, value)
            for name, value in self.head.headers.items()
            if name not in _NOT_PASSED
            and not name.startswith(b":")
            and not (self.translation is not None and name == b"grpc-accept-encoding")
        )
        return ((b":path", self.head.path), *passed)

    @property
    def unsent(self) -> bytes:
        """See ``Passage``."""
        return bytes(self.request or b"")

    def answered(self, stream: ClientStream) -> None:
        """See ``Passage``."""
        self.codec.pass_answer(self, stream)

    def lost(self, *, was_sent: bool) -> None:
        """See ``Passage``."""
        self.codec.on_lost(self, was_sent=was_sent)


class ProxyCodec:
    """A client's HTTP/2 connection (``connection.Codec``, ``http2.Handler``)."""

    def __init__(self, connection: Connection, proxy: _Proxy, plane: Plane) -> None:
        self._connection = connection
        self._proxy = proxy
        self._plane = plane
        self.session = ServerSession(self)
        self._calls: dict[int, _Call] = {}
        self._closers: dict[int, Callable[[], None]] = {}
        self._link: Link | None = None
        self._has_failed = False
        self._is_paused = False

    # --- Codec ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        try:
            self.session.receive(data)
        except frames.ConnectionProtocolError as error:
            self._has_failed = True
            self.session.goaway(error.error_code, error.reason)

    def take_output(self) -> list[bytes]:
        """Bytes to be written now."""
        return self.session.take_output()

    def close(self) -> None:
        """The client is gone."""
        self._calls.clear()
        if self._link is not None:
            self._link.close()
        for closer in list(self._closers.values()):
            closer()
        self._closers.clear()

    def drain(self) -> None:
        """Say goodbye; streams end, so that clients go elsewhere."""
        self.session.goaway(frames.NO_ERROR, "proxy is shutting down")
        for call in list(self._calls.values()):
            if call.head.path in STREAMED:
                self._fail(call, "etcdserver: server stopped")

    @property
    def should_close(self) -> bool:
        """After a protocol error, or drained and idle."""
        return self._has_failed or (self.session.draining and not self.session.streams)

    @property
    def is_mid_request(self) -> bool:
        """Whether a frame or a request has begun and its end has not come."""
        return self.session.is_mid_request

    # --- Handler ----------------------------------------------------------------------------

    def classify(self, head: Head) -> None:
        """Calls are passed on as they come, the rest whole."""
        if head.headers.get(b"content-type", b"").startswith(b"application/grpc"):
            head.delivery = Delivery.STREAMED

    def body_limit(self, head: Head) -> int:  # noqa: ARG002 - one limit for all
        """Of plain requests."""
        return REQUEST_BYTES_MAX

    def on_too_large(self, stream_id: int, head: Head, size_bytes: int) -> None:  # noqa: ARG002
        """A plain request above the limit."""
        self.session.end(stream_id, encode_headers(((b":status", b"413"),)))
        self.touch()

    def on_request(self, stream_id: int, head: Head, body: bytes) -> None:
        """A plain request."""
        path, _, query = head.path.decode("latin-1").partition("?")
        request = HttpRequest(
            head.method.decode("latin-1"),
            unquote(path, errors="surrogateescape"),
            query,
            head.headers,
            body,
        )
        self._plane(request, PlainReply(self, stream_id, is_head=head.method == b"HEAD"))

    def on_open(self, stream_id: int, head: Head) -> None:
        """A call begins."""
        call = _Call(self, stream_id, head, request=bytearray())
        if head.path == MEMBER_LIST:
            call.held = bytearray()
        namespace = self._proxy.namespace
        if namespace is not None and namespace.concerns(head.path):
            call.translation = Translation(namespace, head.path, REQUEST_BYTES_MAX)
        self._calls[stream_id] = call
        self._send(call)

    def on_data(self, stream_id: int, data: bytes) -> None:
        """A piece of a call."""
        call = self._calls.get(stream_id)
        if call is None:
            return
        if call.translation is not None:
            try:
                data = call.translation.put_in(data)
            except ApiError as error:
                self._fail(call, error.message, error.code)
                return
        if call.request is not None:
            call.request += data
            if len(call.request) > REQUEST_BYTES_MAX:
                if call.link is None or not call.link.is_connected:
                    self._fail(call, "more than is kept for a member", Code.RESOURCE_EXHAUSTED)
                    return
                call.request = None  # a long stream: it cannot be sent again
        if call.link is not None and not call.link.send(call, data, end=False):
            self._fail(call, "the member does not take what is sent", Code.RESOURCE_EXHAUSTED)

    def on_end(self, stream_id: int) -> None:
        """The client has sent all of a call."""
        call = self._calls.get(stream_id)
        if call is not None:
            call.is_whole = True
            if call.link is not None:
                call.link.send(call, b"", end=True)

    def on_reset(self, stream_id: int) -> None:
        """The client gave a call up."""
        call = self._calls.pop(stream_id, None)
        if call is not None and call.link is not None:
            call.link.cancel(call)
        closer = self._closers.pop(stream_id, None)
        if closer is not None:
            closer()

    # --- PlainCarrier -----------------------------------------------------------------------

    def touch(self) -> None:
        """There is output."""
        self._connection.touch()

    def pending_bytes(self, stream_id: int) -> int:
        """Bytes not yet taken."""
        return self.session.pending_bytes(stream_id) + self._connection.pending_bytes()

    def set_closer(self, stream_id: int, closer: Callable[[], None]) -> None:
        """Call this when the client gives this stream up."""
        self._closers[stream_id] = closer

    def drop_closer(self, stream_id: int) -> None:
        """The stream ended in order."""
        self._closers.pop(stream_id, None)

    # --- towards a member -------------------------------------------------------------------

    def _send(self, call: _Call) -> None:
        link = self._link
        if link is None or not link.is_usable:
            link = self._link = self._dial()
        if link is None:
            self._fail(call, "grpc-proxy: no member can be reached")
            return
        call.tries += 1
        call.link = link
        link.start(call)

    def _dial(self) -> Link | None:
        loop, proxy = self._connection.loop, self._proxy
        candidates = proxy.directory.candidates(loop.time()) or proxy.directory.endpoints
        if not candidates:
            return None
        return Link(loop, candidates[0], proxy.members_context, self._note_loss)

    def _note_loss(self, link: Link, was_connected: bool) -> None:  # noqa: FBT001 - see Link
        del was_connected
        self._proxy.directory.note_failure(link.endpoint, self._connection.loop.time())
        if self._link is link:
            self._link = None

    def on_lost(self, call: _Call, *, was_sent: bool) -> None:
        """The connection to the member broke under a call."""
        call.link = None
        if call.stream_id not in self._calls:
            return
        is_safe = call.head.path in SAFE and not call.has_answer
        may_repeat = call.request is not None and (not was_sent or is_safe)
        if may_repeat and call.tries <= len(self._proxy.directory.endpoints):
            self._send(call)
        else:
            self._fail(call, "etcdserver: connection to the member was lost")

    def _fail(self, call: _Call, message: str, code: Code = Code.UNAVAILABLE) -> None:
        self._finish(call)
        block = grpc.trailers if call.has_answer else grpc.trailers_only
        self.session.end(call.stream_id, block(code, message))
        self.touch()

    def _finish(self, call: _Call) -> None:
        self._calls.pop(call.stream_id, None)
        if call.link is not None:
            call.link.cancel(call)

    def pass_answer(self, call: _Call, stream: ClientStream) -> None:
        """What a member sent goes to the client."""
        data = bytes(stream.data)
        stream.data.clear()
        if call.held is not None:
            call.held += data
            data = b""
            if stream.is_ended and call.held:
                data = self._advertise(bytes(call.held))
        if call.translation is not None:
            try:
                data = call.translation.take_out(data)
            except ApiError as error:
                self._fail(call, error.message, error.code)
                return
        if data:
            if not call.has_answer:
                call.has_answer = True
                self.session.send_head(call.stream_id, _response_head(stream))
            self.session.send_data(call.stream_id, data)
            self._pause_if_behind(call)
        if stream.is_ended:
            self._finish(call)
            if stream.reset_code is not None:
                self.session.reset(call.stream_id, stream.reset_code)
            else:
                self.session.end(call.stream_id, _trailers(stream, is_only=not call.has_answer))
        self.touch()

    def _advertise(self, body: bytes) -> bytes:
        """The answer to MemberList: this proxy, as etcd's has it, so that clients stay with it."""
        try:
            answer = decode(m.MemberListResponse, grpc.unframe_one(body))
        except ValueError:
            return body
        answer.members = [m.Member(name=socket.gethostname(), clientURLs=[self._proxy.advertised])]
        return grpc.frame(encode(answer))

    def _pause_if_behind(self, call: _Call) -> None:
        link = call.link
        if not self._is_paused and link and self.pending_bytes(call.stream_id) > PENDING_BYTES_MAX:
            self._is_paused = True
            link.pause()
            self._look_again(link, call.stream_id)

    def _look_again(self, link: Link, stream_id: int) -> None:
        if self.pending_bytes(stream_id) > PENDING_BYTES_MAX // 2 and not link.is_lost:
            self._connection.loop.call_later(PENDING_LOOK_S, self._look_again, link, stream_id)
        else:
            self._is_paused = False
            link.resume()


_TRAILERS: Final = frozenset({b"grpc-status", b"grpc-message", b"grpc-status-details-bin"})


def _response_head(stream: ClientStream) -> bytes:
    fields = ((n, v) for n, v in stream.headers.items() if n not in _TRAILERS and n != b":status")
    return encode_headers(((b":status", stream.headers.get(b":status", b"200")), *fields))


def _trailers(stream: ClientStream, *, is_only: bool) -> bytes:
    fields = tuple((n, v) for n, v in stream.headers.items() if n in _TRAILERS)
    if not is_only:
        return encode_headers(fields)
    kind = stream.headers.get(b"content-type", b"application/grpc")
    status = stream.headers.get(b":status", b"200")
    return encode_headers(((b":status", status), (b"content-type", kind), *fields))
