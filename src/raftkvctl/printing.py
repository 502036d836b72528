"""etcdctl's output formats: simple, json, fields, protobuf, table."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from etcdwire import messages as m
from etcdwire.messages import KeyValue, ResponseHeader
from etcdwire.messages_auth import (
    AuthRoleGetResponse,
    AuthRoleListResponse,
    AuthUserGetResponse,
    AuthUserListResponse,
    PermissionType,
)
from etcdwire.protobuf import ENUMS, Kind, Message, encode
from raftkvctl.options import UsageError

FORMATS: Final = ("simple", "json", "fields", "protobuf", "table")


class UnsupportedFormatError(Exception):
    """A command does not know this output format; exit code 4, as etcdctl's."""


def refuse(output: str) -> None:
    """Say that a format is not for this command.

    Raises:
        UnsupportedFormatError: always.
    """
    raise UnsupportedFormatError(f"{output} not supported as output format")


def require_simple(flag: str) -> None:
    """Say that a flag is for the simple format alone.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"{flag} is only for `--write-out=simple`")


def check_format(output: str) -> None:
    """Raises:
    UnsupportedFormatError: there is no such format.
    """
    if output not in FORMATS:
        raise UnsupportedFormatError("unsupported output format")


def show(
    output: str,
    answer: Message,
    simple: Callable[[], None],
    *,
    table: Callable[[], None] | None = None,
) -> None:
    """Print an answer in the format that was asked for.

    Raises:
        UnsupportedFormatError: a table of what has none.
    """
    if output == "json":
        print_json(answer)
    elif output == "fields":
        print_fields(answer)
    elif output == "protobuf":
        write_raw(encode(answer))
    elif output != "table":
        simple()
    elif table is not None:
        table()
    else:
        refuse(output)


def write(data: bytes) -> None:
    """Bytes to standard output, and a newline."""
    write_raw(data + b"\n")


def write_raw(data: bytes) -> None:
    """Bytes to standard output, behind what ``print`` holds back."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# --- json -----------------------------------------------------------------------------------


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
        return _plain_operation(value) if isinstance(value, m.ResponseOp) else to_plain(value)
    if kind is Kind.BYTES:
        return base64.b64encode(value).decode("ascii")
    if kind is Kind.ENUM:
        return int(ENUMS[type_name](value)) if isinstance(value, int) else value
    return value


def _plain_operation(operation: m.ResponseOp) -> dict[str, Any]:
    """Go writes a oneof as a struct in a struct, under its own names."""
    for name, value in to_plain(operation).items():
        return {"Response": {_title(name): value}}
    return {"Response": None}


def print_json(message: Message) -> None:
    """One line of JSON."""
    print_plain(to_plain(message))


