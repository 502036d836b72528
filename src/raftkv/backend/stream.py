"""The project's own snapshot form: every row of one view, framed, ended by a hash.

    "RKVSNAP1"  { table u8 | key length u32 | value length u32 | key | value }*
    0xFF | row count u64 | padding length u16 | padding | sha256 of everything before (32 bytes)

Used between members; what clients download is the same bytes. The padding makes everything before
the hash a multiple of 512 bytes: by that ``etcdctl snapshot save`` knows that a hash follows.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from raftkv.backend import schema
from raftkv.backend.environment import Environment, View
from raftkv.backend.errors import CorruptionError
from raftkv.backend.schema import Table

MAGIC: Final = b"RKVSNAP1"
END: Final = 0xFF
_ROW: Final = struct.Struct(">BII")
_TRAILER: Final = struct.Struct(">BQH")
ALIGN_BYTES: Final = 512
CHUNK_BYTES: Final = 64 << 10
ROW_BYTES_MAX: Final = 64 << 20
_IMPORT_SLICE: Final = 1000


def export_chunks(view: View) -> Iterator[bytes]:
    """The snapshot of a view in pieces of about ``CHUNK_BYTES``."""
    digest = hashlib.sha256(MAGIC)
    pieces = [MAGIC]
    size = total = len(MAGIC)
    count = 0
    for table in Table:
        for key, value in view.scan(table):
            if table is Table.META and key in schema.LOCAL_META:
                continue
            row = _ROW.pack(table, len(key), len(value)) + key + value
            digest.update(row)
            pieces.append(row)
            size += len(row)
            total += len(row)
            count += 1
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces.clear()
                size = 0
    padding = -(total + _TRAILER.size) % ALIGN_BYTES
    trailer = _TRAILER.pack(END, count, padding) + bytes(padding)
    digest.update(trailer)
    yield b"".join([*pieces, trailer, digest.digest()])


def read_rows(path: Path) -> Iterator[tuple[Table, bytes, bytes]]:
    """The rows of a snapshot file; the hash has been checked when the iterator ends.

    Raises:
        CorruptionError: not a snapshot, truncated, or its hash does not match.
    """
    digest = hashlib.sha256()
    count = 0
    with path.open("rb") as file:

        def take(size: int) -> bytes:
            data = file.read(size)
            if len(data) != size:
                raise CorruptionError(f"{path}: truncated at byte {file.tell()}")
            return data

        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            raise CorruptionError(f"{path}: not a raftkv snapshot (starts with {magic!r})")
        digest.update(magic)
        while True:
            first = take(1)
            if first[0] == END:
                rest = take(_TRAILER.size - 1)
                digest.update(first + rest)
                _, wanted, padding = _TRAILER.unpack(first + rest)
                digest.update(take(padding))
                if take(32) != digest.digest() or wanted != count:
                    raise CorruptionError(f"{path}: hash mismatch, the file is damaged")
                if file.read(1):
                    raise CorruptionError(f"{path}: bytes after the end")
                return
            header = first + take(_ROW.size - 1)
            table, key_bytes, value_bytes = _ROW.unpack(header)
            if table not in schema.TABLE_NAMES or key_bytes + value_bytes > ROW_BYTES_MAX:
                raise CorruptionError(f"{path}: bad row at byte {file.tell() - _ROW.size}")
            body = take(key_bytes + value_bytes)
            digest.update(header)
            digest.update(body)
            count += 1
            yield Table(table), body[:key_bytes], body[key_bytes:]


def import_file(path: Path, environment: Environment, *, skip: frozenset[bytes]) -> None:
    """Fill an empty environment from a snapshot, leaving out these ``meta`` rows; commits last.

    Raises:
        CorruptionError: see ``read_rows``; nothing is committed then.
    """
    rows: list[tuple[Table, bytes, bytes | None]] = []
    for table, key, value in read_rows(path):
        if table is Table.META and key in skip:
            continue
        rows.append((table, key, value))
        if len(rows) >= _IMPORT_SLICE:
            environment.write_rows(rows)
            rows.clear()
    environment.write_rows(rows)
    environment.commit()
