"""gRPC towards a member: one HTTP/2 connection, the calls of one client over it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from etcdwire.frames import ConnectionProtocolError
from etcdwire.http2_client import ClientSession, ClientStream

DIAL_S: Final = 2.0
UNSENT_BYTES_MAX: Final = 16 << 20
"""A call that sends more than the member takes is given up beyond this."""
Headers = tuple[tuple[bytes, bytes], ...]


class Passage(Protocol):
    """A call on its way through the proxy."""

    @property
    def headers(self) -> Headers:
        """Of the request, but for the pseudo headers that name the connection."""

    @property
    def unsent(self) -> bytes:
        """What the client has sent so far."""

    @property
    def is_whole(self) -> bool:
        """Whether the client has sent all."""

    def answered(self, stream: ClientStream) -> None:
        """Something came."""

    def lost(self, *, was_sent: bool) -> None:
        """There will be no (more) answer."""


class Link:
    """A connection to one member, made when the first call needs it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: str,
        context: ssl.SSLContext | None,
        on_lost: Callable[[Link, bool], None],
    ) -> None:
        """``on_lost`` gets the link, and whether it ever was connected."""
        self.endpoint = endpoint
        self.is_lost = False
        self._loop = loop
        self._session = ClientSession()
        self._passages: dict[int, Passage] = {}
        self._waiting: list[Passage] = []
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        parts = urlsplit(endpoint)
        self._authority = parts.netloc.encode()
        self._scheme = parts.scheme.encode()
        self._task = loop.create_task(
            self._dial(parts.hostname or "", parts.port or 2379, context)
        )

    @property
    def is_usable(self) -> bool:
        """Whether further calls may be sent over it."""
        return not self.is_lost and not self._session.is_going_away

    @property
    def is_connected(self) -> bool:
        """Whether what is given to it is sent at once."""
        return self._transport is not None and not self.is_lost

    async def _dial(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        is_tls = self._scheme == b"https"
        try:
            await asyncio.wait_for(
                self._loop.create_connection(
                    lambda: _LinkProtocol(self), host, port, ssl=context if is_tls else None
                ),
                DIAL_S,
            )
        except (OSError, asyncio.TimeoutError):
            self.lose(was_connected=False)

    def connected(self, transport: asyncio.Transport) -> None:
        """The member took the connection."""
        if self.is_lost:
            transport.abort()
            return
        self._transport = transport
        waiting, self._waiting = self._waiting, []
        for passage in waiting:
            self._begin(passage)
        self._flush()

    # --- calls ------------------------------------------------------------------------------

    def start(self, passage: Passage) -> None:
        """Send a call, at once or when there is a connection."""
        if self._transport is None:
            self._waiting.append(passage)
        else:
            self._begin(passage)
            self._flush()

    def _begin(self, passage: Passage) -> None:
        headers = (
            (b":method", b"POST"),
            (b":scheme", self._scheme),
            *passage.headers[:1],  # the path
            (b":authority", self._authority),
            *passage.headers[1:],
        )
        unsent = passage.unsent
        stream_id = self._session.request(headers, unsent, end=passage.is_whole)
        self._passages[stream_id] = passage

    def send(self, passage: Passage, data: bytes, *, end: bool) -> bool:
        """More of a call's request; False when the member does not take it."""
        if passage in self._waiting:
            return True  # it is sent with what came before
        stream_id = self._id_of(passage)
        if stream_id is None:
            return True
        self._session.send(stream_id, data, end=end)
        self._flush()
        return len(self._session.streams[stream_id].pending) <= UNSENT_BYTES_MAX

    def cancel(self, passage: Passage) -> None:
        """The client gave a call up, or it is over."""
        if passage in self._waiting:
            self._waiting.remove(passage)
            return
        stream_id = self._id_of(passage)
        if stream_id is None:
            return
        del self._passages[stream_id]
        if self._session.streams[stream_id].is_ended:
            del self._session.streams[stream_id]
        else:
            self._session.cancel(stream_id)
            self._flush()

    def _id_of(self, passage: Passage) -> int | None:
        return next((i for i, one in self._passages.items() if one is passage), None)

    def pause(self) -> None:
        """The client does not take what there is for it."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """It does again."""
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    # --- the wire ---------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of the member."""
        session = self._session
        try:
            session.receive(data)
        except ConnectionProtocolError:
            self.lose(was_connected=True)
            return
        self._flush()
        for stream_id in list(session.changed):
            passage = self._passages.get(stream_id)
            stream = session.streams.get(stream_id)
            if passage is not None and stream is not None:
                passage.answered(stream)

    def _flush(self) -> None:
        if self._transport is not None:
            output = self._session.take_output()
            if output:
                self._transport.write(output)

    def lose(self, *, was_connected: bool) -> None:
        """The connection broke, or never came."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()
        self._on_lost(self, was_connected)
        waiting, self._waiting = self._waiting, []
        passages, self._passages = self._passages, {}
        for passage in passages.values():
            passage.lost(was_sent=True)
        for passage in waiting:
            passage.lost(was_sent=False)

    def close(self) -> None:
        """Nobody needs it any more."""
        self.is_lost = True
        self._waiting.clear()
        self._passages.clear()
        if self._transport is not None:
            self._transport.close()
        self._task.cancel()


class _LinkProtocol(asyncio.Protocol):
    def __init__(self, link: Link) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link.connected(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self._link.received(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        self._link.lose(was_connected=True)
