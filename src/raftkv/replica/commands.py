"""State-machine commands as bytes: what stands in a batch of the log.

    kind u8 | payload

A v3 command's payload is the client's own request message, unchanged: what was validated is what
is applied, on every member, and nothing is encoded twice. A v2 command carries the request's
fields and the proposer's clock, because applying may not look at a clock.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final


class CommandKind(enum.IntEnum):
    """The first byte of a command. Values are part of the log's format."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    V2 = 4
    V2_EXPIRE = 5
    COMPACT = 6


class MethodV2(enum.IntEnum):
    """What a v2 command does."""

    SET = 0
    CREATE = 1
    CREATE_UNIQUE = 2
    UPDATE = 3
    COMPARE_AND_SWAP = 4
    DELETE = 5
    COMPARE_AND_DELETE = 6


@dataclass(frozen=True, slots=True)
class CommandV2:
    """One v2 write."""

    method: MethodV2
    path: str
    value: str = ""
    previous_value: str = ""
    previous_index: int = 0
    expires_ms: int = 0
    now_ms: int = 0
    is_dir: bool = False
    recursive: bool = False
    refresh: bool = False


_V2: Final = struct.Struct(">BBBQQQIII")
_NUMBER: Final = struct.Struct(">BQ")
"""Kind and one number."""
_METHODS: Final = {int(method): method for method in MethodV2}


def encode_v2(command: CommandV2) -> bytes:
    """Encode one v2 write."""
    path = command.path.encode("utf-8", "surrogateescape")
    value = command.value.encode("utf-8", "surrogateescape")
    previous = command.previous_value.encode("utf-8", "surrogateescape")
    flags = command.is_dir | command.recursive << 1 | command.refresh << 2
    return b"".join(
        (
            _V2.pack(
                CommandKind.V2,
                command.method,
                flags,
                command.previous_index,
                command.expires_ms,
                command.now_ms,
                len(path),
                len(value),
                len(previous),
            ),
            path,
            value,
            previous,
        ),
    )


def decode_v2(data: bytes) -> CommandV2:
    """Decode what ``encode_v2`` gave."""
    (_, method, flags, previous_index, expires_ms, now_ms, path_bytes, value_bytes, _) = (
        _V2.unpack_from(data)
    )
    path_end = _V2.size + path_bytes
    value_end = path_end + value_bytes
    return CommandV2(
        _METHODS[method],
        data[_V2.size : path_end].decode("utf-8", "surrogateescape"),
        data[path_end:value_end].decode("utf-8", "surrogateescape"),
        data[value_end:].decode("utf-8", "surrogateescape"),
        previous_index,
        expires_ms,
        now_ms,
        bool(flags & 1),
        bool(flags & 2),
        bool(flags & 4),
    )


def encode_compact(revision: int) -> bytes:
    """Encode the wish to forget what is older than a revision."""
    return _NUMBER.pack(CommandKind.COMPACT, revision)


def decode_compact(data: bytes) -> int:
    """The revision."""
    revision: int = _NUMBER.unpack(data)[1]
    return revision


def encode_expire(now_ms: int) -> bytes:
    """Encode the leader's word on what time it is, for v2 TTLs."""
    return _NUMBER.pack(CommandKind.V2_EXPIRE, now_ms)


def decode_expire(data: bytes) -> int:
    """The time in milliseconds."""
    now_ms: int = _NUMBER.unpack(data)[1]
    return now_ms
