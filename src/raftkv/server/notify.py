"""What others are told: log lines on standard error, and systemd when it asked (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from typing import Final

_LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40, "panic": 50, "fatal": 50}
_LOG: Final = logging.getLogger("raftkv")


def start_logging(level: str) -> None:
    """Log to standard error from this level on."""
    logging.basicConfig(
        level=_LEVELS[level],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def notify_systemd(text: str) -> None:
    """Tell systemd how we are."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.sendto(text.encode(), address)
    except OSError as error:
        _LOG.warning("cannot notify systemd: %s", error)


class StartProgress:
    """Tells systemd (``systemctl status``, ``StatusText``) how far a start is, once a second."""

    def __init__(self, quiet_s: float = 1.0) -> None:
        self._next_s = time.monotonic() + quiet_s  # an ordinary start says nothing

    def tell(self, work: str, done: int, total: int) -> None:
        """Of ``total`` rows or entries so many are done."""
        now_s = time.monotonic()
        if now_s >= self._next_s and total > 0:
            self._next_s = now_s + 1.0
            notify_systemd(f"STATUS={work}: {min(100, done * 100 // total)} %, {done} of {total}")


class Watchdog:
    """Tells systemd that the loop turns, at half the interval that the unit's file asks for.

    Fed by nothing but the loop's own progress: a member without a leader, without space or in a
    long start is no member to be killed. (systemd counts only from READY on.)
    """

    def __init__(self) -> None:
        text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        is_meant = text.isdecimal() and pid in ("", str(os.getpid()))
        self._every_s = int(text) / 2e6 if is_meant else 0.0
        self._next_s = 0.0

    def feed(self, now_s: float) -> None:
        """Call once per tick, with the loop's time."""
        if self._every_s and now_s >= self._next_s:
            self._next_s = now_s + self._every_s
            notify_systemd("WATCHDOG=1")
