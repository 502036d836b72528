"""``raftkvd gateway start``: a TCP gateway before a cluster, as ``etcd gateway start`` is."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from raftkv.proxy.directory import Directory
from raftkv.proxy.splice import Gateway, Incoming
from raftkv.server.config import parse_url
from raftkv.server.event_loop import new_event_loop
from raftkv.server.flags import ConfigError
from raftkv.server.listeners import Bound, Listener, bind
from raftkv.server.notify import notify_systemd, start_logging

_LOG: Final = logging.getLogger("raftkv.gateway")


def run_gateway(arguments: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="raftkvd gateway", description="a TCP gateway")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="pass TCP connections on to endpoints")
    start.add_argument("--listen-addr", default="127.0.0.1:23790", help="where to listen")
    start.add_argument("--endpoints", default="127.0.0.1:2379", help="HOST:PORT,... of members")
    start.add_argument(
        "--retry-delay", default="1m0s", help="how long an endpoint that failed is left alone"
    )
    options = parser.parse_args(list(arguments))
    start_logging("info")
    try:
        endpoints = [_address(text) for text in options.endpoints.split(",")]
        retry_s = parse_duration(options.retry_delay, "--retry-delay")
        url = parse_url(f"http://{options.listen_addr}", "--listen-addr")
        bound = [Bound("gateway", url, one) for one in bind(url)]
    except ConfigError as error:
        print(f"raftkvd: {error}", file=sys.stderr)
        return 1
    directory = Directory(retry_s, random.Random())  # noqa: S311 - only an order
    directory.replace(endpoints)
    loop = new_event_loop()
    try:
        loop.run_until_complete(_serve(loop, directory, bound))
    finally:
        loop.close()
    return 0


def _address(text: str) -> str:
    """``HOST:PORT``, perhaps written as a URL."""
    address = urlsplit(text.strip()).netloc if "://" in text else text.strip()
    parse_url(f"http://{address}", "--endpoints")
    return address


_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str, where: str) -> float:
    """Seconds of a duration in Go's form, such as ``1m30s`` or ``500ms``.

    Raises:
        ConfigError: names ``where`` and the text.
    """
    rest, total_s = text.strip(), 0.0
    if rest == "0":
        return 0.0
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest) - digits - len(rest[digits:].lstrip("hms"))
        unit = rest[digits : digits + letters]
        if not digits or unit not in _UNITS_S:
            raise ConfigError(f"{where}: {text!r} is not a duration, such as 30s or 1m30s")
        total_s += float(rest[:digits]) * _UNITS_S[unit]
        rest = rest[digits + letters :]
    return total_s


async def _serve(
    loop: asyncio.AbstractEventLoop, directory: Directory, bound: Sequence[Bound]
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    gateway = Gateway(loop, directory)
    listeners = [Listener(one, lambda: Incoming(gateway)) for one in bound]
    for listener in listeners:
        await listener.serve(None)
    _LOG.info("ready to proxy client requests to %s", ", ".join(directory.endpoints))
    notify_systemd("READY=1")
    await stopped.wait()
    for listener in listeners:
        listener.close()
    gateway.close()
