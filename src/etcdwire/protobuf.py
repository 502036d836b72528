"""Protocol buffers, table driven: a message is a dataclass with a field table beside it.

Wire format: https://protobuf.dev/programming-guides/encoding/. Only what etcd's API uses exists:
varint and length-delimited fields, packed or unpacked repeated varints. Unknown fields are
skipped, as every protobuf reader must, so that newer clients keep working.

The few messages on the hot path are written by hand in ``etcdwire.hot``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

U64 = (1 << 64) - 1
M = TypeVar("M", bound="Message")


class DecodeError(ValueError):
    """These bytes are not a message of the expected type."""


class Kind(enum.Enum):
    """How a field's value is carried."""

    BYTES = "bytes"
    STRING = "string"
    INT64 = "int64"
    UINT64 = "uint64"
    INT32 = "int32"
    UINT32 = "uint32"
    BOOL = "bool"
    ENUM = "enum"
    MESSAGE = "message"


VARINT_KINDS = frozenset(
    {Kind.INT64, Kind.UINT64, Kind.INT32, Kind.UINT32, Kind.BOOL, Kind.ENUM},
)


@dataclass(frozen=True, slots=True)
class Field:
    """One row of a message's table."""

    number: int
    name: str
    kind: Kind
    type_name: str = ""
    repeated: bool = False
    tag: bytes = b""
    oneof: bool = False
    """Member of a oneof: written although zero, because presence is its meaning."""


class Message:
    """Base of all table-driven messages."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[Field, ...]] = ()
    BY_NUMBER: ClassVar[dict[int, Field]] = {}


TYPES: dict[str, type[Message]] = {}
ENUMS: dict[str, type[enum.IntEnum]] = {}


def declare(message: type[M], table: str) -> None:
    """Attach a field table, one ``number name type`` per line, to a message class.

    ``type`` is a scalar kind, an enum's or a message's name; ``repeated`` or ``oneof`` may precede.
    """
    fields = tuple(_parse_row(row) for row in table.strip().splitlines())
    message.FIELDS = fields
    message.BY_NUMBER = {f.number: f for f in fields}
    TYPES[message.__name__] = message


def _parse_row(row: str) -> Field:
    words = row.split()
    number, name = int(words[0]), words[1]
    repeated = words[2] == "repeated"
    oneof = words[2] == "oneof"
    type_name = words[-1]
    if type_name in ENUMS:
        kind = Kind.ENUM
    elif type_name in {k.value for k in Kind}:
        kind = Kind(type_name)
    else:
        kind = Kind.MESSAGE
    wire = 0 if kind in VARINT_KINDS else 2
    return Field(number, name, kind, type_name, repeated, encode_varint(number << 3 | wire), oneof)


_SMALL = [bytes((i,)) for i in range(128)]


def encode_varint(value: int) -> bytes:
    """Encode one varint; negative numbers take ten bytes (two's complement, 64 bits)."""
    if 0 <= value < 128:
        return _SMALL[value]
    if 0 < value < 16384:
        return bytes((value & 127 | 128, value >> 7))
    if 0 < value < 2097152:
        return bytes((value & 127 | 128, value >> 7 & 127 | 128, value >> 14))
    value &= U64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned value at ``at`` and the position after it."""
    try:
        byte = data[at]
        at += 1
        if byte < 128:
            return byte, at
        value = byte & 127
        shift = 7
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & U64, at
            shift += 7
            if shift > 63:
                raise DecodeError("varint longer than ten bytes")
    except IndexError:
        raise DecodeError("truncated varint") from None


def to_signed(value: int) -> int:
    """Read an unsigned 64-bit varint as int64."""
    return value - (1 << 64) if value >> 63 else value


def _encode_scalar(field: Field, value: Any) -> bytes:
    kind = field.kind
    raw: bytes
    if kind is Kind.BYTES:
        raw = value
        return encode_varint(len(raw)) + raw
    if kind is Kind.STRING:
        raw = value.encode("utf-8", "surrogateescape")
        return encode_varint(len(raw)) + raw
    if kind is Kind.MESSAGE:
        raw = encode(value)
        return encode_varint(len(raw)) + raw
    return encode_varint(int(value))


def encode(message: Message) -> bytes:
    """Encode a message; fields at their default are left out (proto3)."""
    parts: list[bytes] = []
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.repeated:
            if value and field.kind in VARINT_KINDS:
                packed = b"".join(encode_varint(int(v)) for v in value)
                parts.append(encode_varint(field.number << 3 | 2))
                parts.append(encode_varint(len(packed)))
                parts.append(packed)
            else:
                for item in value:
                    parts.append(field.tag)
                    parts.append(_encode_scalar(field, item))
        elif value is not None and (value or field.oneof or field.kind is Kind.MESSAGE):
            parts.append(field.tag)
            parts.append(_encode_scalar(field, value))
    return b"".join(parts)


def _decode_scalar(field: Field, wire: int, data: bytes, at: int) -> tuple[Any, int]:
    kind = field.kind
    if kind in VARINT_KINDS:
        if wire != 0:
            raise DecodeError(f"field {field.name}: wire type {wire}")
        value, at = decode_varint(data, at)
        if kind is Kind.BOOL:
            return bool(value), at
        if kind is Kind.UINT64:
            return value, at
        if kind is Kind.UINT32:
            return value & 0xFFFFFFFF, at
        return to_signed(value), at
    if wire != 2:
        raise DecodeError(f"field {field.name}: wire type {wire}")
    length, at = decode_varint(data, at)
    end = at + length
    if end > len(data):
        raise DecodeError(f"field {field.name}: {length} bytes announced, {len(data) - at} left")
    raw = bytes(data[at:end])
    if kind is Kind.BYTES:
        return raw, end
    if kind is Kind.STRING:
        try:
            return raw.decode("utf-8"), end
        except UnicodeDecodeError:
            raise DecodeError(f"field {field.name}: invalid UTF-8") from None
    return decode(TYPES[field.type_name], raw), end


def decode(message_type: type[M], data: bytes) -> M:
    """Decode one message.

    Raises:
        DecodeError: truncated or contradictory bytes.
    """
    message = message_type()
    by_number = message_type.BY_NUMBER
    at, end = 0, len(data)
    while at < end:
        tag, at = decode_varint(data, at)
        field = by_number.get(tag >> 3)
        wire = tag & 7
        if field is None:
            at = skip_field(tag, data, at)
        elif not field.repeated:
            value, at = _decode_scalar(field, wire, data, at)
            setattr(message, field.name, value)
        elif wire == 2 and field.kind in VARINT_KINDS:
            length, at = decode_varint(data, at)
            stop = at + length
            if stop > end:
                raise DecodeError(f"field {field.name}: truncated")
            while at < stop:
                value, at = _decode_scalar(field, 0, data, at)
                getattr(message, field.name).append(value)
        else:
            value, at = _decode_scalar(field, wire, data, at)
            getattr(message, field.name).append(value)
    return message


def skip_field(tag: int, data: bytes, at: int) -> int:
    """Return the position after an unknown field's value."""
    wire = tag & 7
    if tag >> 3 == 0:
        raise DecodeError("field number 0")
    if wire == 0:
        return decode_varint(data, at)[1]
    if wire == 1:
        at += 8
    elif wire == 5:
        at += 4
    elif wire == 2:
        length, at = decode_varint(data, at)
        at += length
    else:
        raise DecodeError(f"wire type {wire}")
    if at > len(data):
        raise DecodeError("truncated field")
    return at
