"""Processes that work on snapshots: their complaints are told, and they end with us."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from raftkv.server.large_files import let_go
from raftkv.server.writers import WriterError, Writers


def test_what_a_writer_complains_of_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(WriterError, match=str(missing)):
        asyncio.run(Writers().run("unpack", missing, tmp_path / "store"))


@pytest.mark.parametrize("stops_first", [False, True])
def test_a_writer_ends_with_us(tmp_path: Path, *, stops_first: bool) -> None:
    endless = tmp_path / "endless"
    os.mkfifo(endless)  # nobody ever writes to it

    async def stop_while_it_reads() -> None:
        writers = Writers()
        if stops_first:
            writers.stop()
        work = asyncio.create_task(writers.run("unpack", endless, tmp_path / "store"))
        if not stops_first:
            # Opening it to write waits for the reader, and does not let it come to an end.
            opened.append(await asyncio.to_thread(os.open, endless, os.O_WRONLY))
            writers.stop()
        await work

    opened: list[int] = []
    with pytest.raises(WriterError, match="-9"):
        asyncio.run(stop_while_it_reads())
    for descriptor in opened:
        os.close(descriptor)


def test_large_files_end_in_another_thread() -> None:
    threads: list[int] = []

    async def close() -> None:
        let_go(lambda: threads.append(threading.get_ident()))
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(close())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
