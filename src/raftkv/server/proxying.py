"""``--proxy on|readonly``: a process that passes v2 requests on to the members, and stores nothing."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from raftkv.api.host import Limits
from raftkv.proxy.directory import Directory
from raftkv.proxy.members import MemberFinder, remembered_peer_urls
from raftkv.proxy.reverse import ReverseProxy
from raftkv.proxy.upstream import Timeouts, Upstream
from raftkv.server import data_dir, tls
from raftkv.server.config import Config
from raftkv.server.connection import Codec, Connection, Connections
from raftkv.server.event_loop import new_event_loop
from raftkv.server.flags import ConfigError
from raftkv.server.guard import Guard
from raftkv.server.http1 import Http1Codec
from raftkv.server.listeners import Bound, Listener, bind_all
from raftkv.server.notify import notify_systemd

DRAIN_S: Final = 5.0
QUESTION_S: Final = 5.0
"""A member that takes longer to say who the members are is passed over."""
_LOG: Final = logging.getLogger("raftkv.proxy")


def run_proxy(config: Config) -> int:
    """Serve until told to stop; the exit code.

    Raises:
        ConfigError: the directory holds a member, nobody to ask is named, or an address is busy.
    """
    if data_dir.has_member(config):
        raise ConfigError(
            f"--data-dir {config.data_dir} holds a member: start it without --proxy, or give the "
            "proxy another directory",
        )
    file = config.data_dir / "proxy" / "cluster"
    peer_urls = remembered_peer_urls(file) or tuple(
        url for urls in config.initial_cluster.values() for url in urls
    )
    contexts = tls.load_proxy(config)
    bound = bind_all(config, planes=("client",))
    loop = new_event_loop()
    try:
        loop.run_until_complete(_Proxy(config, loop, contexts).serve(bound, peer_urls, file))
    finally:
        loop.close()
    return 0


class _Proxy:
    """One run."""

    def __init__(
        self, config: Config, loop: asyncio.AbstractEventLoop, contexts: tls.ProxyContexts
    ) -> None:
        self._loop = loop
        self._contexts = contexts
        self._settings = settings = config.proxy
        self._stopped = asyncio.Event()
        timeouts = Timeouts(settings.dial_s, settings.write_s, settings.read_s)
        self._directory = Directory(settings.failure_wait_s, random.Random())  # noqa: S311 - order
        self._upstream = Upstream(loop, contexts.members, timeouts)
        self._finder_upstream = Upstream(
            loop, contexts.peers, Timeouts(settings.dial_s, settings.write_s, QUESTION_S)
        )
        reverse = ReverseProxy(
            self._directory, self._upstream, is_readonly=settings.mode == "readonly"
        )
        limits = Limits(config.max_txn_ops, config.max_request_bytes, config.quota_bytes)

        def make(connection: Connection, is_http2: bool) -> Codec:  # noqa: ARG001, FBT001 - see group
            return Http1Codec(connection, limits, reverse.handle)

        self._group = Connections(loop, make, Guard())
        self._listeners: list[Listener] = []

    async def serve(self, bound: Sequence[Bound], peer_urls: tuple[str, ...], file: Path) -> None:
        """Serve until a signal comes, then finish what is under way."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopped.set)
        finder = MemberFinder(
            self._directory,
            self._finder_upstream,
            peer_urls,
            file,
            self._settings.refresh_s,
        )
        finder.refresh()
        for one in bound:
            listener = Listener(one, lambda: Connection(self._group))
            self._listeners.append(listener)
            await listener.serve(self._contexts.listen)
            _LOG.info("proxy: listening for client requests on %s", one.url)
        notify_systemd("READY=1")
        await self._stopped.wait()
        notify_systemd("STOPPING=1")
        for listener in self._listeners:
            listener.close()
        self._group.drain()
        if self._group.open:
            drained = asyncio.Event()
            self._group.on_empty = drained.set
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(drained.wait(), DRAIN_S)
        self._upstream.close()
        self._finder_upstream.close()
        _LOG.info("stopped")
