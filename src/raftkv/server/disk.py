"""The two threads that wait for disks, so that the loop never does.

``LogThread`` writes and syncs the log: whatever gathered while one sync ran is the next group.
``FlushThread`` owns LMDB's write transaction. Both are fed by a deque and woken by an eventfd;
both report through one eventfd that the loop watches. A failure in either ends the process: what
reached the disk is unknown then, and only a restart can tell.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from raftkv.api.figures import Histogram
from raftkv.backend import schema
from raftkv.backend.environment import Environment, RowWrite
from raftkv.backend.errors import NoSpaceError as BackendNoSpaceError
from raftkv.backend.schema import Table
from raftkv.backend.twin import Twin
from raftkv.log.errors import NoSpaceError
from raftkv.log.segment import sync_directory
from raftkv.log.wal import Wal
from raftkv.replica.effects import Persist
from raftkv.replica.machine import Machine
from raftkv.server.pace import Pace
from raftkv.store.tree_v2 import EventV2
from raftkv.values import Index
from raftkv.watch.history_v2 import encode_rows

_LOG: Final = logging.getLogger("raftkv.disk")
COPY_PAUSE_MIN_S: Final = 0.001
FLUSH_SLICE_ROWS: Final = 256
"""Rows put per slice; between slices the loop's thread gets its turn."""


class _Worker(threading.Thread):
    """A thread with an inbox."""

    def __init__(self, name: str, notify_fd: int) -> None:
        super().__init__(name=name, daemon=True)
        self._wake_fd = os.eventfd(0)
        self._notify_fd = notify_fd
        self._is_stopping = False
        self.failure: Exception | None = None

    def wake(self) -> None:
        """There is work."""
        os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """Finish what is queued, then end."""
        self._is_stopping = True
        self.wake()
        self.join()

    def run(self) -> None:
        """Work until stopped or until the disk fails."""
        try:
            while True:
                os.eventfd_read(self._wake_fd)
                self.work()
                if self._is_stopping:
                    self.work()
                    return
        except Exception as error:  # noqa: BLE001 - handed to the loop, which ends the process
            self.failure = error
            os.eventfd_write(self._notify_fd, 1)

    def work(self) -> None:
        """Do everything that is queued."""
        raise NotImplementedError


@dataclass(slots=True)
class _Trim:
    index: Index
    term: int


INLINE_BYTES_MAX: Final = 8 << 10
"""Larger writes go to the thread: their batch mates gather meanwhile."""
INLINE_SYNC_MAX_S: Final = 0.002
INLINE_PENALTY_SYNCS: Final = 64
"""After one slow sync so many go through the thread before the loop dares again."""


