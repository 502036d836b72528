"""The JSON gateway's form of v3 messages (grpc-gateway 1 with jsonpb, as etcd 3.4 runs it).

Out: original field names, 64-bit numbers as strings, bytes in base64, enums by name, defaults left
out. In: original or camelCase names, numbers or strings, enum names or numbers, base64 in the
standard or URL alphabet. Unknown fields are skipped, so that newer clients keep working.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final, TypeVar

from etcdwire.protobuf import ENUMS, TYPES, Field, Kind, Message

M = TypeVar("M", bound=Message)
_WIDE = frozenset({Kind.INT64, Kind.UINT64})
_LIMITS = {
    Kind.INT64: (-(1 << 63), (1 << 63) - 1),
    Kind.UINT64: (0, (1 << 64) - 1),
    Kind.INT32: (-(1 << 31), (1 << 31) - 1),
    Kind.UINT32: (0, (1 << 32) - 1),
}


class JsonError(ValueError):
    """This JSON is not the message; the text says where."""


def to_camel(name: str) -> str:
    """``range_end`` to ``rangeEnd``."""
    return re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)


def to_json(message: Message) -> dict[str, Any]:
    """A message as a JSON object."""
    out: dict[str, Any] = {}
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.repeated:
            if value:
                out[field.name] = [_value_out(field, item) for item in value]
        elif value is not None and (value or field.oneof or field.kind is Kind.MESSAGE):
            out[field.name] = _value_out(field, value)
    return out


def dumps(message: Message) -> bytes:
    """A message as compact JSON text."""
    return json.dumps(to_json(message), separators=(",", ":"), ensure_ascii=False).encode()


def _value_out(field: Field, value: Any) -> Any:
    if field.kind in _WIDE:
        return str(value)
    if field.kind is Kind.BYTES:
        return base64.b64encode(value).decode("ascii")
    if field.kind is Kind.ENUM:
        try:
            return ENUMS[field.type_name](value).name
        except ValueError:
            return value
    if field.kind is Kind.MESSAGE:
        return to_json(value)
    return value


def loads(message_type: type[M], text: bytes) -> M:
    """Read a message from JSON text; an empty text is the empty message.

    Raises:
        JsonError: not JSON, or a value of the wrong kind.
    """
    if not text.strip():
        return message_type()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonError(str(error)) from None
    return from_json(message_type, data)


def from_json(message_type: type[M], data: Any, depth: int = 0) -> M:
    """Read a message from a JSON object.

    Raises:
        JsonError: see ``loads``.
    """
    if not isinstance(data, dict):
        raise JsonError(f"json: cannot unmarshal {_kind_of(data)} into {message_type.__name__}")
    if depth > 32:
        raise JsonError("nested too deeply")
    names = _NAMES.get(message_type)
    if names is None:
        names = {}
        for field in message_type.FIELDS:
            names[field.name] = field
            names[to_camel(field.name)] = field
        _NAMES[message_type] = names
    message = message_type()
    for name, value in data.items():
        known = names.get(name)
        if known is None or value is None:
            continue
        if known.repeated:
            if not isinstance(value, list):
                raise JsonError(f"{name}: expected a list")
            setattr(message, known.name, [_value_in(known, item, depth) for item in value])
        else:
            setattr(message, known.name, _value_in(known, value, depth))
    return message


_NAMES: dict[type[Message], dict[str, Field]] = {}


def _kind_of(data: Any) -> str:
    return {list: "array", str: "string", bool: "bool", int: "number", float: "number"}.get(
        type(data),
        "null",
    )


def _value_in(field: Field, value: Any, depth: int) -> Any:
    kind = field.kind
    if kind is Kind.BYTES:
        return _bytes_in(field, value)
    if kind is Kind.STRING:
        if not isinstance(value, str):
            raise JsonError(f"{field.name}: expected a string")
        return value
    if kind is Kind.BOOL:
        if not isinstance(value, bool):
            raise JsonError(f"{field.name}: expected true or false")
        return value
    if kind is Kind.MESSAGE:
        return from_json(TYPES[field.type_name], value, depth + 1)
    if kind is Kind.ENUM and isinstance(value, str):
        member = ENUMS[field.type_name].__members__.get(value)
        if member is None:
            raise JsonError(f'unknown value "{value}" for enum {field.type_name}')
        return int(member)
    return _number_in(field, value)


_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


def _bytes_in(field: Field, value: Any) -> bytes:
    if not isinstance(value, str):
        raise JsonError(f"{field.name}: expected base64 text")
    text = value.replace("-", "+").replace("_", "/")
    bad = _NOT_BASE64.search(text)
    if bad is not None:
        raise JsonError(f"illegal base64 data at input byte {bad.start()}")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise JsonError(f"{field.name}: illegal base64 data") from None


def _number_in(field: Field, value: Any) -> int:
    if isinstance(value, bool):
        raise JsonError(f"{field.name}: expected a number")
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            raise JsonError(f"{field.name}: not a number: {value!r}") from None
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    else:
        raise JsonError(f"{field.name}: expected a number")
    low, high = _LIMITS.get(field.kind, _LIMITS[Kind.INT32])
    if not low <= number <= high:
        raise JsonError(f"{field.name}: {number} is out of range")
    return number


class DocumentSplitter:
    """Cuts a body that comes in pieces into its JSON objects, whatever stands between them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._at = 0
        """How far the buffer was looked through."""
        self._depth = 0
        self._is_in_string = False

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are complete now.

        Raises:
            JsonError: one is longer than the limit, or what stands there is no object.
        """
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start = 0
        while True:
            match = (_IN_STRING if self._is_in_string else _OUTSIDE).search(buffer, self._at)
            if match is None:
                self._at = len(buffer)
                break
            sign = match.group()
            self._at = match.end()
            if self._is_in_string:
                if sign == b"\\":
                    if self._at == len(buffer):  # what it escapes comes with the next piece
                        self._at -= 1
                        break
                    self._at += 1
                else:
                    self._is_in_string = False
            elif sign == b'"':
                self._is_in_string = True
            elif sign == b"{":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    found.append(bytes(buffer[start : self._at]))
                    start = self._at
                elif self._depth < 0:
                    raise JsonError("invalid character '}' looking for beginning of value")
        del buffer[:start]
        self._at -= start
        if not self._depth and buffer.strip():
            raise JsonError(f"invalid character {chr(buffer.strip()[0])!r} in the request")
        if len(buffer) > self._limit:
            raise JsonError(f"a document of more than {self._limit} bytes")
        return found

    @property
    def is_between(self) -> bool:
        """Whether no object has begun and not ended."""
        return not self._depth


_OUTSIDE: Final = re.compile(rb'["{}]')
_IN_STRING: Final = re.compile(rb'["\\]')
