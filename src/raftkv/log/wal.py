"""The write-ahead log: a directory of segments with one writer.

All calls block; the driver makes them on its disk thread. ``write`` may be called several times
before one ``sync``: that is the group commit. After any failure the object is of no more use:
what reached the disk is then unknown, and only reading it back can tell (the fsync lesson:
a failed sync must never be retried and believed).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from raftkv.log.errors import Corruption, LogInUse, NoSpaceError, StorageError
from raftkv.log.record import (
    LOG_FORMAT,
    RawRecord,
    RecordKind,
    RecordWriter,
    SegmentHead,
    decode_entry,
    decode_hard_state,
    decode_position,
)
from raftkv.log.segment import (
    SegmentContents,
    create_segment,
    list_segments,
    read_segment,
    repair_tail,
    segment_name,
    sync_directory,
    write_fully,
)
from raftkv.values import Entry, HardState, Index, Term

SEGMENT_BYTES = 64 << 20
"""etcd's size: large enough to roll rarely, small enough to free space soon."""
_LOCK = "lock"
_SMALL_SEGMENTS_BYTES = (4 << 20, 256 << 10)
"""Tried when the disk has no room for a whole segment; a reserve of a few megabytes goes far."""
_RECORD_BYTES_MAX = 64
"""What a record needs beside an entry's data, at most."""
_UNFINISHED = ".unfinished"


