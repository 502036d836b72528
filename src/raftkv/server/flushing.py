"""From the state in memory to the backend: flushes, forgetting, snapshots' views, defragmentation.

Rows go to the flush thread in slices; every ``COMMIT_EVERY_S`` a transaction ends, together with
the applied index that it belongs to. What must be read from the backend as one state (a snapshot, a
checksum) asks for a commit and gets a view of it.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crc32c import crc32c

from etcdwire.errors import ApiError, Code, UnavailableError
from raftkv.api.host import SnapshotSource
from raftkv.backend.environment import Environment, RowWrite
from raftkv.backend.schema import Table
from raftkv.replica.inputs import Synced
from raftkv.server.data_dir import StoreView, exchange_stores, paths
from raftkv.server.disk import FlushBatch, FlushThread, meta_rows
from raftkv.server.large_files import let_go
from raftkv.server.pace import Pace, forget_steps
from raftkv.store.garbage_rows import GarbageRows
from raftkv.values import Index

if TYPE_CHECKING:
    from raftkv.server.driver import Driver

FLUSH_EVERY_S: Final = 0.01
"""How often it is looked whether there is enough to do."""
FLUSH_ROWS: Final = 128
"""So many rows, or a commit, are worth waking the flush thread; a node of v2 that is set again
meanwhile is written once.
"""
DELETED_PER_STEP: Final = 4
"""Deleting a row in the order of the rows is cheaper than finding that the index may forget it."""
GARBAGE_ROWS_MAX: Final = 1 << 20
"""Eight bytes for each are held; and one compaction after the other must not put off deletion."""
COMMIT_EVERY_S: Final = 0.3
"""The transaction ends this often; what is not in it is replayed from the log after a crash."""
HASH_SLICE_ROWS: Final = 1000
HASH_SLICE_BYTES: Final = 4 << 20
VIEW_RETRY_S: Final = 0.05
BUSY_BATCHES_PER_S: Final = 10
"""A defragmentation or a compaction has time as soon as anybody writes at all."""
COPY_BUSY_BYTES_PER_S: Final = 16 << 20
"""Its copy is written by a leader that serves clients; at twice the rate their p99 doubles."""
_LOG: Final = logging.getLogger("raftkv.flush")
_BUSY: Final = UnavailableError(Code.UNAVAILABLE, "etcdserver: defragmentation is under way")
_NO_ROOM: Final = UnavailableError(
    Code.RESOURCE_EXHAUSTED, "etcdserver: no room for the copy that defragmentation makes"
)
_INTERRUPTED: Final = UnavailableError(
    Code.UNAVAILABLE, "etcdserver: defragmentation was interrupted by a snapshot"
)


Deliver = Callable[[SnapshotSource | ApiError], None]


class Flushing:
    """The backend's side of one member."""

    def __init__(self, driver: Driver, notify_fd: int, applied: Index) -> None:
        self._driver = driver
        self._notify_fd = notify_fd
        self._durations = driver.figures.backend_commit
        self.thread = FlushThread(driver.environment, notify_fd, self._durations)
        self._flushing: deque[tuple[list[int], Index]] = deque()
        self._uncommitted_rows: list[int] = []
        self._garbage = GarbageRows()
        self._written_count = 0
        """Rows, when the timer last looked."""
        self._forget_pace = self._new_pace()
        self._committed_index = applied
        self._next_commit = 0.0
        self._when_forgotten: list[Callable[[], None]] = []
        self._when_committed: list[Callable[[], None]] = []
        self._defragmenting: Callable[[ApiError | None], None] | None = None
        self._is_swapping = False
        """Between the commit that both files have and the new file's opening nothing is flushed."""
        self._views_open = 0
        """Snapshots and checksums being read: they pin the present file."""
        self.used_bytes = driver.environment.used_bytes()
        """As of the last commit."""

    def start(self) -> None:
        """Start thread and timer."""
        self.thread.start()
        self._timer()

    def stop(self) -> None:
        """Write everything that is in memory, then end the thread."""
        self.thread.abandon_twin()
        self.flush(commit=True)
        self.thread.stop()

    def _timer(self) -> None:
        driver = self._driver
        if driver.is_stopping:
            return
        driver.loop.call_later(FLUSH_EVERY_S, self._timer)
        machine = driver.machine
        is_clean = not (self._garbage or machine.kv.has_garbage)
        now = driver.loop.time()
        commit = now >= self._next_commit or bool(self._when_committed)
        is_busy = self._forget_pace.is_busy(now)  # always asked: it judges since it was last asked
        deleted = [] if self._is_other_backend_coming else self._forget(is_busy=is_busy)
        if self._when_forgotten and is_clean:
            waiting, self._when_forgotten = self._when_forgotten, []
            self._when_committed += waiting
            commit = True
        if (
            machine.unflushed_count >= FLUSH_ROWS
            or (commit and machine.has_unflushed)
            or deleted
            or (commit and driver.replica.applied_index > self._committed_index)
            or self._when_committed
        ):
            self.flush(commit=commit, deleted=deleted)

    @property
    def _is_other_backend_coming(self) -> bool:
        """Nothing may go to the present one."""
        return self._driver.traffic.is_installing or self._is_swapping

    def _forget(self, *, is_busy: bool) -> list[int]:
        """One slice of what compactions left to do: in the index, or else the row ids to be
        deleted now.
        """
        kv, figures = self._driver.machine.kv, self._driver.figures
        before = self._written_count
        self._written_count = figures.puts + figures.deletes + self._driver.machine.unflushed_count
        written = max(self._written_count - before, 0)  # rows of v2 are counted until they go
        steps = forget_steps(self.thread.backlog, written, is_busy=is_busy)
        if not kv.may_forget or len(self._garbage) >= GARBAGE_ROWS_MAX:
            return self._garbage.take(steps * DELETED_PER_STEP)
        self._garbage.add(kv.forget_slice(steps))
        return []

    def flush(self, *, commit: bool, deleted: Sequence[int] = ()) -> None:
        """Hand rows to the flush thread; with ``commit`` they become durable as one state."""
        driver = self._driver
        if self._is_other_backend_coming:
            return
        machine = driver.machine
        unflushed = machine.take_unflushed()
        rows = [(change.row_id.to_bytes(8, "big"), change.row) for change in unflushed.rows]
        self._uncommitted_rows.extend(change.row_id for change in unflushed.rows)
        tombstones = sum(change.row_id & 1 for change in unflushed.rows)
        driver.figures.deletes += tombstones
        driver.figures.puts += len(rows) - tombstones
        others: list[RowWrite] = [
            (Table.V2, number.to_bytes(8, "big"), row) for number, row in unflushed.v2.items()
        ]
        others += unflushed.others
        batch = FlushBatch(rows, others, deleted)
        if commit:
            self._next_commit = driver.loop.time() + COMMIT_EVERY_S
            applied = driver.replica.applied_index
            state = driver.replica.encode_state()
            others += meta_rows(applied, driver.replica.applied_term, state, machine)
            batch.events = machine.history_v2.take_unsaved()
            self._committed_index = applied
            self._flushing.append((self._uncommitted_rows, applied))
            self._uncommitted_rows = []
            waiting, self._when_committed = self._when_committed, []
            batch.done = lambda: self._on_flushed(waiting)
        self.thread.submit(batch)

    def _on_flushed(self, waiting: list[Callable[[], None]]) -> None:
        driver = self._driver
        row_ids, index = self._flushing.popleft()
        driver.view.view.renew()
        driver.machine.kv.forget_flushed(row_ids)
        self.used_bytes = driver.environment.used_bytes()
        driver.feed(Synced(index))
        for done in waiting:
            done()

    # --- who waits --------------------------------------------------------------------------

    def read_files(self, begin: Callable[[Callable[[], None]], None]) -> None:
        """Once all that was applied when asked is committed, let another process read the files.

        ``begin`` gets what must be called when it has read them: until then they stay in place.
        """

        def start() -> None:
            self._views_open += 1
            begin(self._view_closed)

        self._when_committed.append(start)

    def export_snapshot(self, start: Callable[[Deliver], None], deliver: Deliver) -> None:
        """As ``read_files``, for what is handed over then."""

        def begin(release: Callable[[], None]) -> None:
            def delivered(found: SnapshotSource | ApiError) -> None:
                release()
                deliver(found)

            start(delivered)

        self.read_files(begin)

    def _view_closed(self) -> None:
        self._views_open -= 1

    def when_forgotten(self, done: Callable[[], None]) -> None:
        """Call this once everything that may be forgotten is gone, durably."""
        self._when_forgotten.append(done)

    def hash_backend(self, done: Callable[[int], None]) -> None:
        """A checksum of all replicated rows as of the next commit, in slices."""
        self._when_committed.append(lambda: self._hash_committed(done))

    def _hash_committed(self, done: Callable[[int], None]) -> None:
        view = self._driver.environment.view()
        self._views_open += 1
        rows = (
            bytes((table,)) + key + row
            for table in Table
            if table is not Table.META
            for key, row in view.scan(table)
        )

        def finished(crc: int) -> None:
            view.close()
            self._view_closed()
            done(crc)

        self._hash_slice(rows, 0, finished)

    def _hash_slice(self, rows: Iterator[bytes], crc: int, done: Callable[[int], None]) -> None:
        parts: list[bytes] = []
        size = 0
        for row in rows:
            parts.append(row)
            size += len(row)
            if len(parts) >= HASH_SLICE_ROWS or size >= HASH_SLICE_BYTES:
                crc = crc32c(b"".join(parts), crc)
                self._driver.call_later(0, partial(self._hash_slice, rows, crc, done))
                return
        done(crc32c(b"".join(parts), crc))

    # --- another backend --------------------------------------------------------------------

    def use_backend(self, environment: Environment, applied: Index) -> None:
        """Go on from an installed snapshot's backend, which the driver has opened."""
        self._uncommitted_rows = []
        self._garbage = GarbageRows()  # the installed state is forgotten from its beginning
        self._committed_index = applied
        self._restart_thread(environment)

    def _restart_thread(self, environment: Environment, renamed_in: Path | None = None) -> None:
        self.thread = FlushThread(environment, self._notify_fd, self._durations, renamed_in)
        self.thread.start()
        self.used_bytes = environment.used_bytes()

    def pause(self) -> None:
        """End the flush thread, so that the backend's files may be replaced."""
        self.thread.abandon_twin()
        self.thread.stop()
        self._flushing.clear()
        self._is_swapping = False
        done, self._defragmenting = self._defragmenting, None
        if done is not None:
            done(_INTERRUPTED)

    def defragment(self, done: Callable[[ApiError | None], None]) -> None:
        """Copy the backend without its free pages, follow its writes, and take the copy's place."""
        if self._defragmenting is not None or self._driver.traffic.is_installing:
            done(_BUSY)
            return
        self._defragmenting = done
        driver = self._driver
        directory = paths(driver.config)[0] / "store.defrag"
        self.thread.copy_to(directory, self._new_pace(), self._copied)

    def _new_pace(self) -> Pace:
        driver = self._driver
        return Pace(0, lambda: driver.applied_index, BUSY_BATCHES_PER_S, COPY_BUSY_BYTES_PER_S)

    def _copied(self, is_complete: bool) -> None:  # noqa: FBT001 - a callback
        """The copy is complete: commit both, and hold further flushes until it has taken over."""
        if self._defragmenting is None:
            return
        if not is_complete:
            done, self._defragmenting = self._defragmenting, None
            self._is_swapping = False
            done(_NO_ROOM)
            return
        if self._views_open:
            self._driver.call_later(VIEW_RETRY_S, self._copied_again)
            return
        self._when_committed.append(self._swap)
        self.flush(commit=True)
        self._is_swapping = True

    def _copied_again(self) -> None:
        self._copied(self.thread.has_complete_twin)

    def _swap(self) -> None:
        """The last commit is in both: put the copy in the original's place."""
        self._is_swapping = False
        done, self._defragmenting = self._defragmenting, None
        if done is None or not self.thread.has_complete_twin:
            self._defragmenting = done  # it was lost just now: ``_copied`` hears of it
            return
        driver = self._driver
        original = driver.environment
        before = original.size_bytes()
        self.thread.stop()
        self.thread.close_twin()
        driver.view.view.close()
        member = paths(driver.config)[0]
        exchange_stores(member, member / "store.defrag")
        environment = Environment(member / "store")
        driver.reopen(environment, StoreView(environment.view()))
        self._restart_thread(environment, member)

        def drop() -> None:  # some milliseconds for each gigabyte that was read
            original.close()
            shutil.rmtree(member / "store.old", ignore_errors=True)

        def drop_aside() -> None:  # not before the exchange is durable, by the first commit
            let_go(drop)

        self._when_committed.append(drop_aside)
        _LOG.info("defragmented: %d bytes before, %d after", before, environment.size_bytes())
        done(None)