class LogThread(_Worker):
    """Group commit: write all that is queued, sync once, report the last sequence.

    A small write that finds the thread idle and the disk fast is synced by the caller instead: for
    one client at a time the two hand-overs between threads cost more than the sync (ADR 10).
    """

    def __init__(
        self, wal: Wal, notify_fd: int, durations: Histogram, latest_s: deque[float]
    ) -> None:
        super().__init__("raftkv-log", notify_fd)
        self._wal = wal
        self._queue: deque[Persist | _Trim] = deque()
        self.persisted = 0
        """Sequence up to which everything is on disk."""
        self._durations = durations
        self._latest_s = latest_s
        self.is_out_of_space = False
        """Writes wait for space; ``wake`` lets them try again."""
        self._busy = threading.Lock()
        self._penalty = 0

    def write_inline(self, writes: Sequence[Persist]) -> bool:
        """Write and sync here and now, if that is cheap; whether it was done.

        Raises:
            StorageError: the disk refused; the process must end.
        """
        if self._queue or self._penalty:
            return False
        if sum(len(entry.data) for write in writes for entry in write.entries) > INLINE_BYTES_MAX:
            return False
        if not self._busy.acquire(blocking=False):
            return False
        try:
            self._write(writes)
        except NoSpaceError:
            return False  # the thread waits for space, the loop does not
        finally:
            self._busy.release()
        return True

    def _write(self, writes: Sequence[Persist]) -> None:
        self._wal.write(writes)
        if any(write.must_sync for write in writes):
            started = time.monotonic()
            self._wal.sync()
            elapsed = time.monotonic() - started
            self._durations.observe(elapsed)
            self._latest_s.append(elapsed)
            if elapsed > INLINE_SYNC_MAX_S:
                self._penalty = INLINE_PENALTY_SYNCS
            elif self._penalty:
                self._penalty -= 1
        self.persisted = writes[-1].sequence

    def submit(self, writes: Sequence[Persist]) -> None:
        """Write these, in order."""
        self._queue.extend(writes)
        self.wake()

    def trim(self, index: Index, term: int) -> None:
        """Drop the log up to an index."""
        self._queue.append(_Trim(index, term))
        self.wake()

    def work(self) -> None:
        """See ``_Worker.work``."""
        queue = self._queue
        with self._busy:
            while queue:
                writes: list[Persist] = []
                trim: _Trim | None = None
                while queue:
                    item = queue.popleft()
                    if isinstance(item, _Trim):
                        trim = item
                        break
                    writes.append(item)
                try:
                    if writes:
                        self._write(writes)
                        os.eventfd_write(self._notify_fd, 1)
                        writes = []
                    if trim is not None:
                        self._wal.trim_to(trim.index, trim.term)
                except NoSpaceError:
                    queue.extendleft(reversed([*writes, *((trim,) if trim else ())]))
                    self.is_out_of_space = True
                    return
            self.is_out_of_space = False


@dataclass(slots=True)
class FlushBatch:
    """Rows for the backend; with ``done`` it ends a transaction."""

    rows: list[tuple[bytes, bytes]] = field(default_factory=list)
    """New revisions, ascending."""
    others: list[RowWrite] = field(default_factory=list)
    deleted: Sequence[int] = ()
    """Row ids that go, after the rows above, among which they may be. Numbers, because a batch
    lives until the commit: thousands of tuples would wake Python's collector of cycles.
    """
    events: Sequence[EventV2] = ()
    """Of v2; their rows are made by the thread, because it takes milliseconds."""
    done: Callable[[], None] | None = None
    """Called on the loop once the transaction is durable."""