class LogWrite(Protocol):
    """What is written in one go: ``replica.effects.Persist`` fits."""

    @property
    def hard_state(self) -> HardState | None:
        """New term, vote and commit, if changed."""

    @property
    def entries(self) -> Sequence[Entry]:
        """Entries; one at or before the log's end replaces everything from there on."""

    @property
    def reset_to(self) -> tuple[Index, Term] | None:
        """First empty the log: it starts after this."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """To whom the log belongs; stands in every segment."""

    cluster_id: int
    member_id: int


@dataclass(slots=True)
class WalContents:
    """What a log held when it was opened."""

    metadata: Metadata
    hard_state: HardState = field(default_factory=HardState)
    start_index: Index = field(default=Index(0))
    start_term: Term = field(default=Term(0))
    entries: list[Entry] = field(default_factory=list)
    """All entries after ``start_index``, without gaps."""
    repaired_bytes: int = 0
    """Length of the unfinished write that was cut off; 0 after a clean end."""

    def replay(self, record: RawRecord) -> None:
        """Take one record, in file order."""
        if record.kind is RecordKind.ENTRY:
            self._replay_entry(decode_entry(record.body))
        elif record.kind is RecordKind.HARD_STATE:
            self.hard_state = decode_hard_state(record.body)
        elif record.kind is RecordKind.RESET:
            self.start_index, self.start_term = decode_position(record.body)
            self.entries.clear()
        elif record.kind is RecordKind.START:
            self._replay_start(*decode_position(record.body))

    def _replay_entry(self, entry: Entry) -> None:
        keep = entry.index - self.start_index - 1
        if keep > len(self.entries):
            raise ValueError(f"entry {entry.index} leaves a gap")
        if keep >= 0:
            if keep < len(self.entries):
                del self.entries[keep:]
            self.entries.append(entry)
            return
        # The segment began when the log was longer; it was cut back later (still uncommitted).
        self.entries.clear()
        if entry.index == self.start_index:
            self.start_term = entry.term

    def _replay_start(self, index: Index, term: Term) -> None:
        drop = index - self.start_index
        if 0 <= drop <= len(self.entries):
            del self.entries[:drop]
            self.start_index, self.start_term = index, term
        elif drop > 0:
            self.entries.clear()
            self.start_index, self.start_term = index, term


class Wal:
    """An open log. Make one with :meth:`create` or :meth:`open`."""

    def __init__(
        self, directory: Path, metadata: Metadata, segment_bytes: int, lock_descriptor: int
    ) -> None:
        self._directory = directory
        self._metadata = metadata
        self._segment_bytes = segment_bytes
        self._lock = lock_descriptor
        self._descriptor = -1
        self._writer = RecordWriter()
        self._number = 0
        self._offset = 0
        self._allocated = 0
        """Bytes of the current segment's file that need no more space on the disk."""
        self._last: tuple[int, int] = (0, 0)
        self._hard_state = HardState()
        self._first_indexes: list[tuple[int, int]] = []
        """(segment number, last index before it) for every segment on disk, in order."""
        self._failed: str | None = None

    # ---- life ------------------------------------------------------------------------

    @classmethod
    def create(
        cls, directory: Path, metadata: Metadata, *, segment_bytes: int = SEGMENT_BYTES
    ) -> Wal:
        """Make an empty log. The directory must not exist, or be empty; its parent must exist.

        Raises:
            StorageError: there is a log already.
        """
        directory.mkdir(mode=0o700, exist_ok=True)
        if list_segments(directory):
            raise StorageError(f"{directory}: there is a log already")
        lock = _take_lock(directory)
        try:
            wal = cls(directory, metadata, segment_bytes, lock)
            wal._begin_segment(1, segment_bytes)
            sync_directory(directory.parent)
        except BaseException:
            os.close(lock)
            raise
        return wal

    @classmethod
    def open(
        cls, directory: Path, *, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[Wal, WalContents]:
        """Read a whole log, repair a torn tail, and go on writing after it.

        Raises:
            LogInUse: another process has it open.
            Corruption: synced bytes are damaged, or a segment is missing.
            StorageError: there is no log, or it is of a newer format.
        """
        lock = _take_lock(directory)
        try:
            wal, contents = cls._open_locked(directory, segment_bytes, lock)
        except BaseException:
            os.close(lock)
            raise
        return wal, contents

    @classmethod
    def _open_locked(
        cls, directory: Path, segment_bytes: int, lock: int
    ) -> tuple[Wal, WalContents]:
        contents, segments, first_indexes = read_log(directory)
        last = segments[-1]
        wal = cls(directory, contents.metadata, segment_bytes, lock)
        path = directory / segment_name(last.head.number)
        wal._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        torn_bytes = contents.repaired_bytes
        wal._allocated = repair_tail(wal._descriptor, last.end, torn_bytes, segment_bytes)
        os.lseek(wal._descriptor, last.end, os.SEEK_SET)
        wal._number = last.head.number
        wal._offset = last.end
        wal._writer = RecordWriter(last.records[-1].crc, last.end)
        wal._hard_state = contents.hard_state
        wal._first_indexes = first_indexes
        wal._last = (contents.start_index, contents.start_term)
        if contents.entries:
            wal._last = (contents.entries[-1].index, contents.entries[-1].term)
        return wal, contents

    def close(self) -> None:
        """Release files and lock. Does not sync: unsynced writes were never promised."""
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    # ---- writing ---------------------------------------------------------------------

    def write(self, writes: Sequence[LogWrite]) -> None:
        """Append these writes, in order. They are promised only after :meth:`sync`.

        Raises:
            NoSpaceError: the disk is full; nothing was written, the log is as it was.
            StorageError: the disk failed; the log is of no more use.
        """
        self._check_usable()
        if self._offset >= self._segment_bytes:
            self._roll()
        self._make_room(sum(map(_bytes_at_most, writes)))
        for write in writes:
            self._encode(write)
        self._flush()
        if self._offset >= self._segment_bytes:
            self.sync()
            with contextlib.suppress(NoSpaceError):  # the next write needs it, and asks again
                self._roll()

    def _make_room(self, size_bytes: int) -> None:
        """Allocate what a write will need, so that it cannot end half-way for want of space."""
        end = self._offset + size_bytes
        if end <= self._allocated:
            return
        try:
            os.posix_fallocate(self._descriptor, 0, end)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise NoSpaceError(
                    f"{self._directory}: no space for {size_bytes} bytes"
                ) from error
            self._fail("allocation", error)
        self._allocated = end

    def sync(self) -> None:
        """Make all writes durable (fdatasync: the size was preallocated)."""
        self._check_usable()
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._fail("sync", error)
        self._writer.synced = self._offset

    def trim_to(self, index: int, term: int) -> int:
        """The log now starts after (index, term); return how many segments were deleted.

        Only whole segments go, and only behind the one being written.
        """
        self._check_usable()
        self._make_room(_RECORD_BYTES_MAX)
        self._writer.add_position(RecordKind.START, index, term, ends_write=True)
        self._flush()
        deleted = 0
        first = self._first_indexes
        while len(first) > 1 and first[1][1] <= index:
            number, _ = first.pop(0)
            (self._directory / segment_name(number)).unlink()
            deleted += 1
        if deleted:
            sync_directory(self._directory)
        return deleted

    def _encode(self, write: LogWrite) -> None:
        """Encode one write; the flag on its last record makes it all or nothing."""
        writer = self._writer
        entries = write.entries
        hard_state = write.hard_state
        if write.reset_to is not None:
            is_all = hard_state is None and not entries
            writer.add_position(RecordKind.RESET, *write.reset_to, ends_write=is_all)
            self._last = write.reset_to
        if hard_state is not None:
            writer.add_hard_state(hard_state, ends_write=not entries)
            self._hard_state = hard_state
        if entries:
            self._check_no_gap(entries[0])
            last = entries[-1]
            for entry in entries:
                writer.add_entry(entry, ends_write=entry is last)
            self._last = (last.index, last.term)

    def _check_no_gap(self, first: Entry) -> None:
        if first.index > self._last[0] + 1:
            raise StorageError(f"entry {first.index} leaves a gap after {self._last[0]}")

    def _flush(self) -> None:
        data = self._writer.take()
        if not data:
            return
        try:
            write_fully(self._descriptor, data)
        except OSError as error:
            self._fail("write", error)
        self._offset += len(data)

    def _roll(self) -> None:
        """Go on in a new segment; a small one, when the disk has no room for a whole one."""
        previous = self._descriptor
        for size_bytes in (self._segment_bytes, *_SMALL_SEGMENTS_BYTES):
            try:
                self._begin_segment(self._number + 1, min(size_bytes, self._segment_bytes))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    self._fail("new segment", error)
                continue
            os.close(previous)
            return
        raise NoSpaceError(f"{self._directory}: no space for a new segment")

    def _begin_segment(self, number: int, size_bytes: int) -> None:
        writer = RecordWriter()
        writer.add_head(
            SegmentHead(LOG_FORMAT, self._metadata.cluster_id, self._metadata.member_id, number)
        )
        writer.add_position(RecordKind.START, *self._last, ends_write=False)
        writer.add_hard_state(self._hard_state, ends_write=True)
        first = writer.take()
        self._descriptor = create_segment(self._directory, number, size_bytes, first)
        writer.synced = len(first)
        self._writer = writer
        self._number = number
        self._offset = len(first)
        self._allocated = max(size_bytes, len(first))
        self._first_indexes.append((number, self._last[0]))

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise StorageError(f"{self._directory}: unusable since: {self._failed}")
        if self._descriptor < 0:
            raise StorageError(f"{self._directory}: closed")

    def _fail(self, action: str, error: OSError) -> None:
        self._failed = f"{action} failed: {error}"
        raise StorageError(f"{self._directory}: {self._failed}") from error


def _bytes_at_most(write: LogWrite) -> int:
    data = sum(len(entry.data) for entry in write.entries)
    return data + (len(write.entries) + 2) * _RECORD_BYTES_MAX


def found_log(directory: Path, metadata: Metadata, first: LogWrite) -> None:
    """Make a log that holds a first write from the moment it exists, durably.

    A log without its first entries would be that of a member which knows no cluster: it is made
    under another name, and gets its own when all of it is on disk. The parent directory must exist.

    Raises:
        StorageError: there is a log already.
    """
    if directory.is_dir() and list_segments(directory):
        raise StorageError(f"{directory}: there is a log already")
    unfinished = directory.with_name(f"{directory.name}{_UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    wal = Wal.create(unfinished, metadata)
    wal.write([first])
    wal.sync()
    wal.close()
    if directory.is_dir():  # empty: an operator made it, perhaps a mount point's
        for path in unfinished.iterdir():
            path.rename(directory / path.name)
        unfinished.rmdir()
        sync_directory(directory)
    else:
        unfinished.rename(directory)
    sync_directory(directory.parent)


def read_log(
    directory: Path,
) -> tuple[WalContents, list[SegmentContents], list[tuple[int, int]]]:
    """Read a log without changing it; for opening and for offline tools.

    Returns the contents, the segments (records of all but the last are dropped after replay),
    and (segment number, last index before it) per segment.
    """
    paths = list_segments(directory) if directory.is_dir() else []
    if not paths:
        raise StorageError(f"{directory}: there is no log")
    contents: WalContents | None = None
    segments: list[SegmentContents] = []
    first_indexes: list[tuple[int, int]] = []
    for path in paths:
        segment = read_segment(path, is_last=path == paths[-1])
        head = segment.head
        if head.log_format > LOG_FORMAT:
            raise StorageError(f"{path}: format {head.log_format} is newer than {LOG_FORMAT}")
        metadata = Metadata(head.cluster_id, head.member_id)
        if contents is None:
            contents = WalContents(metadata)
        if contents.metadata != metadata:
            raise Corruption(str(path), 0, "segment belongs to another member")
        _replay_segment(contents, path, segment)
        segments.append(segment)
        before = decode_position(segment.records[1].body)[0]
        first_indexes.append((head.number, before))
        contents.repaired_bytes = segment.torn_bytes
    assert contents is not None
    return contents, segments, first_indexes


def _replay_segment(contents: WalContents, path: Path, segment: SegmentContents) -> None:
    offset = 0
    is_first = not contents.entries and contents.start_index == 0
    for position, record in enumerate(segment.records):
        # The START that opens a later segment only repeats where the previous one ended.
        if position != 1 or is_first:
            try:
                contents.replay(record)
            except ValueError as error:
                raise Corruption(str(path), offset, str(error)) from error
        offset = record.end


def _take_lock(directory: Path) -> int:
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise StorageError(f"{directory}: there is no log") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LogInUse(str(directory)) from error
    return descriptor
