"""One client connection: bytes in, requests out, answers joined into one write per loop turn.

The first bytes tell HTTP/2 from HTTP/1.1, so that one port serves gRPC, the JSON gateway and the
v2 API, over TLS or not. Nothing here allocates a task or a future.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from etcdwire import frames
from etcdwire.errors import ApiError, Code
from raftkv.api.figures import Figures
from raftkv.api.http import HttpReply, HttpRequest
from raftkv.server.guard import Guard

WRITE_HIGH_BYTES: Final = 4 << 20
"""Unsent bytes at which we stop reading from this client: it must take its answers first."""
WRITE_ABORT_BYTES: Final = 256 << 20
DESCRIPTORS_MAX: Final = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 1 << 20)
CONNECTIONS_MAX: Final = max(DESCRIPTORS_MAX - 256, 64)
"""Clients' connections; the rest of the descriptors is for peers, files and what comes first."""
SWEEP_EVERY_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 30.0
SLOW_BYTES_PER_S: Final = 100
"""A request that comes more slowly than this is given up after ``REQUEST_TIMEOUT_S``."""
IDLE_START_S: Final = 10.0
"""A connection that sends nothing at all for this long is closed (half-open floods)."""

Plane = Callable[[HttpRequest, HttpReply], None]
_LOG: Final = logging.getLogger("raftkv.connections")


class Codec(Protocol):
    """One protocol on a connection."""

    def receive(self, data: bytes) -> None:
        """Take bytes."""

    def take_output(self) -> list[bytes]:
        """Bytes to be written now."""

    def close(self) -> None:
        """The connection is gone."""

    def drain(self) -> None:
        """Finish what is under way, take nothing new."""

    @property
    def should_close(self) -> bool:
        """Whether to close once everything is written."""

    @property
    def is_mid_request(self) -> bool:
        """Whether a request has begun and its end has not come."""


class Connections:
    """All connections of one listener group; knows which have something to write."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        make_codec: Callable[[Connection, bool], Codec],
        guard: Guard,
    ) -> None:
        self.loop = loop
        self.make_codec = make_codec
        """(connection, whether it speaks HTTP/2) to its codec."""
        self.guard = guard
        self.takes_common_names = False
        """Whether the listener demands client certificates, so that their CN is a user's name."""
        self.open: set[Connection] = set()
        self.traffic = Figures()
        """Where bytes are counted; a member puts its own here."""
        self.on_empty: Callable[[], None] = lambda: None
        """Called when the last connection is gone."""
        self._touched: list[Connection] = []
        self._is_scheduled = False
        self._sweeper: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> bool:
        """Take a new connection; False when there are too many already."""
        if len(self.open) >= CONNECTIONS_MAX:
            return False
        self.open.add(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_EVERY_S, self._sweep)
        return True

    def _sweep(self) -> None:
        """Look for requests that hardly come forward: each keeps memory and a descriptor."""
        self._sweeper = None
        for connection in list(self.open):
            connection.close_if_dawdling()
        if self.open:
            self._sweeper = self.loop.call_later(SWEEP_EVERY_S, self._sweep)

    def touch(self, connection: Connection) -> None:
        """Remember that this connection has output; it is flushed once, at the end of the turn."""
        self._touched.append(connection)
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self.flush)

    def hold(self) -> None:
        """Whoever calls this calls ``flush`` before the loop goes on."""
        self._is_scheduled = True

    def flush(self) -> None:
        """Write everything that gathered."""
        self._is_scheduled = False
        touched, self._touched = self._touched, []
        for connection in touched:
            connection.flush()

    def drain(self) -> None:
        """Ask every connection to finish."""
        for connection in list(self.open):
            connection.drain()

    def use_guard(self, guard: Guard) -> None:
        """Ask more of callers from now on, and of those who are connected already."""
        self.guard = guard
        for connection in list(self.open):
            connection.close_if_refused()


