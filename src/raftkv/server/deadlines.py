"""``grpc-timeout``: when the calls of one connection must be answered.

A call that is answered is not looked for here: its entry is dropped when its time comes, or when
such entries are many. Stream ids are never used twice on a connection, so none is mistaken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from typing import Final

ENTRIES_MIN: Final = 1024
"""Below so many nothing is swept."""


class Deadlines:
    """Of one connection; one timer, for the earliest."""

    __slots__ = ("_expire", "_heap", "_loop", "_open", "_sweep_at", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        open_streams: Container[int],
        expire: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._open = open_streams
        self._expire = expire
        self._heap: list[tuple[float, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_at = ENTRIES_MIN

    def add(self, stream_id: int, timeout_s: float) -> None:
        """Call ``expire`` with the stream if it is still open after so long."""
        at_s = self._loop.time() + timeout_s
        heap = self._heap
        heappush(heap, (at_s, stream_id))
        if len(heap) > self._sweep_at:
            heap[:] = [entry for entry in heap if entry[1] in self._open]
            heapify(heap)
            self._sweep_at = max(2 * len(heap), ENTRIES_MIN)
        if heap and heap[0][1] == stream_id:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._look) if self._heap else None

    def _look(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        heap = self._heap
        while heap and (heap[0][0] <= now_s or heap[0][1] not in self._open):
            _, stream_id = heappop(heap)
            if stream_id in self._open:
                self._expire(stream_id)
        self._set_timer()

    def close(self) -> None:
        """The connection is gone; nothing may be added any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        del self._expire
