"""etcdctl's output formats."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from etcdwire.messages import KeyValue, ResponseHeader
from etcdwire.protobuf import ENUMS, Kind, Message


def write(data: bytes) -> None:
    """Bytes to standard output, and a newline."""
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.buffer.flush()


def to_plain(message: Message) -> dict[str, Any]:
    """A message as etcdctl's JSON shows it: numbers as numbers, defaults left out."""
    out: dict[str, Any] = {}
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if not value:
            continue
        if field.repeated:
            out[field.name] = [_plain(field.kind, field.type_name, item) for item in value]
        else:
            out[field.name] = _plain(field.kind, field.type_name, value)
    return out


def _plain(kind: Kind, type_name: str, value: Any) -> Any:
    if kind is Kind.MESSAGE:
        return to_plain(value)
    if kind is Kind.BYTES:
        return base64.b64encode(value).decode("ascii")
    if kind is Kind.ENUM:
        return int(ENUMS[type_name](value)) if isinstance(value, int) else value
    return value


def print_json(message: Message) -> None:
    """One line of JSON."""
    print(json.dumps(to_plain(message), separators=(",", ":")))


def print_fields(message: Message) -> None:
    """``"Name" : value`` lines."""
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if isinstance(value, Message):
            print_fields(value)
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, Message):
                    print_fields(item)
                else:
                    print(f'"{field.name}" : {_field_text(item)}')
        else:
            print(f'"{_title(field.name)}" : {_field_text(value)}')


def _title(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _field_text(value: object) -> str:
    if isinstance(value, bytes):
        return json.dumps(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value)


def print_key_values(
    rows: Sequence[KeyValue],
    *,
    use_hex: bool,
    values_only: bool = False,
    keys_only: bool = False,
) -> None:
    """Keys and values on lines of their own."""

    def show(data: bytes) -> bytes:
        return "".join(f"\\x{byte:02x}" for byte in data).encode() if use_hex else data

    for row in rows:
        if not values_only:
            write(show(row.key))
        if not keys_only or values_only:
            write(show(row.value))
        elif keys_only:
            write(b"")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with etcdctl's borders: right-aligned numbers look like its own."""
    widths = [max([len(header[i]), *(len(row[i]) for row in rows)]) for i in range(len(header))]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    print(line)
    print(
        "|"
        + "|".join(f" {name:^{width}} " for name, width in zip(header, widths, strict=True))
        + "|"
    )
    print(line)
    for row in rows:
        print(
            "|"
            + "|".join(f" {cell:>{width}} " for cell, width in zip(row, widths, strict=True))
            + "|"
        )
    print(line)


class UnsupportedFormatError(Exception):
    """A command does not know this output format; exit code 4, as etcdctl's."""


def refuse(output: str) -> None:
    """Say that a format is not for this command.

    Raises:
        UnsupportedFormatError: always.
    """
    raise UnsupportedFormatError(f"{output} not supported as output format")


def print_header_fields(header: ResponseHeader | None) -> None:
    """The header's lines of the fields format."""
    found = header or ResponseHeader()
    print(f'"ClusterID" : {found.cluster_id}')
    print(f'"MemberID" : {found.member_id}')
    print(f'"Revision" : {found.revision}')
    print(f'"RaftTerm" : {found.raft_term}')


def quoted(data: bytes) -> str:
    """Bytes as Go's ``%q`` writes a string."""
    out = ['"']
    for char in data.decode("utf-8", "surrogateescape"):
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char in _GO_ESCAPES:
            out.append(_GO_ESCAPES[char])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return "".join(out) + '"'


_GO_ESCAPES: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip
