"""Whose web pages may use this member, and under which names it is called.

A browser sends requests wherever a page tells it to, with the user's network and certificates.
Two headers give it away: ``Origin`` names the page, ``Host`` the name it believed to talk to (a
name that was made to point here is DNS rebinding, CVE-2018-5702). Requests of gRPC cannot be made
by pages and do not come this way.

etcd allows every origin unless told otherwise. Here a page of another origin may not change
anything unless ``--cors`` names it, or ``*``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from raftkv.api.http import TEXT, Headers, HttpReply, HttpRequest

ANY: Final = "*"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
Plane = Callable[[HttpRequest, HttpReply], None]


class Origins:
    """The rules of one member."""

    def __init__(self, cors: frozenset[str], hosts: frozenset[str]) -> None:
        """Take the values of ``--cors`` and ``--host-whitelist``; empty origins allow none."""
        self._cors = cors
        self._hosts = hosts

    def protect(self, plane: Plane, *, is_tls: bool) -> Plane:
        """Return a plane that asks these rules first.

        Over TLS any host name goes: a rebound name would not match the certificate.
        """
        checks_host = not is_tls and ANY not in self._hosts
        has_cors = bool(self._cors)

        def handle(request: HttpRequest, reply: HttpReply) -> None:
            headers = request.headers
            if checks_host and not self._is_own_host(headers.get(b"host", b"")):
                _refuse_host(headers.get(b"host", b""), reply)
                return
            if has_cors or b"origin" in headers:
                checked = self._check(request, reply)
                if checked is None:
                    return
                reply = checked
            plane(request, reply)

        return handle

    def _is_own_host(self, host: bytes) -> bool:
        name = urlsplit(f"//{host.decode('latin-1')}").hostname
        return name is not None and name in self._hosts

    def _check(self, request: HttpRequest, reply: HttpReply) -> HttpReply | None:
        origin = request.headers.get(b"origin", b"").decode("latin-1")
        allowed = ANY if ANY in self._cors else origin if origin in self._cors else ""
        if allowed:
            reply = _WithCors(reply, allowed)
            if request.method == "OPTIONS":
                reply.respond(200, (), b"")
                return None
        elif origin and request.method not in _READS and not _is_same(origin, request):
            text = f"pages of {origin} may not change anything here: start with --cors {origin}\n"
            reply.respond(403, (TEXT,), text.encode())
            return None
        return reply


def _is_same(origin: str, request: HttpRequest) -> bool:
    """Whether a page comes from this member itself."""
    return urlsplit(origin).netloc.encode("latin-1") == request.headers.get(b"host")


def _refuse_host(host: bytes, reply: HttpReply) -> None:
    name = urlsplit(f"//{host.decode('latin-1')}").hostname or ""
    text = (
        f"this member does not answer to the name {name!r}: use https, or start it with "
        f"--host-whitelist {name} (this keeps web pages out, CVE-2018-5702)\n"
    )
    reply.respond(421, (TEXT,), text.encode("utf-8", "replace"))


class _WithCors:
    """A reply whose headers also say which origin may read it (``api.http.HttpReply``)."""

    __slots__ = ("_headers", "_reply", "on_close", "pending_bytes", "send")

    def __init__(self, reply: HttpReply, origin: str) -> None:
        self._reply = reply
        self._headers: Headers = (
            (b"Access-Control-Allow-Headers", b"accept, content-type, authorization"),
            (b"Access-Control-Allow-Methods", b"POST, GET, OPTIONS, PUT, DELETE"),
            (b"Access-Control-Allow-Origin", origin.encode("latin-1")),
        )
        self.send = reply.send
        self.on_close = reply.on_close
        self.pending_bytes = reply.pending_bytes

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""
        return self._reply.is_open

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer completely."""
        self._reply.respond(status, self._headers + headers, body)

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer in pieces."""
        self._reply.start(status, self._headers + headers)

    def finish(self) -> None:
        """End an answer in pieces."""
        self._reply.finish()

    def abort(self) -> None:
        """Give up an answer in pieces."""
        self._reply.abort()
