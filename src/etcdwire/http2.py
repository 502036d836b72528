"""The server's half of one HTTP/2 connection (RFC 9113), without any I/O.

``receive`` takes whatever bytes came in one read and calls the handler for every request that is
complete; answers gather in ``output`` until the host takes them once per loop turn. Nothing is
allocated per connection turn but the answers themselves: this is the decisive layer for speed
(a ready-made gRPC server costs twenty times as much per call).

What it does not know: what a path means, gRPC status codes, time.
"""

from __future__ import annotations

import enum
import re
from typing import Final, Protocol

from etcdwire import frames as f
from etcdwire.hpack import Decoder, HeaderBlock, HpackError

STREAM_WINDOW_BYTES: Final = 4 << 20
"""What a client may send per stream before we answer: above the largest request we accept."""
CONNECTION_WINDOW_BYTES: Final = 16 << 20
HEADER_BLOCK_BYTES_MAX: Final = 65536
CONCURRENT_STREAMS_MAX: Final = 8192
RESETS_MAX: Final = 20_000
"""Resets by the peer, or for its mistakes, beyond what it ever let finish: a rapid-reset attack
(CVE-2023-44487)."""
CONTROL_OUTPUT_BYTES_MAX: Final = 1 << 20
"""Unread answers to PING and SETTINGS beyond this: the peer floods and does not read."""


class Delivery(enum.IntEnum):
    """How a request's body reaches the handler."""

    WHOLE = 0
    """Once, complete."""
    STREAMED = 1
    """Piece by piece, as it arrives."""


class Head:
    """The meaning of one header block; made once for all requests that repeat it."""

    __slots__ = ("content_length", "delivery", "headers", "method", "path", "route")

    def __init__(self, method: bytes, path: bytes, headers: dict[bytes, bytes]) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.content_length = -1
        """How long the client says that its body is; -1 when it does not."""
        self.route: object = None
        self.delivery = Delivery.WHOLE


class Handler(Protocol):
    """What a host does with requests."""

    def classify(self, head: Head) -> None:
        """Fill ``route`` and ``delivery`` of a head seen for the first time."""

    def on_request(self, stream_id: int, head: Head, body: bytes) -> None:
        """A whole request (``Delivery.WHOLE``)."""

    def on_open(self, stream_id: int, head: Head) -> None:
        """A streamed request begins."""

    def on_data(self, stream_id: int, data: bytes) -> None:
        """A piece of a streamed request."""

    def on_end(self, stream_id: int) -> None:
        """The peer has sent all of a streamed request."""

    def on_reset(self, stream_id: int) -> None:
        """The peer gave up a request that was already delivered."""

    def body_limit(self, head: Head) -> int:
        """Bytes of body accepted for a whole request."""

    def on_too_large(self, stream_id: int, head: Head, size_bytes: int) -> None:
        """A whole request above its limit; it is not delivered."""


class Stream:
    """One request under way."""

    __slots__ = (
        "body",
        "delivered",
        "ended",
        "head",
        "pending",
        "pending_bytes",
        "received",
        "total",
        "window",
    )

    def __init__(self, head: Head, window: int) -> None:
        self.head = head
        self.window = window
        """How much we may still send."""
        self.body: list[bytes] = []
        self.received = 0
        """Of a whole request: all of its body. Of a streamed one: since the last WINDOW_UPDATE."""
        self.total = 0
        """Of a streamed request: all of its body so far."""
        self.delivered = False
        """The handler knows of it."""
        self.ended = False
        """The peer has sent all of it."""
        self.pending: list[bytes] | None = None
        """Answer held back by flow control: payload pieces, then the final frame's bytes."""
        self.pending_bytes = 0