class FlushThread(_Worker):
    """The one writer of the backend, and of its copy while it is defragmented."""

    def __init__(
        self,
        environment: Environment,
        notify_fd: int,
        durations: Histogram,
        renamed_in: Path | None = None,
    ) -> None:
        """Not started; ``renamed_in`` is synced before the first commit: the store came to its
        place by a name there.
        """
        super().__init__("raftkv-flush", notify_fd)
        self._renamed_in = renamed_in
        self._environment = environment
        self._queue: deque[FlushBatch] = deque()
        self._durations = durations
        self._uncommitted: list[FlushBatch] = []
        """Written, to be written again if the transaction does not end well."""
        self.is_out_of_space = False
        """Rows wait for space; ``wake`` lets them try again."""
        self.finished: deque[Callable[[], None]] = deque()
        self._copy_to: tuple[Path, Pace, Callable[[bool], None]] | None = None
        self._twin: Twin | None = None
        self._is_twin_unwanted = False

    def copy_to(self, directory: Path, pace: Pace, done: Callable[[bool], None]) -> None:
        """Begin a copy without free pages; ``done`` is called on the loop with whether it is
        complete.
        """
        self._copy_to = (directory, pace, done)
        self.wake()

    def abandon_twin(self) -> None:
        """Give up a copy that is under way."""
        self._is_twin_unwanted = True
        self.wake()

    def close_twin(self) -> None:
        """Close the complete copy; only after ``stop``."""
        if self._twin is not None:
            self._twin.close()

    @property
    def backlog(self) -> int:
        """Batches that are not begun."""
        return len(self._queue)

    def submit(self, batch: FlushBatch) -> None:
        """Write these rows."""
        self._queue.append(batch)
        self.wake()

    def work(self) -> None:
        """See ``_Worker.work``."""
        while self._queue or self._has_to_copy():
            if not self._queue:
                self._copy()
                continue
            batch = self._queue.popleft()
            self._uncommitted.append(batch)
            try:
                self._write(batch)
            except BackendNoSpaceError:
                self._lose_twin()  # what it followed will be written again
                self._queue.extendleft(reversed(self._uncommitted))
                self._uncommitted.clear()
                self.is_out_of_space = True
                return
        self.is_out_of_space = False

    def _write(self, batch: FlushBatch) -> None:
        rows, twin = batch.rows, self._twin
        for start in range(0, len(rows), FLUSH_SLICE_ROWS):
            slice_rows = rows[start : start + FLUSH_SLICE_ROWS]
            self._environment.append_rows(Table.ROWS, slice_rows)
            if twin is not None:
                twin.follow_rows(slice_rows)
        others = [*batch.others, *_event_rows(batch.events)]
        others += [(Table.ROWS, row_id.to_bytes(8, "big"), None) for row_id in batch.deleted]
        if others:
            self._environment.write_rows(others)
            if twin is not None:
                twin.follow(others)
        if batch.done is not None:
            if self._renamed_in is not None:
                sync_directory(self._renamed_in)
                self._renamed_in = None
            started = time.monotonic()
            self._environment.commit()
            self._durations.observe(time.monotonic() - started)
            if twin is not None and twin.is_complete:
                twin.commit()
            self._uncommitted.clear()
            self._report(batch.done)

    def _report(self, done: Callable[[], None]) -> None:
        self.finished.append(done)
        os.eventfd_write(self._notify_fd, 1)

    def _has_to_copy(self) -> bool:
        if self._is_twin_unwanted:
            self._lose_twin()
        return self._copy_to is not None and not self.has_complete_twin

    @property
    def has_complete_twin(self) -> bool:
        """Whether there is a copy that has every row."""
        return self._twin is not None and self._twin.is_complete

    def _lose_twin(self) -> None:
        """Give up the copy; who asked for it hears of it."""
        copy_to, self._copy_to = self._copy_to, None
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.abandon()
        if copy_to is not None:
            self._report(lambda: copy_to[2](False))

    def _copy(self) -> None:
        """One slice, then the processor and the disk are somebody else's for a moment."""
        assert self._copy_to is not None
        directory, pace, done = self._copy_to
        began = time.monotonic()
        try:
            if self._twin is None:
                self._twin = Twin(self._environment, directory)
            size = self._twin.copy_slice()
        except BackendNoSpaceError:
            self._lose_twin()
            return
        if self._twin.is_complete:
            self._report(lambda: done(True))
        until = began + size / pace.read_bytes_per_s(began)
        time.sleep(max(COPY_PAUSE_MIN_S, until - time.monotonic()))


def meta_rows(applied: int, term: int, state: bytes, machine: Machine) -> list[RowWrite]:
    """The ``meta`` rows that belong to one applied index."""
    number = schema.encode_number
    kv = machine.kv
    return [
        (Table.META, schema.META_APPLIED_INDEX, number(applied)),
        (Table.META, schema.META_APPLIED_TERM, number(term)),
        (Table.META, schema.META_REPLICA_STATE, state),
        (Table.META, schema.META_REVISION, number(kv.revision)),
        (Table.META, schema.META_COMPACT_REVISION, number(kv.compact_revision)),
        (Table.META, schema.META_V2_INDEX, number(machine.tree.index)),
        (Table.META, schema.META_CHAIN, number(machine.chain) + number(machine.chain_origin)),
    ]


def _event_rows(events: Sequence[EventV2]) -> list[RowWrite]:
    """The latest v2 events, so that clients may ask for them after a restart."""
    return [
        (Table.META, schema.META_V2_EVENTS + place.to_bytes(4, "big"), row)
        for place, row in encode_rows(events)
    ]
