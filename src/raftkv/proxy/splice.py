"""The TCP gateway: each connection goes to one endpoint, bytes pass both ways unread.

TLS passes through: the client and the member see each other's certificates.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, cast

from raftkv.proxy.directory import Directory

DIAL_TIMEOUT_S: Final = 5.0
BUFFER_BYTES: Final = 256 << 10
_LOG: Final = logging.getLogger("raftkv.gateway")


class Splice(asyncio.Protocol):
    """One half of a passage."""

    def __init__(self) -> None:
        self.other: Splice | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop has its own classes
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """One side is done; the other may still answer. Before there is one, it is over."""
        other = self.other.transport if self.other is not None else None
        if other is None or not other.can_write_eof() or other.is_closing():
            return False
        other.write_eof()
        return True

    def pause_writing(self) -> None:
        """This side is slow: read no more from the other one."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See ``pause_writing``."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Both sides end together."""
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Incoming(Splice):
    """A client's connection: what it says before an endpoint is reached is kept."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self._gateway = gateway
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look for an endpoint."""
        super().connection_made(transport)
        self._gateway.open.add(self)
        self._gateway.connect(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, or keep them until there is somebody to pass them to."""
        if self.other is not None:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > BUFFER_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def join(self, outgoing: Splice) -> None:
        """An endpoint is reached."""
        assert self.transport is not None
        self.other, outgoing.other = outgoing, self
        early, self._early = self._early, b""
        if early and outgoing.transport is not None:
            outgoing.transport.write(early)
        if len(early) > BUFFER_BYTES:
            self.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._gateway.open.discard(self)
        super().connection_lost(exc)


class Gateway:
    """Connects clients to endpoints, one after the other in turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Directory) -> None:
        self.open: set[Incoming] = set()
        self._loop = loop
        self._directory = directory
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, incoming: Incoming) -> None:
        """Find an endpoint for a client."""
        task = self._loop.create_task(self._connect(incoming))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, incoming: Incoming) -> None:
        endpoints = self._directory.candidates(self._loop.time()) or self._directory.endpoints
        self._turn += 1
        for position in range(len(endpoints)):
            endpoint = endpoints[(self._turn + position) % len(endpoints)]
            host, _, port = endpoint.rpartition(":")
            outgoing = Splice()
            try:
                await asyncio.wait_for(
                    self._loop.create_connection(lambda: outgoing, host.strip("[]"), int(port)),  # noqa: B023 - awaited at once
                    DIAL_TIMEOUT_S,
                )
            except (OSError, asyncio.TimeoutError) as error:
                _LOG.warning("cannot reach %s: %s", endpoint, str(error) or "no answer")
                self._directory.note_failure(endpoint, self._loop.time())
                continue
            self._join(incoming, outgoing)
            return
        if incoming.transport is not None:
            incoming.transport.abort()

    @staticmethod
    def _join(incoming: Incoming, outgoing: Splice) -> None:
        if incoming.transport is None:
            if outgoing.transport is not None:
                outgoing.transport.abort()
            return
        incoming.join(outgoing)

    def close(self) -> None:
        """End all connections."""
        for incoming in list(self.open):
            if incoming.transport is not None:
                incoming.transport.close()
