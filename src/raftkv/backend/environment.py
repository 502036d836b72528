"""One LMDB environment: opening, write transactions, read views.

Durability: ``sync`` stays on, so a commit that returned is on disk whole; ``writemap`` stays off,
because with it a power cut can tear the file. One thread owns the write transaction; read views
belong to the loop.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from raftkv.backend import schema
from raftkv.backend.errors import CorruptionError, NoSpaceError, StorageError
from raftkv.backend.schema import Table

MAP_BYTES: Final = 256 << 30
"""Address space, not memory: LMDB never grows past the quota that the store enforces."""
READERS_MAX: Final = 64
NEARLY_FULL_BYTES: Final = 4 << 20

if TYPE_CHECKING:
    from lmdb import _Database  # a name of the stub only

RowWrite = tuple[Table, bytes, bytes | None]
"""(table, key, value); a value of None deletes."""


class Environment:
    """An open backend directory."""

    def __init__(self, directory: Path, *, readonly: bool = False) -> None:
        """Open or create.

        Raises:
            StorageError: unreadable, in use in an incompatible way, or of a newer format.
        """
        self.directory = directory
        self._write: lmdb.Transaction | None = None
        try:
            if not readonly:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._env = lmdb.open(
                os.fspath(directory),
                map_size=MAP_BYTES,
                max_dbs=len(Table),
                max_readers=READERS_MAX,
                metasync=False,
                readahead=False,
                readonly=readonly,
                mode=0o600,
            )
            self._tables = {Table.META: self._env.open_db(b"meta", create=not readonly)}
            self._check_format(readonly=readonly)  # before anything is created
            self._open_tables(create=not readonly)
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"cannot open backend {directory}: {error}") from error

    def _open_tables(self, *, create: bool) -> None:
        """An older format has fewer tables; a directory that is only read stays so."""
        for table, name in schema.TABLE_NAMES.items():
            with contextlib.suppress(lmdb.NotFoundError):
                self._tables[table] = self._env.open_db(name, create=create)

    def _check_format(self, *, readonly: bool) -> None:
        with self._env.begin() as txn:
            raw = txn.get(schema.META_FORMAT, db=self._tables[Table.META])
        found = schema.decode_number(raw)
        if found > schema.FORMAT_VERSION:
            raise StorageError(
                f"backend {self.directory} has format {found}, this version reads up to "
                f"{schema.FORMAT_VERSION}: start the newer version again",
            )
        if found < schema.FORMAT_VERSION and not readonly:
            number = schema.encode_number(schema.FORMAT_VERSION)
            self.write_rows([(Table.META, schema.META_FORMAT, number)])
            self.commit()

    def write_rows(self, rows: Iterable[RowWrite]) -> None:
        """Put rows into the open write transaction (begun on demand). Writer thread only."""
        try:
            if self._write is None:
                self._write = self._env.begin(write=True)
            write = self._write
            for table, key, value in rows:
                if value is None:
                    write.delete(key, db=self._tables[table])
                else:
                    write.put(key, value, db=self._tables[table])
        except lmdb.Error as error:
            raise self._give_up("write", error) from error

    def append_rows(self, table: Table, rows: list[tuple[bytes, bytes]]) -> None:
        """Put rows whose keys are larger than all before: the cheap path of new revisions."""
        try:
            if self._write is None:
                self._write = self._env.begin(write=True)
            with self._write.cursor(self._tables[table]) as cursor:
                cursor.putmulti(rows, append=True)
        except lmdb.Error as error:
            raise self._give_up("write", error) from error

    def _give_up(self, action: str, error: lmdb.Error) -> StorageError:
        """Abort the transaction, if it is still there; the error to be raised."""
        write, self._write = self._write, None
        if write is not None:
            with contextlib.suppress(lmdb.Error):
                write.abort()
        kind = NoSpaceError if self._is_want_of_space(error) else StorageError
        return kind(f"backend {action} failed: {error}")

    def _is_want_of_space(self, error: lmdb.Error) -> bool:
        """Whether the disk is full, rather than broken.

        LMDB calls a short write an input/output error, before it has touched its meta pages: the
        transaction is gone and nothing else. So where next to no space is left, that is the cause;
        the rows are written again, every page of them, and synced anew.
        """
        if isinstance(error, lmdb.DiskError):
            return True
        found = os.statvfs(self.directory)
        free_bytes = found.f_bavail * found.f_frsize
        return os.strerror(errno.EIO) in str(error) and free_bytes < NEARLY_FULL_BYTES

    def rows_after(
        self, table: Table, after: bytes, rows_max: int, bytes_max: int
    ) -> list[tuple[bytes, bytes]]:
        """Rows behind a key, uncommitted ones included. Writer thread only."""
        found: list[tuple[bytes, bytes]] = []
        size = 0
        try:
            txn = self._write or self._env.begin()
            with txn.cursor(self._tables[table]) as cursor:
                if after:
                    there = cursor.set_range(after) and (cursor.key() != after or cursor.next())
                else:
                    there = cursor.first()
                while there and len(found) < rows_max and size < bytes_max:
                    key, value = cursor.item()
                    found.append((bytes(key), bytes(value)))
                    size += len(key) + len(value)
                    there = cursor.next()
            if txn is not self._write:
                txn.abort()
        except lmdb.Error as error:
            raise StorageError(f"backend read failed: {error}") from error
        return found

    def commit(self) -> None:
        """Commit and sync what was written. Writer thread only."""
        write, self._write = self._write, None
        if write is None:
            return
        try:
            write.commit()
            self._env.sync(True)  # metasync is off: this makes the meta page durable too
        except lmdb.Error as error:
            raise self._give_up("commit", error) from error

    def view(self) -> View:
        """Open a read view of what is committed now."""
        return View(self._env, self._tables)

    def size_bytes(self) -> int:
        """Size of the data file."""
        try:
            return (self.directory / "data.mdb").stat().st_size
        except OSError:
            return 0

    def used_bytes(self) -> int:
        """Bytes of pages in use by the tables: what deletion and compaction give back."""
        stat = self._env.stat()
        pages = 0
        with self._env.begin() as txn:
            for table in self._tables.values():
                row = txn.stat(table)
                pages += row["branch_pages"] + row["leaf_pages"] + row["overflow_pages"]
        return int(pages * stat["psize"])

    def copy_to(self, directory: Path) -> None:
        """Write a compact copy of what is committed; another process may be writing meanwhile.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            self._env.copy(os.fspath(directory), compact=True)
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"cannot copy backend to {directory}: {error}") from error

    def clear_dead_readers(self) -> None:
        """Free the pages that a process which was killed while reading still pins."""
        self._env.reader_check()

    def close(self) -> None:
        """Abort what is uncommitted and close."""
        if self._write is not None:
            self._write.abort()
            self._write = None
        self._env.close()


