"""Answers of one turn leave at its end."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from raftkv.server.connection import Connection, Connections
from raftkv.server.guard import Guard


class Flushed:
    """A connection that counts how often it was asked to write."""

    def __init__(self) -> None:
        self.count = 0

    def flush(self) -> None:
        self.count += 1


def test_what_a_turn_has_waits_for_no_other_turn_of_the_loop() -> None:
    asyncio.run(_write_in_turns())


async def _write_in_turns() -> None:
    loop = asyncio.get_running_loop()
    scheduled: list[Any] = []
    group = Connections(loop, cast(Any, None), Guard())
    loop.call_soon = lambda callback, *_, **__: scheduled.append(callback)  # type: ignore[method-assign,assignment]
    try:
        connection = Flushed()
        group.hold()
        group.touch(cast(Connection, connection))
        assert (connection.count, scheduled) == (0, [])
        group.flush()
        assert (connection.count, scheduled) == (1, [])
        group.touch(cast(Connection, connection))
        assert (connection.count, scheduled) == (1, [group.flush])
    finally:
        del loop.call_soon
    group.flush()
    assert connection.count == 2
