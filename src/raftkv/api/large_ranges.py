"""Answers to large ranges: measured and sent in steps of a few milliseconds.

A plain Range is one message, whose length comes first: the rows are measured in a first pass and
sent in a second, never more than the client takes. RangeStream (etcd 3.7) needs the second only;
its messages, merged, are the answer of a Range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from etcdwire.errors import TIMEOUT, ApiError, Code, RequestError
from etcdwire.hot import encode_field
from etcdwire.messages import RangeRequest
from etcdwire.protobuf import DecodeError, decode
from raftkv.api.access import Caller, identify
from raftkv.api.calls import Call, ReadToken
from raftkv.api.host import Host
from raftkv.api.v3_maintenance import OutStream
from raftkv.auth import policy
from raftkv.store.range_walk import walk
from raftkv.store.ranges import is_filtered
from raftkv.store.txn import check_range

KEYS_PER_STEP: Final = 1000
KEYS_PER_PIECE: Final = 250
"""Few enough to be written as JSON in some milliseconds."""
BYTES_PER_STEP: Final = 512 << 10
PENDING_BYTES: Final = 2 << 20
RETRY_S: Final = 0.01
STALLED_S: Final = 60.0
"""A client that takes nothing for so long loses its answer: it keeps others' history from going."""
LARGE_KEYS: Final = 2000
LARGE_BYTES: Final = 2 << 20


def is_large(host: Host, request: RangeRequest) -> bool:
    """Whether there are too many keys to answer at once; for their bytes see ``answer_range``."""
    keys = host.machine.kv.keys_at_most(request.key, request.range_end)
    return keys > LARGE_KEYS


class _Steps:
    """What both forms do: walk, with the loop free in between."""

    def __init__(
        self, host: Host, request: RangeRequest, fail: Callable[[ApiError], None]
    ) -> None:
        self._host = host
        self._fail = fail
        self._store = host.machine.kv
        self.walk = walk(self._store, request)
        self.term = host.term

    def measure(self, then: Callable[[], None]) -> None:
        """Measure everything, then go on."""
        if self.is_lost:
            self.close()
            self._fail(TIMEOUT)
        elif self.walk.measure(KEYS_PER_STEP, BYTES_PER_STEP):
            then()
        else:
            self._host.call_later(0, lambda: self.measure(then))

    def send(
        self,
        sink: Sink,
        send: Callable[[bytes], None],
        finish: Callable[[], None],
        abort: Callable[[], None],
    ) -> None:
        """Send the rows as they are taken, then finish."""
        pieces = self.walk.pieces(KEYS_PER_PIECE, BYTES_PER_STEP)
        _Sending(self._host, self, sink, send, finish, abort, pieces).step()

    @property
    def is_lost(self) -> bool:
        """Whether a snapshot took the place of all rows."""
        return self._host.machine.kv is not self._store

    def close(self) -> None:
        """Let the store forget again, and forget what was gathered."""
        self.walk.close()
        self._forget()

    def _forget(self) -> None:
        if not self.walk.forget(KEYS_PER_STEP):
            self._host.call_later(0, self._forget)


@dataclass(slots=True)
class _Sending:
    """The second pass: rows on their way to a client.

    Nothing in it refers to itself, so that the walk ends with the last step: it may be too old for
    the collector (``server.garbage``).
    """

    host: Host
    steps: _Steps
    sink: Sink
    send: Callable[[bytes], None]
    finish: Callable[[], None]
    abort: Callable[[], None]
    pieces: Iterator[bytes]
    waited_s: float = 0.0

    def step(self) -> None:
        """Send one piece if the client takes it; the loop is free until the next."""
        sink = self.sink
        if self.steps.is_lost or self.waited_s > STALLED_S or not sink.is_open:
            self.steps.close()
            if sink.is_open:
                self.abort()
            return
        if sink.pending_bytes() > PENDING_BYTES:
            self.waited_s += RETRY_S
            self.host.call_later(RETRY_S, self.step)
            return
        self.waited_s = 0.0
        piece = next(self.pieces, None)
        if piece is None:
            self.steps.close()
            self.finish()
            return
        self.send(piece)
        self.host.call_later(0, self.step)


class Sink(Protocol):
    """Where an answer goes."""

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""

    def pending_bytes(self) -> int:
        """Bytes not yet taken."""


def answer(host: Host, call: Call, request: RangeRequest) -> None:
    """Answer a plain Range as one message."""
    steps = _Steps(host, request, call.fail)
    head = host.headers.encode(host.machine.kv.revision, steps.term)

    def measured() -> None:
        walk = steps.walk
        writer = call.begin(len(head) + walk.size_bytes + len(walk.tail))
        if writer is None:  # rights changed meanwhile: the call begins anew
            steps.close()
            return
        writer.send(head)

        def finish() -> None:
            writer.send(walk.tail)
            writer.finish()

        steps.send(writer, writer.send, finish, writer.abort)

    steps.measure(measured)


class RangeStream:
    """One RangeStream call."""

    def __init__(self, host: Host, stream: OutStream, caller: Caller) -> None:
        self._host = host
        self._stream = stream
        self._caller = caller
        self.identity = None

    def receive(self, data: bytes) -> None:
        """The one RangeRequest."""
        try:
            request = decode(RangeRequest, data)
            check_range(request)
            if is_filtered(request):
                text = "etcdserver: RangeStream supports neither sorting nor revision filters"
                raise RequestError(Code.UNIMPLEMENTED, text)
            if self._host.machine.auth.enabled:
                policy.check_range(identify(self._host, self._caller).rights, request)
        except DecodeError as error:
            self._stream.finish(RequestError(Code.INTERNAL, f"grpc: {error}"))
            return
        except ApiError as error:
            self._stream.finish(error)
            return
        if request.serializable:
            self._begin(request)
        else:
            self._host.read(ReadToken(self, lambda _: self._begin(request)))

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """Not needed: the stream says whether it is open."""

    def ok(self, body: bytes) -> None:
        """Send the one message of an answer."""
        self._stream.send(body)

    def begin(self, length: int) -> None:
        """Never called: the answer is many messages."""

    def fail(self, error: ApiError) -> None:
        """End with an error."""
        self._stream.finish(error)

    def _begin(self, request: RangeRequest) -> None:
        host, stream = self._host, self._stream
        try:
            steps = _Steps(host, request, stream.finish)
        except ApiError as error:
            stream.finish(error)
            return
        head = host.headers.encode(host.machine.kv.revision, steps.term)

        def finish() -> None:
            stream.send(encode_field(b"\x0a", head + steps.walk.tail))
            stream.finish()

        steps.measure(
            lambda: steps.send(
                stream,
                lambda piece: stream.send(encode_field(b"\x0a", piece)),
                finish,
                lambda: stream.finish(TIMEOUT),
            )
        )
