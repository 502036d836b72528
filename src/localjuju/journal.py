r"""Persistence: an append-only file of checksummed lines, each the changes of one transaction.

    crc32 (8 hex) SPACE {"put": {"units/app\/0": {...}}, "del": ["tasks/3"]} LF

On load, reading stops at the first line that is torn or does not match its checksum; the rest
is dropped (the transaction never happened). When the file has grown past ``COMPACT_BYTES`` and
four times its live size it is rewritten beside itself and renamed. Writes reach the kernel
before a transaction returns, so they survive this process; the disk is synced on rewrite only.
"""

import errno
import json
import os
import types
import typing
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from localjuju.entities import Records
from localjuju.errors import JujuError

COMPACT_BYTES = 4 << 20  # a busy model appends about 2 KiB per hook: two thousand hooks

SEALED_KINDS = frozenset({"charms"})


class Journal:
    """Writes the difference between the records now and at the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: dict[str, str] = {}
        self._kinds = [item.name for item in fields(Records)]
        self._sealed: set[str] = set()
        self._live_bytes = 0
        self._size = 0
        self._file: typing.BinaryIO | None = None

    def load(self) -> Records:
        """Read the file, drop a torn tail, and open for appending."""
        live: dict[str, Any] = {}
        good = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    change = decode_line(line)
                    if change is None:
                        break
                    good += len(line)
                    live.update(change["put"])
                    for key in change["del"]:
                        live.pop(key, None)
            os.truncate(self.path, good)
        records = Records()
        hints = typing.get_type_hints(Records)
        for key, value in live.items():
            kind, _, name = key.partition("/")
            record_class = typing.get_args(hints[kind])[1]
            getattr(records, kind)[name] = decode(record_class, value)
        self._open()
        self._size = good
        self._remember(records)
        return records

    def save(self, records: Records) -> None:
        """Append what changed; no line when nothing did.

        Raises JujuError when it cannot be written; then nothing is remembered as written.
        """
        put: dict[str, str] = {}
        seen: set[str] = set()
        for key, record in self._walk(records):
            seen.add(key)
            if key not in self._sealed:
                text = encode(record)
                if self._written.get(key) != text:
                    put[key] = text
        gone = [key for key in self._written if key not in seen]
        if not put and not gone:
            return
        self._append([f"{json.dumps(key)}:{text}" for key, text in put.items()], gone)
        self._written |= put
        for key in gone:
            del self._written[key]
            self._sealed.discard(key)
        for key, record in self._walk(records):
            if key in put and _is_sealed(key, record):
                self._sealed.add(key)
        self._compact_when_large()

    def restore(self, records: Records) -> None:
        """Take back what changed since the last save; records that stay keep their identity."""
        for key, record in list(self._walk(records)):
            kind, _, name = key.partition("/")
            before = self._written.get(key)
            if before is None:
                del getattr(records, kind)[name]
            elif key not in self._sealed and encode(record) != before:
                vars(record).update(vars(decode(type(record), json.loads(before))))
        present = {key for key, _ in self._walk(records)}
        hints = typing.get_type_hints(Records)
        for key in [key for key in self._written if key not in present]:
            kind, _, name = key.partition("/")
            record_class = typing.get_args(hints[kind])[1]
            getattr(records, kind)[name] = decode(record_class, json.loads(self._written[key]))

    def close(self) -> None:
        """Close the file; a later ``save`` would be a defect."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _walk(self, records: Records) -> Iterator[tuple[str, Any]]:
        for kind in self._kinds:
            for name, record in getattr(records, kind).items():
                yield f"{kind}/{name}", record

    def _remember(self, records: Records) -> None:
        for key, record in self._walk(records):
            self._written[key] = encode(record)
            if _is_sealed(key, record):
                self._sealed.add(key)

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab", buffering=0)
        self.path.chmod(0o600)

    def _append(self, put: list[str], gone: list[str]) -> None:
        line = encode_line(put, gone)
        assert self._file is not None
        try:
            is_whole = self._file.write(line) == len(line)
            problem = "" if is_whole else os.strerror(errno.ENOSPC)
        except OSError as error:
            problem = error.strerror or str(error)
        if problem:
            # A torn line in the middle would cut off all that is written after it.
            with suppress(OSError):
                os.truncate(self.path, self._size)
            raise JujuError(f"cannot write the model's journal: {problem}")
        self._size += len(line)

    def _compact_when_large(self) -> None:
        if self._size <= COMPACT_BYTES:
            return
        live = sum(len(text) for text in self._written.values())
        if self._size < 4 * live:
            return
        beside = self.path.with_suffix(".new")
        line = encode_line([f"{json.dumps(k)}:{v}" for k, v in self._written.items()], [])
        try:
            with beside.open("wb") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # no room for a second copy: the long one serves as well
            beside.unlink(missing_ok=True)
            return
        beside.replace(self.path)
        self.close()
        self._open()
        self._size = len(line)


def _is_sealed(key: str, record: Any) -> bool:
    """A record that never changes again is not compared again."""
    kind = key.partition("/")[0]
    return kind in SEALED_KINDS or (kind == "tasks" and record.is_done)


def encode(record: Any) -> str:
    """Return a record as compact JSON."""
    return json.dumps(record, default=vars, separators=(",", ":"))


def encode_line(put: list[str], gone: list[str]) -> bytes:
    """Return one journal line."""
    body = f'{{"put":{{{",".join(put)}}},"del":{json.dumps(gone)}}}'.encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def decode_line(line: bytes) -> dict[str, Any] | None:
    """Return the change that a line holds, or None when it is torn."""
    if len(line) < 10 or not line.endswith(b"\n"):
        return None
    body = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(body):
            return None
    except ValueError:
        return None
    change: dict[str, Any] = json.loads(body)
    return change


_HINTS: dict[type, dict[str, Any]] = {}


def decode(kind: Any, value: Any) -> Any:
    """Build a value of a type hint from JSON; unknown fields are dropped."""
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is types.UnionType or origin is typing.Union:
        if value is None:
            return None
        kind = next(item for item in arguments if item is not type(None))
        return decode(kind, value)
    if is_dataclass(kind) and isinstance(kind, type):
        hints = _HINTS.setdefault(kind, typing.get_type_hints(kind))
        return kind(**{k: decode(hints[k], v) for k, v in value.items() if k in hints})
    if isinstance(value, dict) and len(arguments) == 2:
        return {key: decode(arguments[1], item) for key, item in value.items()}
    if isinstance(value, list) and arguments:
        items = [decode(arguments[0], item) for item in value]
        return tuple(items) if origin is tuple else items
    return value
