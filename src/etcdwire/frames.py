"""HTTP/2 frame constants and builders (RFC 9113), shared by the server's and the client's half."""

from __future__ import annotations

from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 1
ACK: Final = 1
END_HEADERS: Final = 4
PADDED: Final = 8
PRIORITY_FLAG: Final = 0x20

SETTINGS_HEADER_TABLE_SIZE: Final = 1
SETTINGS_ENABLE_PUSH: Final = 2
SETTINGS_MAX_CONCURRENT_STREAMS: Final = 3
SETTINGS_INITIAL_WINDOW_SIZE: Final = 4
SETTINGS_MAX_FRAME_SIZE: Final = 5
SETTINGS_MAX_HEADER_LIST_SIZE: Final = 6

NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

DEFAULT_WINDOW_BYTES: Final = 65535
WINDOW_BYTES_MAX: Final = (1 << 31) - 1
DEFAULT_FRAME_BYTES: Final = 16384


class ConnectionProtocolError(Exception):
    """The peer broke HTTP/2 so badly that the connection ends with GOAWAY."""

    def __init__(self, error_code: int, reason: str) -> None:
        super().__init__(reason)
        self.error_code = error_code
        self.reason = reason


def build(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One frame: 24-bit length, type, flags, 31-bit stream id, payload (section 4.1)."""
    return b"".join(
        (
            (len(payload) << 8 | kind).to_bytes(4, "big"),
            (flags << 32 | stream_id).to_bytes(5, "big"),
            payload,
        ),
    )


def build_settings(settings: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return build(
        SETTINGS,
        0,
        0,
        b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in settings.items()),
    )


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """The pairs of a SETTINGS frame.

    Raises:
        ConnectionProtocolError: its length is no multiple of six.
    """
    if len(payload) % 6:
        raise ConnectionProtocolError(FRAME_SIZE_ERROR, "SETTINGS length")
    return [
        (int.from_bytes(payload[i : i + 2], "big"), int.from_bytes(payload[i + 2 : i + 6], "big"))
        for i in range(0, len(payload), 6)
    ]


def strip_padding(flags: int, payload: bytes) -> bytes:
    """Remove padding (section 6.1) from a DATA or HEADERS payload."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ConnectionProtocolError(PROTOCOL_ERROR, "padding longer than the frame")
    return payload[1 : len(payload) - payload[0]]
