"""Defragmentation: a second environment that becomes a copy of the first while that is written to.

Rows are copied in slices, table by table, in key order. A write that comes meanwhile also goes to
the copy if its row has been copied already; if not, the copying will meet it later. So at every
moment the copy holds exactly the original's rows up to the cursor, and in the end all of them.
Appending in order fills its pages, which is what gives the space back.

Everything here runs on the thread that owns the original's write transaction.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from raftkv.backend.environment import Environment, RowWrite
from raftkv.backend.schema import Table

SLICE_ROWS: Final = 500
SLICE_BYTES: Final = 512 << 10
COMMIT_EVERY_BYTES: Final = 4 << 20
"""Of the copy: keeps its transaction, and with it memory, small."""


class Twin:
    """The copy under way."""

    def __init__(self, original: Environment, directory: Path) -> None:
        """Begin in an empty directory; what an earlier attempt left there goes.

        Raises:
            StorageError: the directory cannot be made.
        """
        shutil.rmtree(directory, ignore_errors=True)
        self.directory = directory
        self._original = original
        self._environment = Environment(directory)
        self._tables = list(Table)
        self._cursor = b""
        self._uncommitted_bytes = 0

    @property
    def is_complete(self) -> bool:
        """Whether every row has been copied; writes are followed until the copy takes over."""
        return not self._tables

    def copy_slice(self) -> int:
        """Copy some more rows; how many bytes they were.

        Raises:
            StorageError: the disk refused.
        """
        if not self._tables:
            return 0
        table = self._tables[0]
        rows = self._original.rows_after(table, self._cursor, SLICE_ROWS, SLICE_BYTES)
        if rows:
            if table is Table.META:  # the new environment has its first rows already
                self._environment.write_rows((table, key, value) for key, value in rows)
            else:
                self._environment.append_rows(table, rows)
            self._cursor = rows[-1][0]
            size = sum(len(key) + len(value) for key, value in rows)
            self._uncommitted_bytes += size
            if self._uncommitted_bytes >= COMMIT_EVERY_BYTES:
                self._uncommitted_bytes = 0
                self._environment.commit()
            return size
        del self._tables[0]
        self._cursor = b""
        return 0

    def _is_copied(self, table: Table, key: bytes) -> bool:
        if table not in self._tables:
            return True
        return table is self._tables[0] and key <= self._cursor

    def follow_rows(self, rows: list[tuple[bytes, bytes]]) -> None:
        """New revisions were appended to the original."""
        if rows and self._is_copied(Table.ROWS, rows[0][0]):
            self._environment.append_rows(Table.ROWS, rows)

    def follow(self, rows: list[RowWrite]) -> None:
        """These rows of the original were written or deleted."""
        self._environment.write_rows([row for row in rows if self._is_copied(row[0], row[1])])

    def commit(self) -> None:
        """Make the copy durable: together with the original's commit it is the same state."""
        self._environment.commit()

    def close(self) -> None:
        """Close the copy; its files stay."""
        self._environment.close()

    def abandon(self) -> None:
        """Give up: the original goes on as if nothing had been."""
        self._environment.close()
        shutil.rmtree(self.directory, ignore_errors=True)