class ServerSession:
    """One connection. Feed ``receive``; send ``take_output``."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._decoder = Decoder(HEADER_BLOCK_BYTES_MAX)
        self._buffer = b""
        self._preface_seen = False
        self._settings_seen = False
        self.streams: dict[int, Stream] = {}
        self._last_stream_id = 0
        self._send_window = f.DEFAULT_WINDOW_BYTES
        self._initial_window = f.DEFAULT_WINDOW_BYTES
        self._frame_bytes = f.DEFAULT_FRAME_BYTES
        self._unacknowledged = 0
        self._blocked: dict[int, Stream] = {}
        self._finals: dict[int, bytes] = {}
        self._resets = 0
        self._finished = 0
        self._partial: tuple[int, int, list[bytes], int] | None = None
        self._control_bytes = 0
        self.draining = False
        self.output: list[bytes] = [
            f.build_settings(
                {
                    f.SETTINGS_MAX_CONCURRENT_STREAMS: CONCURRENT_STREAMS_MAX,
                    f.SETTINGS_INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                    f.SETTINGS_MAX_HEADER_LIST_SIZE: HEADER_BLOCK_BYTES_MAX,
                },
            ),
            f.build(
                f.WINDOW_UPDATE,
                0,
                0,
                (CONNECTION_WINDOW_BYTES - f.DEFAULT_WINDOW_BYTES).to_bytes(4, "big"),
            ),
        ]

    @property
    def is_mid_request(self) -> bool:
        """Whether a frame, a header block or a whole request has begun and not ended."""
        return (
            bool(self._buffer)
            or self._partial is not None
            or any(not stream.delivered for stream in self.streams.values())
        )

    def close(self) -> None:
        """Let go of the handler, which has this session: nothing may be received any more."""
        del self._handler

    # --- bytes in -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take what one read returned.

        Raises:
            ConnectionProtocolError: send ``goaway`` and close.
        """
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if not self._preface_seen:
            if len(buffer) < len(f.PREFACE):
                self._buffer = buffer
                return
            if not buffer.startswith(f.PREFACE):
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "no HTTP/2 preface")
            self._preface_seen = True
            at = len(f.PREFACE)
        end = len(buffer)
        while end - at >= 9:
            length = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if length > f.DEFAULT_FRAME_BYTES:
                raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            stop = at + 9 + length
            if stop > end:
                break
            kind = buffer[at + 3]
            flags = buffer[at + 4]
            stream_id = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            payload = buffer[at + 9 : stop]
            at = stop
            if not self._settings_seen and kind != f.SETTINGS:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "the first frame: not SETTINGS")
            if self._partial is not None and kind != f.CONTINUATION:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "header block interrupted")
            if kind == f.DATA:
                self._on_data(flags, stream_id, payload)
            elif kind == f.HEADERS:
                self._on_headers(flags, stream_id, payload)
            else:
                self._on_control(kind, flags, stream_id, payload)
        self._buffer = buffer[at:] if at < end else b""
        if self._unacknowledged >= CONNECTION_WINDOW_BYTES // 2:
            self.output.append(
                f.build(f.WINDOW_UPDATE, 0, 0, self._unacknowledged.to_bytes(4, "big")),
            )
            self._unacknowledged = 0

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & (f.PADDED | f.PRIORITY_FLAG):
            payload = f.strip_padding(flags, payload)
            if flags & f.PRIORITY_FLAG:
                if len(payload) < 5:
                    raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "HEADERS priority")
                if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == stream_id:
                    raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "stream depends on itself")
                payload = payload[5:]
        if not flags & f.END_HEADERS:
            self._partial = (flags, stream_id, [payload], len(payload))
            return
        self._on_block(flags, stream_id, payload)

    def _on_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        try:
            block = self._decoder.decode(payload)
        except HpackError as error:
            raise f.ConnectionProtocolError(f.COMPRESSION_ERROR, str(error)) from None
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._on_trailers(flags, stream_id, stream, block)
            return
        if stream_id <= self._last_stream_id or not stream_id & 1:
            raise f.ConnectionProtocolError(
                f.STREAM_CLOSED if stream_id & 1 else f.PROTOCOL_ERROR,
                f"HEADERS on stream {stream_id}",
            )
        self._last_stream_id = stream_id
        if len(self.streams) >= CONCURRENT_STREAMS_MAX or self.draining:
            self._reset(stream_id, f.REFUSED_STREAM)
            return
        head = block.meaning
        if not isinstance(head, Head):
            made = _read_head(block)
            if made is None:
                self._reset(stream_id, f.PROTOCOL_ERROR)
                return
            head = made
            self._handler.classify(head)
            block.meaning = head
        stream = self.streams[stream_id] = Stream(head, self._initial_window)
        if head.delivery is Delivery.STREAMED:
            stream.delivered = True
            self._handler.on_open(stream_id, head)
        if flags & f.END_STREAM:
            self._end_of_request(stream_id, stream)

    def _on_trailers(self, flags: int, stream_id: int, stream: Stream, block: HeaderBlock) -> None:
        if stream.ended:
            self._reset(stream_id, f.STREAM_CLOSED)
        elif not flags & f.END_STREAM:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "second HEADERS")
        elif not all(_is_field(name, value) for name, value in block.headers):
            self._reset(stream_id, f.PROTOCOL_ERROR)
        else:
            self._end_of_request(stream_id, stream)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._unacknowledged += size
        stream = self.streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_stream_id or stream_id == 0:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, f"DATA on stream {stream_id}")
            return  # answered or reset already: the peer could not know
        if stream.ended:
            self._reset(stream_id, f.STREAM_CLOSED)
            return
        if flags & f.PADDED:
            payload = f.strip_padding(flags, payload)
        head = stream.head
        if head.delivery is Delivery.WHOLE:
            if flags & f.END_STREAM and not stream.body:
                stream.ended = True
                if len(payload) > self._handler.body_limit(head):
                    self._too_large(stream_id, stream, len(payload))
                    return
                if head.content_length >= 0 and head.content_length != len(payload):
                    self._reset(stream_id, f.PROTOCOL_ERROR)
                    return
                stream.delivered = True
                self._handler.on_request(stream_id, head, payload)
                return
            stream.received += len(payload)
            if stream.received > self._handler.body_limit(head):
                stream.ended = bool(flags & f.END_STREAM)
                self._too_large(stream_id, stream, stream.received)
                return
            stream.body.append(payload)
        else:
            stream.received += size
            stream.total += len(payload)
            if stream.received >= STREAM_WINDOW_BYTES // 2:
                self.output.append(
                    f.build(f.WINDOW_UPDATE, 0, stream_id, stream.received.to_bytes(4, "big")),
                )
                stream.received = 0
            self._handler.on_data(stream_id, payload)
        if flags & f.END_STREAM and stream_id in self.streams:
            self._end_of_request(stream_id, stream)

    def _too_large(self, stream_id: int, stream: Stream, size: int) -> None:
        stream.body.clear()
        if not stream.delivered:
            stream.delivered = True
            self._handler.on_too_large(stream_id, stream.head, size)

    def _end_of_request(self, stream_id: int, stream: Stream) -> None:
        stream.ended = True
        head = stream.head
        if head.content_length >= 0:
            is_whole = head.delivery is Delivery.WHOLE
            size = stream.received if is_whole else stream.total
            if size != head.content_length and not (is_whole and stream.delivered):
                self._reset(stream_id, f.PROTOCOL_ERROR)
                return
        if stream.head.delivery is Delivery.STREAMED:
            self._handler.on_end(stream_id)
        elif not stream.delivered:
            stream.delivered = True
            body = b"".join(stream.body)
            stream.body.clear()
            self._handler.on_request(stream_id, stream.head, body)

    def _on_control(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == f.WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == f.SETTINGS:
            self._on_settings(flags, stream_id, payload)
        elif kind == f.PING:
            if stream_id:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "PING on a stream")
            if len(payload) != 8:
                raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "PING")
            if not flags & f.ACK:
                self._control(f.build(f.PING, f.ACK, 0, payload))
        elif kind == f.RST_STREAM:
            self._on_rst(stream_id, payload)
        elif kind == f.CONTINUATION:
            self._on_continuation(flags, stream_id, payload)
        elif kind == f.PUSH_PROMISE:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        elif kind == f.GOAWAY:
            if stream_id:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "GOAWAY on a stream")
            if len(payload) < 8:
                raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "GOAWAY")
            self.draining = True
        elif kind == f.PRIORITY:
            self._on_priority(stream_id, payload)
        # unknown types are ignored (section 4.1)

    def _on_priority(self, stream_id: int, payload: bytes) -> None:
        """Deprecated, and checked all the same (section 6.3)."""
        if not stream_id:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "PRIORITY")

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._partial is None or self._partial[1] != stream_id:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "stray CONTINUATION")
        first_flags, _, pieces, size = self._partial
        size += len(payload)
        if size > HEADER_BLOCK_BYTES_MAX or len(pieces) > 64:
            raise f.ConnectionProtocolError(f.ENHANCE_YOUR_CALM, "header block too large")
        pieces.append(payload)
        self._partial = (first_flags, stream_id, pieces, size)
        if flags & f.END_HEADERS:
            self._partial = None
            self._on_block(first_flags, stream_id, b"".join(pieces))

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & f.ACK:
            if payload:
                raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "SETTINGS ACK with payload")
            return
        for key, value in f.parse_settings(payload):
            if key == f.SETTINGS_INITIAL_WINDOW_SIZE:
                if value > f.WINDOW_BYTES_MAX:
                    raise f.ConnectionProtocolError(f.FLOW_CONTROL_ERROR, "initial window")
                difference = value - self._initial_window
                self._initial_window = value
                for stream in self.streams.values():
                    stream.window += difference
                    if stream.window > f.WINDOW_BYTES_MAX:
                        raise f.ConnectionProtocolError(f.FLOW_CONTROL_ERROR, "stream window")
            elif key == f.SETTINGS_MAX_FRAME_SIZE:
                if not f.DEFAULT_FRAME_BYTES <= value < 1 << 24:
                    raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "maximum frame size")
                self._frame_bytes = min(value, 1 << 20)
            elif key == f.SETTINGS_ENABLE_PUSH and value > 1:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "ENABLE_PUSH")
        self._settings_seen = True
        self._control(f.build(f.SETTINGS, f.ACK, 0))
        self._unblock()

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "WINDOW_UPDATE")
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if stream_id == 0:
            if increment == 0:
                raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._send_window += increment
            if self._send_window > f.WINDOW_BYTES_MAX:
                raise f.ConnectionProtocolError(f.FLOW_CONTROL_ERROR, "connection window")
        else:
            stream = self.streams.get(stream_id)
            if stream is None:
                if stream_id > self._last_stream_id:
                    raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "WINDOW_UPDATE when idle")
                return
            stream.window += increment
            if increment == 0 or stream.window > f.WINDOW_BYTES_MAX:
                self._reset(stream_id, f.FLOW_CONTROL_ERROR if increment else f.PROTOCOL_ERROR)
                return
        if self._blocked:
            self._unblock()

    def _on_rst(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, "RST_STREAM")
        if stream_id == 0 or stream_id > self._last_stream_id:
            raise f.ConnectionProtocolError(f.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        self._count_reset()
        self._forget(stream_id)

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets > RESETS_MAX + self._finished:
            raise f.ConnectionProtocolError(f.ENHANCE_YOUR_CALM, "too many resets")

    def _forget(self, stream_id: int) -> None:
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._blocked.pop(stream_id, None)
            self._finals.pop(stream_id, None)
            if stream.delivered:
                self._handler.on_reset(stream_id)

    def _reset(self, stream_id: int, error_code: int) -> None:
        # What the peer makes us reset counts as its own resets do (CVE-2025-8671).
        self._count_reset()
        self._forget(stream_id)
        self._control(f.build(f.RST_STREAM, 0, stream_id, error_code.to_bytes(4, "big")))

    def _control(self, frame: bytes) -> None:
        self._control_bytes += len(frame)
        if self._control_bytes > CONTROL_OUTPUT_BYTES_MAX:
            raise f.ConnectionProtocolError(f.ENHANCE_YOUR_CALM, "control frame flood")
        self.output.append(frame)

    # --- answers out ----------------------------------------------------------------------

    def take_output(self) -> list[bytes]:
        """Everything to be written now."""
        output = self.output
        self.output = []
        self._control_bytes = 0
        return output

    def send_whole(self, stream_id: int, before: bytes, payload: bytes, final: bytes) -> None:
        """Answer completely: a ready HEADERS block, one body, a final HEADERS block or nothing.

        ``before`` and ``final`` are header blocks (``hpack.encode_headers``); an empty ``final``
        ends the stream with the last DATA frame.
        """
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        size = len(payload)
        raw_id = stream_id.to_bytes(4, "big")
        if (
            size <= self._send_window
            and size <= stream.window
            and size <= f.DEFAULT_FRAME_BYTES
            and final
        ):
            del self.streams[stream_id]
            self._finished += 1
            self._send_window -= size
            self.output.extend(
                (
                    (len(before) << 8 | f.HEADERS).to_bytes(4, "big"),
                    b"\x04",
                    raw_id,
                    before,
                    (size << 8).to_bytes(4, "big"),
                    b"\x00",
                    raw_id,
                    payload,
                    (len(final) << 8 | f.HEADERS).to_bytes(4, "big"),
                    b"\x05",
                    raw_id,
                    final,
                ),
            )
            return
        self.send_head(stream_id, before)
        self.send_data(stream_id, payload)
        self.end(stream_id, final)

    def send_head(self, stream_id: int, block: bytes) -> None:
        """Send the response's header block."""
        self.output.append(f.build(f.HEADERS, f.END_HEADERS, stream_id, block))

    def send_data(self, stream_id: int, payload: bytes) -> None:
        """Send or queue a piece of the response's body."""
        stream = self.streams.get(stream_id)
        if stream is None or not payload:
            return
        if stream.pending is None:
            size = len(payload)
            if size <= self._send_window and size <= stream.window and size <= self._frame_bytes:
                self._send_window -= size
                stream.window -= size
                self.output.extend(
                    (
                        (size << 8).to_bytes(4, "big"),
                        b"\x00",
                        stream_id.to_bytes(4, "big"),
                        payload,
                    ),
                )
                return
            stream.pending = []
            self._blocked[stream_id] = stream
        stream.pending.append(payload)
        stream.pending_bytes += len(payload)
        self._send_pending(stream_id, stream)

    def end(self, stream_id: int, final: bytes = b"") -> None:
        """End the response after all queued data; ``final`` is the trailers' block."""
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        frame = (
            f.build(f.HEADERS, f.END_HEADERS | f.END_STREAM, stream_id, final)
            if final
            else f.build(f.DATA, f.END_STREAM, stream_id)
        )
        if stream.pending is None:
            self._finish(stream_id, frame)
        else:
            self._finals[stream_id] = frame

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give up a stream."""
        if self.streams.pop(stream_id, None) is not None:
            self._blocked.pop(stream_id, None)
            self._finals.pop(stream_id, None)
            self.output.append(
                f.build(f.RST_STREAM, 0, stream_id, error_code.to_bytes(4, "big")),
            )

    def pending_bytes(self, stream_id: int) -> int:
        """Bytes of this stream held back by flow control."""
        stream = self.streams.get(stream_id)
        return stream.pending_bytes if stream is not None else 0

    def goaway(self, error_code: int, reason: str = "") -> None:
        """Announce the end: streams up to the last seen are still answered."""
        self.draining = True
        self.output.append(
            f.build(
                f.GOAWAY,
                0,
                0,
                self._last_stream_id.to_bytes(4, "big")
                + error_code.to_bytes(4, "big")
                + reason.encode()[:128],
            ),
        )

    def _finish(self, stream_id: int, frame: bytes) -> None:
        self.output.append(frame)
        self.streams.pop(stream_id, None)
        self._finished += 1

    def _unblock(self) -> None:
        for stream_id, stream in list(self._blocked.items()):
            if self._send_window <= 0:
                return
            self._send_pending(stream_id, stream)

    def _send_pending(self, stream_id: int, stream: Stream) -> None:
        pending = stream.pending
        if pending is None:
            return
        done = 0
        while done < len(pending):
            piece = pending[done]
            room = min(self._send_window, stream.window, self._frame_bytes)
            if room <= 0:
                break
            if len(piece) > room:
                pending[done] = piece[room:]
                piece = piece[:room]
            else:
                done += 1
            size = len(piece)
            self._send_window -= size
            stream.window -= size
            stream.pending_bytes -= size
            self.output.append(f.build(f.DATA, 0, stream_id, piece))
        if done:
            del pending[:done]
        if not pending:
            stream.pending = None
            self._blocked.pop(stream_id, None)
            final = self._finals.pop(stream_id, None)
            if final is not None:
                self._finish(stream_id, final)


def _read_head(block: HeaderBlock) -> Head | None:
    """The request's head, or None when it is malformed (section 8.1.1)."""
    method = path = scheme = authority = b""
    headers: dict[bytes, bytes] = {}
    regular = False
    for name, value in block.headers:
        if name[:1] == b":":
            if regular or _FORBIDDEN_IN_VALUES.search(value):
                return None
            if name == b":method" and not method:
                method = value
            elif name == b":path" and not path:
                path = value
            elif name == b":scheme" and not scheme:
                scheme = value
            elif name == b":authority" and not authority:
                authority = headers[b"host"] = value
            else:
                return None
        else:
            regular = True
            if not _is_field(name, value):
                return None
            if name == b"host" and authority:
                if value != authority:
                    return None
                continue
            headers[name] = headers[name] + b", " + value if name in headers else value
    if not method or not path or not scheme:
        return None
    head = Head(method, path, headers)
    length = headers.get(b"content-length")
    if length is not None:
        if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX:
            return None
        head.content_length = int(length)
    return head


def _is_field(name: bytes, value: bytes) -> bool:
    """Whether this may be a field: never a pseudo-header, nothing of a connection's (8.2)."""
    return (
        _FIELD_NAME.fullmatch(name) is not None
        and _FORBIDDEN_IN_VALUES.search(value) is None
        and name not in _CONNECTION_HEADERS
        and (name != b"te" or value == b"trailers")
    )


_FIELD_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_FORBIDDEN_IN_VALUES: Final = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]$")
_LENGTH_DIGITS_MAX: Final = 18
_CONNECTION_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"},
)
