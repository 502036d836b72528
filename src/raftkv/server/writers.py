"""Running ``python -m raftkv.snapshot``: the work on snapshots that the loop must not wait for."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path


class WriterError(Exception):
    """The process failed; says what it complained of."""


async def run_writer(verb: str, source: Path, target: Path) -> bytes:
    """Run one, and return what it printed; it ends with us.

    Raises:
        WriterError: it could not do its work.
        OSError: it could not be started.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "raftkv.snapshot",
        verb,
        os.fspath(source),
        os.fspath(target),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        raise WriterError(lines[-1] if lines else f"the writer ended with {process.returncode}")
    return printed
