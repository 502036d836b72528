"""Snapshots for clients: written by a process of their own, then read from its file."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etcdwire.errors import ApiError, Code
from raftkv.api.host import SnapshotSource
from raftkv.server.data_dir import paths
from raftkv.server.large_files import let_go, remove
from raftkv.server.snapshots import INCOMING_KEPT_S, INCOMING_PREFIX, SPOOL_PREFIX
from raftkv.server.writers import WriterError

if TYPE_CHECKING:
    from raftkv.server.driver import Driver

PREFIX: Final = "export-"
CHUNK_BYTES: Final = 64 << 10
_LOG: Final = logging.getLogger("raftkv.snapshots")
Deliver = Callable[[SnapshotSource | ApiError], None]


class FileSnapshot:
    """A finished snapshot being read (``api.host.SnapshotSource``): the database, then its hash.

    The file has no name any more: whatever becomes of us, it leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        path.unlink()
        self._digest = hashlib.sha256()
        self._has_ended = False
        self.size_bytes = os.fstat(self._file.fileno()).st_size + self._digest.digest_size

    def next_chunk(self) -> bytes | None:
        """The next piece, None at the end."""
        if self._has_ended:
            return None
        piece = self._file.read(CHUNK_BYTES)
        if piece:
            self._digest.update(piece)
            return piece
        self._has_ended = True
        return self._digest.digest()

    def close(self) -> None:
        """Let go of the file."""
        let_go(self._file.close)


class Exports:
    """All exports under way; one is written at a time."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._turn = asyncio.Semaphore(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0

    def start(self, deliver: Deliver) -> None:
        """Write what the backend holds now, and hand it over."""
        task = self._driver.loop.create_task(self._run(deliver))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, deliver: Deliver) -> None:
        async with self._turn:
            self._number += 1
            member = paths(self._driver.config)[0]
            target = member / f"{PREFIX}{os.getpid()}-{self._number}"
            found: SnapshotSource | ApiError
            try:
                await self._driver.traffic.writers.run("export", member / "store", target)
                found = FileSnapshot(target)
            except (OSError, WriterError) as error:
                found = ApiError(Code.UNAVAILABLE, f"raftkv: cannot write a snapshot: {error}")
            finally:
                remove(target)
                self._driver.environment.clear_dead_readers()
        if isinstance(found, ApiError):
            _LOG.warning("%s", found)
        deliver(found)

    def close(self) -> None:
        """Stop what is being written."""
        for task in self._tasks:
            task.cancel()


def remove_leftovers(member: Path) -> None:
    """Delete what an earlier run could not; what came of a snapshot may be continued for a while."""
    for pattern in (f"{PREFIX}*", f"{SPOOL_PREFIX}*"):
        for path in member.glob(pattern):
            path.unlink(missing_ok=True)
    for path in member.glob(f"{INCOMING_PREFIX}*"):
        if path.stat().st_mtime < time.time() - INCOMING_KEPT_S:
            path.unlink(missing_ok=True)
