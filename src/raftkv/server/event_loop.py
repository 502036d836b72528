"""The one place that knows which event loop we run on."""

from __future__ import annotations

import asyncio

import uvloop


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of libuv's: half the cost per event of the standard one."""
    return uvloop.new_event_loop()
