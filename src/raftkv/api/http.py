"""Plain HTTP requests and answers, as the API sees them, over HTTP/1.1 and HTTP/2 alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from raftkv.api.calls import Identity

JSON: Final = (b"Content-Type", b"application/json")
TEXT: Final = (b"Content-Type", b"text/plain; charset=utf-8")
NO_SNIFF: Final = (b"X-Content-Type-Options", b"nosniff")

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(slots=True)
class Feed:
    """The body of a request that is answered while it still comes."""

    on_piece: Callable[[bytes], None] | None = None
    on_end: Callable[[], None] | None = None


@dataclass(slots=True)
class HttpRequest:
    """One request with its whole body, or with a feed of it."""

    method: str
    path: str
    """Percent-decoded."""
    query: str
    headers: dict[bytes, bytes]
    """Lower-case names."""
    body: bytes
    common_name: str = ""
    """Of the client certificate; empty unless the listener demands certificates."""
    identity: Identity | None = None
    """Who asks, once that is checked; None while auth is off."""
    v2_roles: tuple[str, ...] = ()
    """Roles of v2's own users that the sender has."""
    v2_revision: int | None = None
    """Of v2's users when that was checked; None while v2 asks for none."""
    feed: Feed | None = None
    """Only where ``streams_body`` says so."""


STREAMED_PATHS: Final = frozenset({"/v3/watch", "/v3beta/watch", "/v3alpha/watch"})


def streams_body(method: str, path: str) -> bool:
    """Whether a request's body is passed on piece by piece: watches are asked for one by one."""
    return method == "POST" and path in STREAMED_PATHS


class HttpReply(Protocol):
    """How to answer one request: whole, or in pieces."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer completely."""

    def start(self, status: int, headers: Headers) -> None:
        """Begin an answer in pieces."""

    def send(self, piece: bytes) -> None:
        """Send a piece."""

    def finish(self) -> None:
        """End an answer in pieces."""

    def abort(self) -> None:
        """Give up an answer in pieces, so that the client sees that it is not whole."""

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the network."""

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call this (no arguments) when the client goes away before the end."""

    @property
    def is_open(self) -> bool:
        """Whether the client is still there."""


def not_found(reply: HttpReply) -> None:
    """Go's standard answer for an unknown path."""
    reply.respond(404, (TEXT, NO_SNIFF), b"404 page not found\n")


def method_not_allowed(reply: HttpReply, allowed: str) -> None:
    """Go's standard answer for a method that a path does not know."""
    reply.respond(405, ((b"Allow", allowed.encode()), TEXT, NO_SNIFF), b"Method Not Allowed\n")
