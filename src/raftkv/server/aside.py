"""One thread for slow arithmetic (password hashes), of lower priority than everything else."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from etcdwire.errors import TOO_MANY_REQUESTS

WAITING_MAX: Final = 16384
"""Beyond it logins are refused as too many: at 50 ms each the last would wait a quarter hour."""
NICE: Final = 10
_LOG: Final = logging.getLogger("raftkv.aside")
T = TypeVar("T")


class AsideThread:
    """Runs one thing after another and brings results back to the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(1, "raftkv-aside", initializer=_give_way)
        self._waiting = 0

    def submit(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run ``work`` there, then ``done`` with its result on the loop.

        Raises:
            UnavailableError: too much is waiting.
        """
        if self._waiting >= WAITING_MAX:
            raise TOO_MANY_REQUESTS
        self._waiting += 1

        def run() -> None:
            try:
                result = work()
            except Exception:
                _LOG.exception("work aside failed")
                raise
            finally:
                self._loop.call_soon_threadsafe(self._finished)
            self._loop.call_soon_threadsafe(done, result)

        self._executor.submit(run)

    def _finished(self) -> None:
        self._waiting -= 1

    def stop(self) -> None:
        """Forget what waits."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
