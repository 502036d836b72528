"""The v2 proxy: each request goes to one member, and its answer back.

A request that a member may have acted on is not sent to another one, unless it only reads: etcd's
proxy would repeat a write whose answer was lost, and apply it twice.
"""

from __future__ import annotations

import json
import logging
from typing import Final
from urllib.parse import quote, urlsplit

from raftkv.api.http import JSON, Headers, HttpReply, HttpRequest
from raftkv.proxy.directory import Directory
from raftkv.proxy.upstream import Header, Upstream

PENDING_BYTES_MAX: Final = 4 << 20
"""A client that does not read its stream is cut off beyond this; it watches again."""
LOCAL_CONFIG: Final = "/v2/config/local/proxy"
_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailers",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
        b"expect",
        b"host",
    }
)
"""Headers that belong to one connection, and those that are made anew for the next one."""
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_PATH_CHARACTERS: Final = "/:@!$&'()*+,;=~-._"
_LOG: Final = logging.getLogger("raftkv.proxy")


class ReverseProxy:
    """Passes requests on."""

    def __init__(self, directory: Directory, upstream: Upstream, *, is_readonly: bool) -> None:
        self._directory = directory
        self._upstream = upstream
        self._is_readonly = is_readonly

    def handle(self, request: HttpRequest, reply: HttpReply) -> None:
        """Serve one request (``server.connection.Plane``)."""
        if self._is_readonly and request.method != "GET":
            reply.respond(501, (), b"")
            return
        if request.path == LOCAL_CONFIG:
            body = _dump({"endpoints": list(self._directory.endpoints)})
            reply.respond(200, (JSON,), body)
            return
        candidates = self._directory.candidates(self._upstream.loop.time())
        if not candidates:
            _refuse(reply, 503, "httpproxy: zero endpoints currently available")
            return
        _Passage(self._directory, self._upstream, request, reply, candidates).try_next()


def _dump(data: dict[str, object]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _refuse(reply: HttpReply, status: int, message: str) -> None:
    reply.respond(status, (JSON,), _dump({"message": message}))


class _Passage:
    """One request on its way (``upstream.Sink``)."""

    def __init__(
        self,
        directory: Directory,
        upstream: Upstream,
        request: HttpRequest,
        reply: HttpReply,
        candidates: tuple[str, ...],
    ) -> None:
        self._directory = directory
        self._upstream = upstream
        self._request = request
        self._reply = reply
        self._candidates = candidates
        self._tried = 0
        self._status = 0
        self._headers: Headers = ()
        self._pieces: list[bytes] | None = None
        """The body so far when its length was announced; None while it is streamed."""
        self._is_over = False
        """Nothing is expected from a member any more."""
        self._is_gone = False

    def try_next(self) -> None:
        """Ask the next candidate."""
        endpoint = self._candidates[self._tried]
        self._tried += 1
        request = self._request
        give_up = self._upstream.request(
            endpoint,
            request.method.encode("latin-1"),
            self._head(endpoint),
            request.body,
            self,
        )

        def on_close() -> None:
            if not self._is_over:
                self._is_gone = True
                give_up()

        self._reply.on_close(on_close)

    def _head(self, endpoint: str) -> bytes:
        request = self._request
        path = quote(request.path, safe=_PATH_CHARACTERS, errors="surrogateescape")
        target = f"{path}?{request.query}" if request.query else path
        lines = [
            f"{request.method} {target} HTTP/1.1".encode("latin-1"),
            b"Host: " + urlsplit(endpoint).netloc.encode(),
        ]
        lines += [
            name + b": " + value
            for name, value in request.headers.items()
            if name not in _HOP_BY_HOP
        ]
        if request.body or request.method not in _SAFE_METHODS:
            lines.append(b"Content-Length: %d" % len(request.body))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # --- Sink -------------------------------------------------------------------------------

    def begin(self, status: int, headers: list[Header], *, has_length: bool) -> None:
        """Status and headers."""
        self._status = status
        self._headers = tuple((n, v) for n, v in headers if n.lower() not in _HOP_BY_HOP)
        if has_length or status == 204:
            self._pieces = []
        else:
            self._reply.start(status, self._headers)

    def body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self._pieces is not None:
            self._pieces.append(piece)
            return
        self._reply.send(piece)
        if self._reply.pending_bytes() > PENDING_BYTES_MAX:
            self._reply.finish()

    def end(self) -> None:
        """The answer is complete."""
        self._is_over = True
        if self._pieces is not None:
            self._reply.respond(self._status, self._headers, b"".join(self._pieces))
        else:
            self._reply.finish()

    def fail(self, *, was_sent: bool, has_begun: bool) -> None:
        """Ask another member, or say that there is no answer."""
        if self._is_gone:
            return
        if has_begun and self._pieces is None:
            self._is_over = True
            self._reply.finish()  # a client that follows a stream sees it end, and asks again
            return
        endpoint = self._candidates[self._tried - 1]
        _LOG.warning("no answer from %s to %s", endpoint, self._request.method)
        self._directory.note_failure(endpoint, self._upstream.loop.time())
        may_repeat = not was_sent or self._request.method in _SAFE_METHODS
        if may_repeat and self._tried < len(self._candidates):
            self.try_next()
            return
        self._is_over = True
        message = f"httpproxy: unable to get response from {self._tried} endpoint(s)"
        _refuse(self._reply, 502, message)
