"""HTTP/1.1 towards the members: kept connections, answers passed on as they come."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

import httptools

IDLE_PER_ENDPOINT: Final = 32
"""Connections kept for the next request; more are closed."""
Header = tuple[bytes, bytes]


class Sink(Protocol):
    """Who receives an answer."""

    def begin(self, status: int, headers: list[Header], *, has_length: bool) -> None:
        """Status and headers."""

    def body(self, piece: bytes) -> None:
        """A piece of the body."""

    def end(self) -> None:
        """The answer is complete."""

    def fail(self, *, was_sent: bool, has_begun: bool) -> None:
        """There will be no (more) answer. ``was_sent``: the member may have acted on it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 means none."""

    dial_s: float
    write_s: float
    read_s: float


class Upstream:
    """Connections to all members."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext | None,
        timeouts: Timeouts,
    ) -> None:
        self.loop = loop
        self.timeouts = timeouts
        self._context = context
        self._idle: dict[str, list[_Connection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def request(
        self, endpoint: str, method: bytes, head: bytes, body: bytes, sink: Sink
    ) -> Callable[[], None]:
        """Send one request (``head`` ends with an empty line); what is returned gives it up."""
        idle = self._idle.get(endpoint, [])
        while idle:
            connection = idle.pop()
            if connection.is_usable:
                connection.send(method, head, body, sink)
                return connection.abort
        connection = _Connection(self, endpoint)
        task = self.loop.create_task(self._dial(connection, method, head, body, sink))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return connection.abort

    async def _dial(
        self, connection: _Connection, method: bytes, head: bytes, body: bytes, sink: Sink
    ) -> None:
        url = urlsplit(connection.endpoint)
        is_tls = url.scheme == "https"
        try:
            await asyncio.wait_for(
                self.loop.create_connection(
                    lambda: connection,
                    url.hostname or "",
                    url.port or (443 if is_tls else 80),
                    ssl=self._context if is_tls else None,
                ),
                self.timeouts.dial_s or None,
            )
        except (OSError, ssl.SSLError, asyncio.TimeoutError):
            sink.fail(was_sent=False, has_begun=False)
            return
        if connection.is_aborted:
            connection.abort()
            sink.fail(was_sent=False, has_begun=False)
            return
        connection.send(method, head, body, sink)

    def keep(self, connection: _Connection) -> None:
        """Keep a connection whose answer is complete."""
        idle = self._idle.setdefault(connection.endpoint, [])
        if len(idle) < IDLE_PER_ENDPOINT:
            idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """Let all idle connections go."""
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()


class _Connection(asyncio.Protocol):
    """One connection to one member, one request at a time; the lower half are httptools' calls."""

    def __init__(self, upstream: Upstream, endpoint: str) -> None:
        self.endpoint = endpoint
        self.is_aborted = False
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[Header] = []
        self._is_head = False
        self._has_begun = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, method: bytes, head: bytes, body: bytes, sink: Sink) -> None:
        """Send one request."""
        assert self._transport is not None
        self._sink = sink
        self._parser = httptools.HttpResponseParser(self)
        self._is_head = method == b"HEAD"
        self._has_begun = False
        self._transport.write(head + body)
        write_s = self._upstream.timeouts.write_s
        if write_s and self._transport.get_write_buffer_size():
            self._upstream.loop.call_later(write_s, self._break_if_unsent)
        self._watch()

    def abort(self) -> None:
        """Give up; nobody waits for the answer."""
        self.is_aborted = True
        self._sink = None
        if self._transport is not None:
            self._transport.abort()

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        timeout_s = self._upstream.timeouts.read_s
        if timeout_s and self._sink is not None:
            self._timer = self._upstream.loop.call_later(timeout_s, self._break)

    def _break_if_unsent(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size():
            self._transport.abort()

    def _break(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, *, keep: bool) -> None:
        sink, self._sink = self._sink, None
        self._watch()
        if keep and self.is_usable:
            self._upstream.keep(self)
        elif self._transport is not None:
            self._transport.close()
        if sink is not None:
            sink.end()

    # --- asyncio ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop has its own classes

    def data_received(self, data: bytes) -> None:
        """A piece of the answer; bytes that nobody asked for end the connection."""
        if self._sink is None:
            self._break()
            return
        self._watch()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """An answer under way is lost, unless its end is the end of the connection."""
        self._transport = None
        sink, self._sink = self._sink, None
        self._watch()
        if sink is None:
            return
        if self._has_begun and self._ends_with_connection():
            sink.end()
        else:
            sink.fail(was_sent=True, has_begun=self._has_begun)

    def _ends_with_connection(self) -> bool:
        names = {name.lower() for name, _ in self._headers}
        return not names & {b"content-length", b"transfer-encoding"}

    # --- httptools --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass on what is known so far."""
        status = self._parser.get_status_code()
        if self._sink is None or status < 200:
            return
        self._has_begun = True
        has_length = any(name.lower() == b"content-length" for name, _ in self._headers)
        self._sink.begin(status, self._headers, has_length=has_length or self._is_head)
        if self._is_head:
            self._finish(keep=False)  # the parser would wait for a body that never comes

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._sink is not None:
            self._sink.body(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._has_begun and self._sink is not None:
            self._finish(keep=self._parser.should_keep_alive())