_GO_JSON_ESCAPES: Final = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def print_plain(document: object) -> None:
    """One line of JSON, escaped as Go does."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    print(text.translate(_GO_JSON_ESCAPES), flush=True)


# --- fields ---------------------------------------------------------------------------------


def print_fields(message: Message) -> None:
    """``"Name" : value`` lines.

    Raises:
        UnsupportedFormatError: etcdctl has none for this answer.
    """
    if isinstance(message, AuthUserGetResponse | AuthUserListResponse | m.MoveLeaderResponse):
        refuse("fields")
    print_header_fields(getattr(message, "header", None))
    if isinstance(message, m.PutResponse):
        if message.prev_kv is not None:
            print_key_value_fields(message.prev_kv, "Prev")
    elif isinstance(message, m.RangeResponse):
        for row in message.kvs:
            print_key_value_fields(row)
        print(f'"More" : {str(message.more).lower()}\n"Count" : {message.count}')
    elif isinstance(message, m.DeleteRangeResponse):
        print(f'"Deleted" : {message.deleted}')
        for row in message.prev_kvs:
            print_key_value_fields(row, "Prev")
    elif isinstance(message, m.TxnResponse):
        print(f'"Succeeded" : {str(message.succeeded).lower()}')
        for operation in message.responses:
            inner = (
                operation.response_range
                or operation.response_put
                or operation.response_delete_range
                or operation.response_txn
            )
            if inner is not None:
                print_fields(inner)
    elif isinstance(message, m.AlarmResponse):
        for alarm in message.alarms:
            print(f'"MemberID" : {alarm.memberID}')
            print(f'"AlarmType" : {m.AlarmType(alarm.alarm).name}\n')
    elif isinstance(message, m.MemberListResponse):
        for member in message.members:
            _print_member_fields(member)
    elif isinstance(message, AuthRoleGetResponse):
        for permission in message.perm:
            print(f'"PermType" :  {PermissionType(permission.permType).name}')
            print(f'"Key" : {quoted(permission.key)}')
            print(f'"RangeEnd" : {quoted(permission.range_end)}')
    elif isinstance(message, AuthRoleListResponse):
        print('"Roles" :' + "".join(f" {quoted(name.encode())}" for name in message.roles))
    sys.stdout.flush()


def _print_member_fields(member: m.Member) -> None:
    print(f'"ID" : {member.ID}')
    print(f'"Name" : {quoted(member.name.encode())}')
    for url in member.peerURLs:
        print(f'"PeerURL" : {quoted(url.encode())}')
    for url in member.clientURLs:
        print(f'"ClientURL" : {quoted(url.encode())}')
    print(f'"IsLearner" : {str(member.isLearner).lower()}\n')


def print_key_value_fields(row: KeyValue, prefix: str = "") -> None:
    """The lines of one row."""
    print(f'"{prefix}Key" : {quoted(row.key)}')
    print(f'"{prefix}CreateRevision" : {row.create_revision}')
    print(f'"{prefix}ModRevision" : {row.mod_revision}')
    print(f'"{prefix}Version" : {row.version}')
    print(f'"{prefix}Value" : {quoted(row.value)}')
    print(f'"{prefix}Lease" : {row.lease}')


def print_header_fields(header: ResponseHeader | None) -> None:
    """The header's lines of the fields format."""
    found = header or ResponseHeader()
    print(f'"ClusterID" : {found.cluster_id}')
    print(f'"MemberID" : {found.member_id}')
    print(f'"Revision" : {found.revision}')
    print(f'"RaftTerm" : {found.raft_term}')


def _title(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


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


# --- simple and table -----------------------------------------------------------------------


def print_key_values(
    rows: Sequence[KeyValue],
    *,
    use_hex: bool = False,
    values_only: bool = False,
    keys_only: bool = False,
) -> None:
    """Key and value on lines of their own, as ``etcdctl get`` does."""

    def shown(data: bytes) -> bytes:
        return "".join(f"\\x{byte:02x}" for byte in data).encode() if use_hex else data

    for row in rows:
        if not values_only:
            write(shown(row.key))
        if not keys_only or values_only:
            write(shown(row.value))
        elif keys_only:
            write(b"")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with etcdctl's borders: cells to the right, titles in the middle."""
    widths = [max([len(header[i]), *(len(row[i]) for row in rows)]) for i in range(len(header))]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    # An odd space goes to the right of a title, as in Go's table writer.
    titles = (
        " " * ((width - len(name)) // 2)
        + name
        + " " * (width - len(name) - (width - len(name)) // 2)
        for name, width in zip(header, widths, strict=True)
    )
    print(line)
    print("|" + "|".join(f" {title} " for title in titles) + "|")
    print(line)
    for row in rows:
        print(
            "|"
            + "|".join(f" {cell:>{width}} " for cell, width in zip(row, widths, strict=True))
            + "|"
        )
    print(line)


def duration_text(seconds: float) -> str:
    """A duration as Go prints it, such as ``1.5ms``."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return (
                f"{nanoseconds / size:.{len(str(size)) - 1}f}".rstrip("0").rstrip(".") + unit
                if size > 1
                else f"{nanoseconds}{unit}"
            )
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + f"{minutes}m" + text


def size_text(size_bytes: int) -> str:
    """Sizes as etcdctl prints them: powers of a thousand, two digits."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size_bytes} B"
