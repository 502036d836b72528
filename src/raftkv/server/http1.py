"""HTTP/1.1 on a connection: pipelined requests, answers in order, chunked streams."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import httptools

from raftkv.api.host import Limits
from raftkv.api.http import Feed, Headers, HttpRequest, streams_body
from raftkv.server.connection import Connection, Plane, internal_error

HEADER_BYTES_MAX: Final = 64 << 10
HEADERS_MAX: Final = 128
PIPELINE_MAX: Final = 256
"""Requests read ahead of their answers; beyond it the connection waits."""
_LOG: Final = logging.getLogger("raftkv.http1")
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Http1Codec:
    """Implements ``connection.Codec``; the lower half are httptools' callbacks."""

    def __init__(self, connection: Connection, limits: Limits, plane: Plane) -> None:
        self._connection = connection
        self._plane = plane
        self._parser = httptools.HttpRequestParser(self)
        self._body_limit = limits.max_request_bytes + (512 << 10)
        self._output: list[bytes] = []
        self._replies: deque[_Reply] = deque()
        self._closing = False
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._is_mid_request = False
        self._feed: Feed | None = None

    # --- Codec ------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes."""
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except _TooLargeError:
            self._refuse(413)
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            self._refuse(413 if isinstance(error.__context__, _TooLargeError) else 400)

    def take_output(self) -> list[bytes]:
        """Bytes to be written now."""
        output, self._output = self._output, []
        return output

    def close(self) -> None:
        """The connection is gone."""
        self._closing = True
        self._feed = None
        for reply in self._replies:
            reply.abandon()
        self._replies.clear()
        del self._parser  # it has this codec's methods

    def drain(self) -> None:
        """Close once everything is answered; streams end now."""
        self._closing = True
        for reply in list(self._replies):
            if reply.is_streaming:
                reply.finish()

    @property
    def should_close(self) -> bool:
        """Whether to close once everything is written."""
        return self._closing and not self._replies

    @property
    def is_mid_request(self) -> bool:
        """Whether a request has begun and its end has not come."""
        return self._is_mid_request

    def touch(self) -> None:
        """There is output."""
        self._connection.touch()

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the client."""
        return self._connection.pending_bytes()

    def _refuse(self, status: int) -> None:
        self._closing = True
        reply = _Reply(self, keep_alive=False, is_head=False, is_old=False)
        self._replies.append(reply)
        reply.respond(status, (), f"{status} {HTTPStatus(status).phrase}".encode())

    def release(self) -> None:
        """Pass on the output of the answers that are first in line."""
        replies = self._replies
        while replies:
            first = replies[0]
            self._output.extend(first.take())
            if not first.is_done:
                return
            if not first.keep_alive:
                self._closing = True
            replies.popleft()

    # --- httptools --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_mid_request = True
        self._url = b""
        self._headers = {}
        self._header_bytes = 0
        self._body = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url
        if len(self._url) > HEADER_BYTES_MAX:
            raise _TooLargeError

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX or len(self._headers) >= HEADERS_MAX:
            raise _TooLargeError
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Answer an expectation at once: curl waits for it with large bodies."""
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._replies:
            self._output.append(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.touch()
        if b"transfer-encoding" in self._headers:
            method, path, _ = self._target()
            if streams_body(method, path):
                self._is_mid_request = False  # it may take for ever
                self._feed = Feed()
                self._serve(b"", self._feed)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._feed is not None:
            if self._feed.on_piece is not None:
                self._feed.on_piece(body)
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._body_limit:
            raise _TooLargeError
        self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request."""
        self._is_mid_request = False
        feed, self._feed = self._feed, None
        if feed is None:
            self._serve(self._body[0] if len(self._body) == 1 else b"".join(self._body), None)
        elif feed.on_end is not None:
            feed.on_end()

    def _target(self) -> tuple[str, str, str]:
        """(method, path, query)."""
        raw_path, _, query = self._url.decode("latin-1").partition("?")
        if "%" in raw_path:
            raw_path = unquote(raw_path, errors="surrogateescape")
        return self._parser.get_method().decode("latin-1"), raw_path, query

    def _serve(self, body: bytes, feed: Feed | None) -> None:
        parser = self._parser
        method, path, query = self._target()
        request = HttpRequest(
            method, path, query, self._headers, body, self._connection.common_name, feed=feed
        )
        reply = _Reply(
            self,
            keep_alive=parser.should_keep_alive(),
            is_head=method == "HEAD",
            is_old=parser.get_http_version() == "1.0",
        )
        if len(self._replies) >= PIPELINE_MAX:
            raise _TooLargeError
        self._replies.append(reply)
        try:
            self._plane(request, reply)
        except Exception as error:  # noqa: BLE001 - our bug: this request fails, the member goes on
            _LOG.exception("%s %s failed", request.method, request.path)
            reply.respond(500, (), str(internal_error(error)).encode())


class _TooLargeError(Exception):
    """A request beyond a limit."""


class _Reply:
    """One answer, held back until those before it are out (``api.http.HttpReply``)."""

    __slots__ = (
        "_codec",
        "_is_chunked",
        "_is_head",
        "_is_old",
        "_on_close",
        "_pieces",
        "is_done",
        "is_streaming",
        "keep_alive",
    )

    def __init__(
        self, codec: Http1Codec, *, keep_alive: bool, is_head: bool, is_old: bool
    ) -> None:
        self._codec = codec
        self._is_head = is_head
        self._is_old = is_old
        self._is_chunked = False
        self._pieces: list[bytes] = []
        self._on_close: Callable[[], None] | None = None
        self.keep_alive = keep_alive
        self.is_done = False
        self.is_streaming = False

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""
        return not self.is_done

    def take(self) -> list[bytes]:
        """Output so far."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer completely."""
        if self.is_done:
            return
        pieces = [_STATUS_LINES[status]]
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        if status != 204:
            pieces.append(b"Content-Length: %d\r\n" % len(body))
        if not self.keep_alive:
            pieces.append(b"Connection: close\r\n")
        pieces.append(b"\r\n")
        if not self._is_head:
            pieces.append(body)
        self._pieces = pieces
        self._done()

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer in pieces: chunked, or until close for HTTP/1.0."""
        self.is_streaming = True
        pieces = [_STATUS_LINES[status]]
        for name, value in headers:
            pieces += (name, b": ", value, b"\r\n")
        if self._is_old:
            self.keep_alive = False
        else:
            self._is_chunked = True
            pieces.append(b"Transfer-Encoding: chunked\r\n")
        if not self.keep_alive:
            pieces.append(b"Connection: close\r\n")
        pieces.append(b"\r\n")
        self._pieces = pieces
        self._out()

    def send(self, piece: bytes) -> None:
        """Send a piece."""
        if self.is_done or self._is_head or not piece:
            return
        if self._is_chunked:
            self._pieces += (b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._pieces.append(piece)
        self._out()

    def finish(self) -> None:
        """End an answer in pieces."""
        if self.is_done:
            return
        if self._is_chunked:
            self._pieces.append(b"0\r\n\r\n")
        self._done()

    def abort(self) -> None:
        """Hang up before the end."""
        self.keep_alive = False
        self._done()

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the client."""
        return self._codec.pending_bytes() + sum(map(len, self._pieces))

    def on_close(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell."""
        self._on_close = callback

    def abandon(self) -> None:
        """The client went away."""
        self.is_done = True
        if self._on_close is not None:
            self._on_close()
            self._on_close = None

    def _done(self) -> None:
        self.is_done = True
        if self._on_close is not None and self.is_streaming:
            self._on_close()
        self._on_close = None
        self._out()

    def _out(self) -> None:
        self._codec.release()
        self._codec.touch()
