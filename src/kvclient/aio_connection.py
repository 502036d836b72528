"""One gRPC connection of the asyncio client: many calls at a time over one HTTP/2 connection."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from etcdwire import grpc
from etcdwire.frames import ConnectionProtocolError
from etcdwire.http2_client import ClientSession, ClientStream
from kvclient.connection import (
    PING_AFTER_S,
    PING_TIMEOUT_S,
    READ_BYTES,
    Metadata,
    check_is_grpc,
    check_status,
    describe_refusal,
    describe_tls_problem,
    is_lasting_tls_problem,
    request_headers,
)
from kvclient.errors import Unavailable

MESSAGE_BYTES_MAX = 1 << 31


class Stream:
    """One call under way."""

    def __init__(self, stream_id: int, state: ClientStream) -> None:
        self.stream_id = stream_id
        self.state = state
        self.reader = grpc.MessageReader(MESSAGE_BYTES_MAX)
        self.changed = asyncio.Event()


class AsyncConnection:
    """Calls to one endpoint; ``dial`` makes it."""

    def __init__(
        self, endpoint: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.endpoint = endpoint
        parts = urlsplit(endpoint)
        self._scheme = parts.scheme.encode()
        self._authority = parts.netloc.encode()
        self._reader = reader
        self._writer = writer
        self._session = ClientSession()
        self._streams: dict[int, Stream] = {}
        self._problem: Unavailable | None = None
        self._was_answered = False
        self._loop = asyncio.get_running_loop()
        self._heard_at_s = self._loop.time()
        self._task = self._loop.create_task(self._read())
        self._keeper = self._loop.create_task(self._ask_when_silent())

    @classmethod
    async def dial(
        cls, endpoint: str, context: ssl.SSLContext | None, timeout_s: float, server_name: str = ""
    ) -> AsyncConnection:
        """Connect.

        Raises:
            Unavailable: nobody there, or TLS does not work out.
        """
        url = endpoint if "://" in endpoint else f"http://{endpoint}"
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 2379
        is_tls = parts.scheme == "https"
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(
                    host,
                    port,
                    ssl=context if is_tls else None,
                    server_hostname=(server_name or host) if is_tls else None,
                ),
                timeout_s,
            )
        except ssl.SSLError as error:
            raise Unavailable(
                describe_tls_problem(error), endpoint, is_lasting=is_lasting_tls_problem(error)
            ) from None
        except asyncio.TimeoutError:
            text = f"cannot connect: {describe_refusal(TimeoutError())}"
            raise Unavailable(text, endpoint) from None
        except OSError as error:
            raise Unavailable(f"cannot connect: {describe_refusal(error)}", endpoint) from None
        return cls(url, reader, writer)

    @property
    def is_usable(self) -> bool:
        """Whether new calls may be made."""
        return self._problem is None and not self._session.is_going_away

    @property
    def has_streams(self) -> bool:
        """Whether calls are under way."""
        return bool(self._streams)

    async def close(self) -> None:
        """Close; calls under way end in ``Unavailable``."""
        self._break(Unavailable("closed", self.endpoint, is_ambiguous=True))
        for task in (self._task, self._keeper):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 1.0)

    # --- calls ------------------------------------------------------------------------------

    async def unary(
        self, path: bytes, body: bytes, timeout_s: float, metadata: Metadata = ()
    ) -> bytes:
        """One call: the answer's message.

        Raises:
            RequestError: the server answered with an error.
            Unavailable: no answer in time, or the connection broke.
        """
        stream = self.open(path, body, metadata, end=True)
        try:
            return await asyncio.wait_for(self._first_message(stream), timeout_s)
        except asyncio.TimeoutError:
            # Perhaps nobody is there any more: later calls dial anew, this one may be done.
            self._break(Unavailable("connection lost", self.endpoint, is_ambiguous=True))
            raise Unavailable(
                f"no answer within {timeout_s:.1f} s", self.endpoint, is_ambiguous=True
            ) from None
        finally:
            self.forget(stream)

    async def _first_message(self, stream: Stream) -> bytes:
        found = b""
        has_found = False
        async for body in self.messages(stream):
            if not has_found:
                found, has_found = body, True
        if not has_found:
            raise Unavailable("empty answer", self.endpoint, is_ambiguous=True)
        return found

    def open(self, path: bytes, body: bytes, metadata: Metadata, *, end: bool) -> Stream:
        """Begin a call.

        Raises:
            Unavailable: the connection broke; nothing was sent.
        """
        if self._problem is not None:
            raise Unavailable(self._problem.message, self.endpoint)
        headers = request_headers(self._scheme, self._authority, path, metadata)
        stream_id = self._session.request(headers, grpc.frame(body), end=end)
        stream = Stream(stream_id, self._session.streams[stream_id])
        self._streams[stream_id] = stream
        self._flush()
        return stream

    async def messages(
        self, stream: Stream, *, first_timeout_s: float | None = None
    ) -> AsyncIterator[bytes]:
        """Messages as they come, until the call ends; the first one may have a time limit.

        Raises:
            RequestError, Unavailable: see ``unary``.
        """
        state = stream.state
        while True:
            if state.data:
                check_is_grpc(state, self.endpoint)
                data = bytes(state.data)
                state.data.clear()
                for message in stream.reader.feed(data):
                    first_timeout_s = None
                    yield message
                continue
            if state.is_ended:
                check_status(state, self.endpoint)
                return
            if self._problem is not None:
                raise self._problem
            stream.changed.clear()
            try:
                await asyncio.wait_for(stream.changed.wait(), first_timeout_s)
            except asyncio.TimeoutError:  # other calls on this connection may be well
                text = f"no answer within {first_timeout_s:.1f} s"
                raise Unavailable(text, self.endpoint, is_ambiguous=True) from None

    def forget(self, stream: Stream) -> None:
        """Nobody waits for this call any more."""
        self._streams.pop(stream.stream_id, None)
        if stream.state.is_ended:
            self._session.streams.pop(stream.stream_id, None)
        elif self._problem is None:
            self._session.cancel(stream.stream_id)
            self._flush()

    # --- the wire ---------------------------------------------------------------------------

    def _flush(self) -> None:
        output = self._session.take_output()
        if output and not self._writer.is_closing():
            self._writer.write(output)

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(READ_BYTES):
                self._was_answered = True
                self._heard_at_s = self._loop.time()
                self._session.receive(data)
                self._flush()
                for stream in self._streams.values():
                    if stream.state.data or stream.state.is_ended:
                        stream.changed.set()
        except ConnectionProtocolError as error:
            text = f"not a gRPC server: {error.reason}"
            self._break(Unavailable(text, self.endpoint, is_ambiguous=True))
        except ssl.SSLError as error:
            self._break(
                Unavailable(
                    describe_tls_problem(error), self.endpoint, is_ambiguous=True,
                    is_lasting=is_lasting_tls_problem(error),
                )
            )  # fmt: skip
        except OSError as error:
            text = f"connection lost: {error}"
            self._break(Unavailable(text, self.endpoint, is_ambiguous=True))
        else:
            text = (
                "connection closed by server"
                if self._was_answered
                else "the server hung up without an answer: TLS or not, certificate, port?"
            )
            self._break(Unavailable(text, self.endpoint, is_ambiguous=True))

    async def _ask_when_silent(self) -> None:
        """Calls that wait for ever wait for a server that lives: a silent one is asked."""
        while True:
            heard_at_s = self._heard_at_s
            left_s = heard_at_s + PING_AFTER_S - self._loop.time()
            await asyncio.sleep(left_s if left_s > 0 else PING_AFTER_S)
            if self._heard_at_s > heard_at_s or not self._streams:
                continue
            self._session.ping()
            self._flush()
            await asyncio.sleep(PING_TIMEOUT_S)
            if self._heard_at_s == heard_at_s:
                text = (
                    f"no answer within {PING_AFTER_S + PING_TIMEOUT_S:.0f} s, not to a ping either"
                )
                self._break(Unavailable(text, self.endpoint, is_ambiguous=True))

    def _break(self, problem: Unavailable) -> None:
        if self._problem is None:
            self._problem = problem
            self._writer.close()
            self._keeper.cancel()
        for stream in self._streams.values():
            stream.changed.set()