class Connection(asyncio.Protocol):
    """A client's TCP or TLS connection."""

    def __init__(self, group: Connections) -> None:
        self._group = group
        self._transport: asyncio.Transport | None = None
        self._codec: Codec | None = None
        self._first = b""
        self._is_touched = False
        self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._common_name: str | None = None
        self._received_bytes = 0
        self._swept_bytes = 0
        self._dawdles = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        transport = cast(asyncio.Transport, transport)  # uvloop has its own classes
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if not self._group.add(self):
            _LOG.warning(
                "refused %s: %d connections are open", address_of(transport), CONNECTIONS_MAX
            )
            transport.abort()
            return
        self.close_if_refused()
        self._timer = self._group.loop.call_later(IDLE_START_S, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Tell the requests under way."""
        self._group.open.discard(self)
        self._transport = None
        if not self._group.open:
            self._group.on_empty()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._codec is not None:
            self._codec.close()
            self._codec = None

    def close_if_refused(self) -> None:
        """Drop a caller whose certificate is not (or no longer) good enough."""
        transport = self._transport
        if transport is None:
            return
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        reason = self._group.guard.refusal(tls)
        if reason:
            _LOG.warning("rejected connection from %s: %s", address_of(transport), reason)
            transport.abort()

    def close_if_dawdling(self) -> None:
        """Close when a request has been on its way for too long without coming forward."""
        received = self._received_bytes - self._swept_bytes
        self._swept_bytes = self._received_bytes
        codec = self._codec
        if (
            codec is None
            or not codec.is_mid_request
            or received >= SWEEP_EVERY_S * SLOW_BYTES_PER_S
        ):
            self._dawdles = 0
            return
        self._dawdles += 1
        if self._dawdles * SWEEP_EVERY_S > REQUEST_TIMEOUT_S and self._transport is not None:
            _LOG.info("closing %s: its request does not come", address_of(self._transport))
            self._transport.abort()

    def _close_if_silent(self) -> None:
        if self._codec is None and self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Pass bytes to the protocol that the first of them chose."""
        codec = self._codec
        if codec is None:
            codec = self._choose(data)
            if codec is None:
                return
            data = self._first
            self._first = b""
        self._received_bytes += len(data)
        self._group.traffic.received_bytes += len(data)
        codec.receive(data)
        self.touch()

    def _choose(self, data: bytes) -> Codec | None:
        self._first += data
        size = min(len(self._first), len(frames.PREFACE))
        if self._first[:size] == frames.PREFACE[:size]:
            if size < 3:
                return None
            self._codec = self._group.make_codec(self, True)
        else:
            self._codec = self._group.make_codec(self, False)
        return self._codec

    def touch(self) -> None:
        """There may be output."""
        if not self._is_touched:
            self._is_touched = True
            self._group.touch(self)

    def flush(self) -> None:
        """Write what gathered, in one call."""
        self._is_touched = False
        codec, transport = self._codec, self._transport
        if codec is None or transport is None:
            return
        output = codec.take_output()
        if output:
            data = b"".join(output)
            self._group.traffic.sent_bytes += len(data)
            transport.write(data)
            if transport.get_write_buffer_size() > WRITE_ABORT_BYTES:
                transport.abort()
                return
        if codec.should_close:
            transport.close()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """On which it runs."""
        return self._group.loop

    @property
    def common_name(self) -> str:
        """The CN of the client's certificate; empty unless the listener demands one."""
        if self._common_name is None:
            self._common_name = ""
            if self._group.takes_common_names and self._transport is not None:
                self._common_name = _common_name(self._transport.get_extra_info("peercert"))
        return self._common_name

    def pending_bytes(self) -> int:
        """Bytes written but not taken by the kernel."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def pause_writing(self) -> None:
        """The client does not read: take no more requests from it."""
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def drain(self) -> None:
        """Finish what is under way."""
        if self._codec is not None:
            self._codec.drain()
            self.touch()
        elif self._transport is not None:
            self._transport.close()


def use_all_descriptors() -> None:
    """Raise the limit of descriptors as far as this process may: a shell's 1024 are few clients."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, hard))


def address_of(transport: asyncio.BaseTransport) -> str:
    """Where a caller comes from, for the log."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "a local socket"


def _common_name(certificate: Mapping[str, Any] | None) -> str:
    """The subject's common name, in the form that ``ssl`` gives certificates in."""
    for part in (certificate or {}).get("subject", ()):
        for name, value in part:
            if name == "commonName":
                return str(value)
    return ""


def internal_error(error: Exception) -> ApiError:
    """What a client sees of our own bug; the log has the rest."""
    return ApiError(Code.INTERNAL, f"raftkv: {type(error).__name__}")
