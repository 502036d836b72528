"""Running ``python -m raftkv.snapshot``: the work on snapshots that the loop must not wait for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path


class WriterError(Exception):
    """The process failed; says what it complained of."""


class Writers:
    """The processes that are at work."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopping = False

    async def run(self, verb: str, source: Path, target: Path) -> bytes:
        """Run one, and return what it printed.

        Raises:
            WriterError: it could not do its work.
            OSError: it could not be started.
        """
        loop = asyncio.get_running_loop()
        process = await loop.run_in_executor(None, self._start, verb, source, target)
        printed, complaint = await loop.run_in_executor(None, process.communicate)
        self._running.discard(process)
        if process.returncode:
            lines = complaint.decode("utf-8", "replace").strip().splitlines()
            raise WriterError(
                lines[-1] if lines else f"the writer ended with {process.returncode}"
            )
        return printed

    def _start(self, verb: str, source: Path, target: Path) -> subprocess.Popen[bytes]:
        """In a thread: unlike an event loop, Python's own way copies no page tables.

        For a member with a million keys that is 10 ms, and as much again for what it writes next.
        """
        process = subprocess.Popen(
            [sys.executable, "-m", "raftkv.snapshot", verb, os.fspath(source), os.fspath(target)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._running.add(process)
        if self._is_stopping:
            process.kill()
        return process

    def stop(self) -> None:
        """They end with us."""
        self._is_stopping = True
        for process in list(self._running):
            process.kill()
