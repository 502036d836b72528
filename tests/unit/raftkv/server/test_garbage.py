"""Memory is given back without the collector ever looking through the whole store."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from urllib.request import urlopen

import pytest

from kvclient.aio import AsyncClient
from raftkv.api import plain
from raftkv.server.connection import Codec, Connection, Connections
from raftkv.server.guard import Guard
from raftkv.server.http1 import Http1Codec
from raftkv.server.http2_codec import Http2Codec
from tests.kit.one_member import OneMember

_GROWING = """
import gc
from raftkv.server.garbage import start_collecting

start_collecting()
looked_at = []
gc.callbacks.append(lambda phase, about: looked_at.append(len(gc.get_objects(generation=2)))
                    if phase == "start" and about["generation"] == 2 else None)
kept = [[number] for number in range(500_000)]
assert len(looked_at) >= 3, looked_at
assert max(looked_at) < 120_000, looked_at
assert gc.get_freeze_count() > 300_000
cycles = 0
def count(phase, about):
    global cycles
    cycles += about["collected"]
gc.callbacks.append(count)
for _ in range(20_000):
    round_about = []
    round_about.append(round_about)
assert cycles >= 10_000, cycles
"""


def test_a_growing_store_is_not_looked_through_again_and_again() -> None:
    subprocess.run([sys.executable, "-c", _GROWING], check=True)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_closed_connections_are_forgotten_without_the_collector() -> None:
    seen: list[weakref.ref[object]] = []
    asyncio.run(_serve_and_close(seen))
    assert len(seen) == 6
    assert [found for one in seen if (found := one()) is not None] == []


async def _serve_and_close(seen: list[weakref.ref[object]]) -> None:
    host, loop = OneMember(), asyncio.get_running_loop()
    is_over = asyncio.Event()

    def make_codec(connection: Connection, is_http2: bool) -> Codec:
        serve = partial(plain.handle, host)
        codec: Http1Codec | Http2Codec = (
            Http2Codec(connection, host, serve, grpc=True)
            if is_http2
            else Http1Codec(connection, host.limits, serve)
        )
        seen.extend((weakref.ref(connection), weakref.ref(codec)))
        return codec

    group = Connections(loop, make_codec, Guard())
    group.on_empty = is_over.set
    server = await loop.create_server(lambda: Connection(group), "127.0.0.1", 0)
    host_name, port = server.sockets[0].getsockname()
    url = f"http://{host_name}:{port}"
    async with AsyncClient([url]) as client:
        await client.put(b"key", b"value")
        async with aclosing(client.watch(b"key", start_revision=1)) as watch:
            watching = asyncio.ensure_future(anext(watch))
            while not watching.done():
                await asyncio.sleep(0)
                host.run_later()
            assert watching.result().events
    await asyncio.wait_for(is_over.wait(), 10)
    for _ in range(2):
        is_over.clear()
        asking = threading.Thread(target=lambda: urlopen(f"{url}/version", timeout=10).close())
        asking.start()
        await asyncio.wait_for(is_over.wait(), 10)
        asking.join()
    server.close()
    await server.wait_closed()
