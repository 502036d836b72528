"""One file of the log: how it is made, read, and repaired after a torn write.

A segment is made whole under a temporary name (preallocated, head written, synced), then renamed,
then the directory is synced: a segment that exists under its name always has a head.
"""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from raftkv.log.errors import Corruption
from raftkv.log.record import (
    ENDS_WRITE,
    PREFIX_BYTES,
    RawRecord,
    RecordError,
    RecordKind,
    SegmentHead,
    decode_chained,
    decode_head,
    decode_record,
)

_SUFFIX = ".wal"
_TEMPORARY = "next.tmp"
_SCAN_WINDOW_BYTES = 64 << 20
_WIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SegmentContents:
    """All good records of a segment, and where they end."""

    head: SegmentHead
    records: list[RawRecord]
    end: int
    torn_bytes: int
    """Bytes after ``end`` that an unfinished write left; 0 when it ends cleanly."""


def segment_name(number: int) -> str:
    """Return the file name of a segment; names sort like numbers."""
    return f"{number:016x}{_SUFFIX}"


def list_segments(directory: Path) -> list[Path]:
    """Return the segments in order.

    Raises:
        Corruption: one in the middle is missing.
    """
    paths = sorted(path for path in directory.iterdir() if path.suffix == _SUFFIX)
    for earlier, later in itertools.pairwise(paths):
        if int(later.stem, 16) != int(earlier.stem, 16) + 1:
            raise Corruption(str(directory), 0, f"segment missing after {earlier.name}")
    return paths


def sync_directory(directory: Path) -> None:
    """Make created, renamed and deleted names durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_fully(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` at the current position; a short write goes on where it ended."""
    written = os.write(descriptor, data)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        written += os.write(descriptor, view[written:])


def create_segment(directory: Path, number: int, size_bytes: int, first: bytes) -> int:
    """Make a segment that begins with ``first``; return its descriptor, positioned after it."""
    temporary = directory / _TEMPORARY
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, max(size_bytes, len(first)))
        write_fully(descriptor, first)
        os.fsync(descriptor)
        temporary.rename(directory / segment_name(number))
        sync_directory(directory)
    except BaseException:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)  # half of it may have taken what little space there was
        raise
    return descriptor


def read_segment(path: Path, *, is_last: bool) -> SegmentContents:
    """Read a segment and check every record and the chain between them.

    Only the last segment may end in an unfinished write: each earlier one was synced before its
    successor was made. Even there, damage is refused when a later record says that the damaged
    bytes had been synced. (A bit that rots in the very last synced write cannot be told from a
    torn write by the file alone; the cluster repairs it, because that entry is on a majority.)

    Raises:
        Corruption: bytes that were promised do not check out; names file and offset.
    """
    data = _read_written(path)
    records: list[RawRecord] = []
    offset = 0
    chain = 0
    while True:
        try:
            record = decode_chained(data, offset, chain)
        except RecordError as error:
            _refuse_damage(path, data, offset, str(error), is_last=is_last)
            torn_bytes = len(data.rstrip(b"\0")) - offset
            break
        if record is None:
            torn_bytes = _check_rest_is_empty(path, data, offset, is_last=is_last)
            break
        records.append(record)
        chain = record.crc
        offset = record.end
    if not records or records[0].kind is not RecordKind.SEGMENT:
        raise Corruption(str(path), 0, "segment has no head")
    head = decode_head(records[0].body)
    if not records[-1].ends_write:
        if not is_last:
            raise Corruption(str(path), offset, "the last write of the segment is incomplete")
        torn_bytes += offset
        offset = _drop_incomplete_write(path, records)
        torn_bytes -= offset
    if segment_name(head.number) != path.name:
        raise Corruption(str(path), 0, f"file holds segment {head.number}")
    return SegmentContents(head, records, offset, torn_bytes)


def _read_written(path: Path) -> bytes:
    """A segment without the zeros that were only preallocated: most of it, when it is young.

    The file system knows where bytes were written; one that does not says "everywhere".
    """
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        end = written = 0
        while written < size:
            try:
                start = os.lseek(file.fileno(), written, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # only a hole is left
            written = end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        file.seek(0)
        data = bytearray(end)
        at = 0
        while at < end:
            count = file.readinto(memoryview(data)[at:])
            if not count:
                break
            at += count
    return bytes(data)


def _drop_incomplete_write(path: Path, records: list[RawRecord]) -> int:
    """Remove the records of a write that was not finished; return where the rest ends."""
    while not records[-1].ends_write:
        records.pop()
        if not records:
            raise Corruption(str(path), 0, "segment holds no finished write, not even its head")
    return records[-1].end


def _check_rest_is_empty(path: Path, data: bytes, offset: int, *, is_last: bool) -> int:
    """Return the torn bytes after the end mark: pages may reach the disk out of order."""
    rest_bytes = len(data.rstrip(b"\0")) - offset
    if rest_bytes <= 0:
        return 0
    _refuse_damage(path, data, offset, "records missing", is_last=is_last)
    return rest_bytes


def _refuse_damage(path: Path, data: bytes, offset: int, reason: str, *, is_last: bool) -> None:
    """Raise when the bytes at ``offset`` had been synced."""
    if not is_last:
        raise Corruption(str(path), offset, reason)
    end = min(len(data.rstrip(b"\0")) + PREFIX_BYTES, len(data))
    for candidate in range(offset + 1, min(end, offset + _SCAN_WINDOW_BYTES) - PREFIX_BYTES + 1):
        # Cheap tests first: a plausible kind, length and synced mark.
        if not 1 <= data[candidate + 16] & ~ENDS_WRITE <= RecordKind.ENTRY:
            continue
        length = int.from_bytes(data[candidate + 4 : candidate + 8], "little")
        if not 0 < length <= len(data) - candidate - PREFIX_BYTES:
            continue
        synced = int.from_bytes(data[candidate + 12 : candidate + 16], "little")
        if not offset < synced <= candidate:
            continue
        try:
            record = decode_record(data, candidate)
        except RecordError:
            continue
        if record is not None:
            raise Corruption(
                str(path), offset, f"{reason}; a record at {candidate} says it was synced"
            )


def repair_tail(descriptor: int, end: int, torn_bytes: int, size_bytes: int) -> int:
    """Wipe a torn tail out and preallocate again, durably, before anything new is written.

    Nothing is given back in between: on a full disk others would take it. Returns how many bytes
    of the file need no more space: fewer than ``size_bytes`` on a full disk.
    """
    for start in range(end, end + torn_bytes, _WIPE_BYTES):
        count = min(_WIPE_BYTES, end + torn_bytes - start)
        os.pwrite(descriptor, bytes(count), start)
    allocated = max(size_bytes, end)
    try:
        os.posix_fallocate(descriptor, 0, allocated)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        allocated = end
    os.fsync(descriptor)
    return allocated