class View:
    """A consistent view of all tables; renewed after each commit, so that pages can be reused."""

    __slots__ = ("_env", "_tables", "_txn")

    def __init__(self, env: lmdb.Environment, tables: dict[Table, _Database]) -> None:
        self._env = env
        self._txn = env.begin(buffers=False)
        self._tables = tables

    def renew(self) -> None:
        """See what is committed by now."""
        self._txn.abort()
        self._txn = self._env.begin(buffers=False)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """One row."""
        if table not in self._tables:
            return None
        value: bytes | None = self._txn.get(key, db=self._tables[table])
        return value

    def get_many(self, table: Table, keys: list[bytes]) -> list[bytes]:
        """Several rows in the keys' order; those that are not there are left out."""
        if table not in self._tables:
            return []
        with self._txn.cursor(self._tables[table]) as cursor:
            return [value for _, value in cursor.getmulti(keys)]

    def number(self, name: bytes) -> int:
        """A number of the ``meta`` table, 0 when absent."""
        return schema.decode_number(self.get(Table.META, name))

    def scan(
        self,
        table: Table,
        start: bytes = b"",
        end: bytes | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with start <= key < end, in order."""
        if table not in self._tables:
            return
        with self._txn.cursor(self._tables[table]) as cursor:
            if not cursor.set_range(start):
                return
            if end is None:
                yield from cursor
                return
            for key, value in cursor:
                if key >= end:
                    return
                yield key, value

    def count(self, table: Table) -> int:
        """Number of rows."""
        entries: int = self._txn.stat(self._tables[table])["entries"]
        return entries

    def close(self) -> None:
        """Release the pages that this view pins."""
        self._txn.abort()


__all__ = ["CorruptionError", "Environment", "RowWrite", "StorageError", "View"]
