"""The client's half of one HTTP/2 connection, without any I/O: what ``kvclient`` talks through.

Simpler than the server's half: few streams, no hot path, but the same strictness about flow control.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from etcdwire import frames as f
from etcdwire.hpack import Decoder, Headers, HpackError, encode_headers

WINDOW_BYTES: Final = 16 << 20


@dataclass(slots=True)
class ClientStream:
    """One request and what came back so far."""

    window: int
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """Response headers and trailers, merged."""
    data: bytearray = field(default_factory=bytearray)
    is_ended: bool = False
    reset_code: int | None = None
    pending: bytearray = field(default_factory=bytearray)
    """Request bytes held back by flow control."""
    end_when_sent: bool = False
    has_sent_end: bool = False
    unacknowledged: int = 0


class ClientSession:
    """One connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(1 << 20)
        self._buffer = b""
        self._next_id = 1
        self._send_window = f.DEFAULT_WINDOW_BYTES
        self._initial_window = f.DEFAULT_WINDOW_BYTES
        self._unacknowledged = 0
        self._block: tuple[int, int, bytes] | None = None
        self.streams: dict[int, ClientStream] = {}
        self.changed: set[int] = set()
        """Streams of which something came with the last ``receive``."""
        self.is_going_away = False
        self.output: list[bytes] = [
            f.PREFACE,
            f.build_settings(
                {f.SETTINGS_ENABLE_PUSH: 0, f.SETTINGS_INITIAL_WINDOW_SIZE: WINDOW_BYTES},
            ),
            f.build(
                f.WINDOW_UPDATE, 0, 0, (WINDOW_BYTES - f.DEFAULT_WINDOW_BYTES).to_bytes(4, "big")
            ),
        ]

    def take_output(self) -> bytes:
        """Bytes to be written now."""
        output = b"".join(self.output)
        self.output.clear()
        return output

    def request(self, headers: Headers, body: bytes, *, end: bool) -> int:
        """Begin a request; returns its stream id."""
        stream_id = self._next_id
        self._next_id += 2
        stream = self.streams[stream_id] = ClientStream(self._initial_window)
        stream.has_sent_end = end and not body
        flags = f.END_HEADERS | (f.END_STREAM if stream.has_sent_end else 0)
        self.output.append(f.build(f.HEADERS, flags, stream_id, encode_headers(headers)))
        if body:
            self.send(stream_id, body, end=end)
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send more of a request's body."""
        stream = self.streams[stream_id]
        stream.pending += data
        stream.end_when_sent = stream.end_when_sent or end
        self._send_pending(stream_id, stream)

    def ping(self) -> None:
        """Ask for a sign of life; whatever is received next is one."""
        self.output.append(f.build(f.PING, 0, 0, bytes(8)))

    def cancel(self, stream_id: int) -> None:
        """Give up a request."""
        if self.streams.pop(stream_id, None) is not None:
            self.output.append(f.build(f.RST_STREAM, 0, stream_id, f.CANCEL.to_bytes(4, "big")))

    def receive(self, data: bytes) -> None:
        """Take what one read returned.

        Raises:
            ConnectionProtocolError: the server broke the protocol.
        """
        self.changed.clear()
        buffer = self._buffer + data
        at = 0
        while len(buffer) - at >= 9:
            length = int.from_bytes(buffer[at : at + 3], "big")
            if length > f.DEFAULT_FRAME_BYTES:
                raise f.ConnectionProtocolError(f.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            stop = at + 9 + length
            if stop > len(buffer):
                break
            stream_id = int.from_bytes(buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            self._on_frame(buffer[at + 3], buffer[at + 4], stream_id, buffer[at + 9 : stop])
            at = stop
        self._buffer = buffer[at:]

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == f.DATA:
            self._on_data(flags, stream_id, payload)
        elif kind == f.HEADERS:
            payload = f.strip_padding(flags, payload)
            if flags & f.PRIORITY_FLAG:
                payload = payload[5:]
            self._on_block(flags, stream_id, payload)
        elif kind == f.CONTINUATION and self._block is not None:
            first_flags, first_id, start = self._block
            self._on_block(first_flags | (flags & f.END_HEADERS), first_id, start + payload)
        elif kind == f.SETTINGS:
            if not flags & f.ACK:
                self._on_settings(payload)
        elif kind == f.PING:
            if not flags & f.ACK:
                self.output.append(f.build(f.PING, f.ACK, 0, payload))
        elif kind == f.WINDOW_UPDATE:
            self._on_window_update(stream_id, payload)
        elif kind == f.RST_STREAM:
            stream = self.streams.get(stream_id)
            if stream is not None:
                self.changed.add(stream_id)
                stream.reset_code = int.from_bytes(payload, "big")
                stream.is_ended = True
        elif kind == f.GOAWAY:
            self.is_going_away = True

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        if not flags & f.END_HEADERS:
            self._block = (flags, stream_id, block)
            return
        self._block = None
        try:
            headers = self._decoder.decode(block).headers
        except HpackError as error:
            raise f.ConnectionProtocolError(f.COMPRESSION_ERROR, str(error)) from None
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.changed.add(stream_id)
            stream.headers.update(headers)
            stream.is_ended = stream.is_ended or bool(flags & f.END_STREAM)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._unacknowledged += len(payload)
        if self._unacknowledged >= WINDOW_BYTES // 2:
            self._acknowledge(0, self._unacknowledged)
            self._unacknowledged = 0
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        stream.unacknowledged += len(payload)
        if stream.unacknowledged >= WINDOW_BYTES // 2:
            self._acknowledge(stream_id, stream.unacknowledged)
            stream.unacknowledged = 0
        self.changed.add(stream_id)
        stream.data += f.strip_padding(flags, payload)
        stream.is_ended = stream.is_ended or bool(flags & f.END_STREAM)

    def _acknowledge(self, stream_id: int, size: int) -> None:
        self.output.append(f.build(f.WINDOW_UPDATE, 0, stream_id, size.to_bytes(4, "big")))

    def _on_settings(self, payload: bytes) -> None:
        for key, value in f.parse_settings(payload):
            if key == f.SETTINGS_INITIAL_WINDOW_SIZE:
                difference = value - self._initial_window
                self._initial_window = value
                for stream in self.streams.values():
                    stream.window += difference
        self.output.append(f.build(f.SETTINGS, f.ACK, 0))
        self._send_all_pending()

    def _on_window_update(self, stream_id: int, payload: bytes) -> None:
        increment = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if stream_id == 0:
            self._send_window += increment
        elif stream_id in self.streams:
            self.streams[stream_id].window += increment
        self._send_all_pending()

    def _send_all_pending(self) -> None:
        for stream_id, stream in self.streams.items():
            self._send_pending(stream_id, stream)

    def _send_pending(self, stream_id: int, stream: ClientStream) -> None:
        pending = stream.pending
        while pending:
            size = min(len(pending), self._send_window, stream.window, f.DEFAULT_FRAME_BYTES)
            if size <= 0:
                return
            piece = bytes(pending[:size])
            del pending[:size]
            self._send_window -= size
            stream.window -= size
            last = stream.end_when_sent and not pending
            stream.has_sent_end = last
            self.output.append(f.build(f.DATA, f.END_STREAM if last else 0, stream_id, piece))
        if stream.end_when_sent and not stream.has_sent_end:
            stream.has_sent_end = True
            self.output.append(f.build(f.DATA, f.END_STREAM, stream_id, b""))
