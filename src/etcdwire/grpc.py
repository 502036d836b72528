"""gRPC over HTTP/2: message framing and trailers.

Source: the "gRPC over HTTP2" protocol description of the gRPC project.
"""

from __future__ import annotations

from typing import Final

from etcdwire.errors import Code
from etcdwire.hpack import encode_headers

RESPONSE_HEADERS: Final = encode_headers(
    ((b":status", b"200"), (b"content-type", b"application/grpc")),
)
TRAILERS_OK: Final = encode_headers(((b"grpc-status", b"0"), (b"grpc-message", b"")))


class FramingError(ValueError):
    """The length-prefixed message is malformed or compressed."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(message: bytes) -> bytes:
    """Prefix a message: one byte of compression flag, four bytes of length."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def unframe_one(body: bytes) -> bytes:
    """The one message of a unary request's body.

    Raises:
        FramingError: not exactly one uncompressed message.
    """
    if len(body) < 5:
        raise FramingError(Code.INTERNAL, "request body shorter than a message prefix")
    if body[0]:
        raise FramingError(Code.UNIMPLEMENTED, "compressed messages are not supported")
    if int.from_bytes(body[1:5], "big") != len(body) - 5:
        raise FramingError(Code.INTERNAL, "request body is not exactly one message")
    return body[5:]


class MessageReader:
    """Cuts a stream's data into messages."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit_bytes: int) -> None:
        self._buffer = bytearray()
        self._limit = limit_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are now complete.

        Raises:
            FramingError: compressed, or longer than the limit.
        """
        buffer = self._buffer
        buffer += data
        out: list[bytes] = []
        at = 0
        while len(buffer) - at >= 5:
            if buffer[at]:
                raise FramingError(Code.UNIMPLEMENTED, "compressed messages are not supported")
            length = int.from_bytes(buffer[at + 1 : at + 5], "big")
            if length > self._limit:
                raise FramingError(
                    Code.RESOURCE_EXHAUSTED,
                    f"grpc: received message larger than max ({length} vs. {self._limit})",
                )
            if len(buffer) - at - 5 < length:
                break
            out.append(bytes(buffer[at + 5 : at + 5 + length]))
            at += 5 + length
        if at:
            del buffer[:at]
        return out


_TIMEOUT_UNITS_S: Final = {
    b"n": 1e-9, b"u": 1e-6, b"m": 1e-3, b"S": 1.0, b"M": 60.0, b"H": 3600.0,
}  # fmt: skip


def parse_timeout(raw: bytes) -> float | None:
    """Seconds of a ``grpc-timeout`` header: up to eight digits and a unit; None when malformed."""
    unit = _TIMEOUT_UNITS_S.get(raw[-1:])
    digits = raw[:-1]
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * unit


def encode_message_text(text: str) -> bytes:
    """Percent-encode a status text for the ``grpc-message`` trailer."""
    out = bytearray()
    for byte in text.encode():
        if 0x20 <= byte <= 0x7E and byte != 0x25:
            out.append(byte)
        else:
            out += b"%%%02X" % byte
    return bytes(out)


def decode_message_text(raw: bytes) -> str:
    """Undo ``encode_message_text``; malformed escapes stay as they are."""
    out = bytearray()
    at = 0
    while at < len(raw):
        if raw[at] == 0x25 and at + 2 < len(raw):
            try:
                out.append(int(raw[at + 1 : at + 3], 16))
                at += 3
                continue
            except ValueError:
                pass
        out.append(raw[at])
        at += 1
    return out.decode("utf-8", "replace")


def trailers(code: Code, message: str) -> bytes:
    """The trailers' header block of an answer that sent its headers already."""
    if code is Code.OK:
        return TRAILERS_OK
    return encode_headers(
        (
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", encode_message_text(message)),
        ),
    )


def trailers_only(code: Code, message: str) -> bytes:
    """The single header block of an answer that is only a status."""
    return encode_headers(
        (
            (b":status", b"200"),
            (b"content-type", b"application/grpc"),
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", encode_message_text(message)),
        ),
    )
