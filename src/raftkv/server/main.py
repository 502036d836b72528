"""Starting and stopping the daemon: everything is checked before anything is touched."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from raftkv.api import plain
from raftkv.api.http import HttpReply, HttpRequest, not_found
from raftkv.api.origins import Origins
from raftkv.api.v3_maintenance import API_VERSION
from raftkv.backend.errors import StorageError as BackendError
from raftkv.log.errors import StorageError as LogError
from raftkv.server import data_dir, flags, tls
from raftkv.server.admission import check_not_older, check_not_seen
from raftkv.server.config import Config, check, check_founding
from raftkv.server.connection import (
    Codec,
    Connection,
    Connections,
    Plane,
    use_all_descriptors,
)
from raftkv.server.data_dir import Opened
from raftkv.server.driver import Driver
from raftkv.server.event_loop import new_event_loop
from raftkv.server.exports import remove_leftovers
from raftkv.server.flags import ConfigError
from raftkv.server.force import force
from raftkv.server.garbage import start_collecting
from raftkv.server.gateway import run_gateway
from raftkv.server.grpc_proxying import run_grpc_proxy
from raftkv.server.guard import Guard
from raftkv.server.http1 import Http1Codec
from raftkv.server.http2_codec import Http2Codec
from raftkv.server.join import ask_members
from raftkv.server.listeners import Bound, Listener, bind_all
from raftkv.server.notify import StartProgress, notify_systemd, start_logging
from raftkv.server.peers import PeerConnection, PeerConnections
from raftkv.server.proxying import run_proxy
from raftkv.server.space import make_room
from raftkv.server.tls import Contexts, Reloader
from raftkv.values import Member

VERSION: Final = "0.1.0"
STOP_TIMEOUT_S: Final = 5.0
RELOAD_EVERY_S: Final = 1.0
"""How often the certificate files are looked at."""
SWITCH_INTERVAL_S: Final = 0.001
"""The disk threads need the interpreter for microseconds; the default would make them wait 5 ms."""
_NO_GUARD: Final = Guard()
"""The peer plane has its own, before it knows whether a caller is a peer."""
_LOG: Final = logging.getLogger("raftkv")


def run(arguments: Sequence[str]) -> int:
    """Run ``raftkvd``; the exit code."""
    use_all_descriptors()
    if arguments and arguments[0] == "gateway":
        return run_gateway(arguments[1:])
    if arguments and arguments[0] == "grpc-proxy":
        return run_grpc_proxy(arguments[1:])
    words = [word.lstrip("-") for word in arguments]
    if "version" in words:
        print(f"raftkvd Version: {VERSION} (etcd API level {API_VERSION})")
        print(f"Python: {platform.python_version()}")
        return 0
    if "help" in words or "h" in words:
        _print_help()
        return 0
    try:
        raw = flags.read(arguments, os.environ)
        config = check(raw)
        start_logging(config.log_level)
        if config.proxy.mode != "off":
            return run_proxy(config)
        return _Daemon(config, raw.given).run()
    except KeyboardInterrupt:
        return 130
    except (ConfigError, BackendError, LogError) as error:
        print(f"raftkvd: {error}", file=sys.stderr)
        return 1


def _print_help() -> None:
    print("usage: raftkvd [flags]    (also as ETCD_* variables or keys of --config-file)\n")
    for flag in flags.FLAGS:
        default = str(flag.default).lower() if isinstance(flag.default, bool) else flag.default
        print(f"  --{flag.name} '{default}'\n        {flag.help}")


class _Daemon:
    """One run of the daemon."""

    def __init__(self, config: Config, given: frozenset[str]) -> None:
        self._config = config
        self._given = given
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: Driver | None = None
        self._groups: list[Connections] = []
        self._listeners: list[Listener] = []
        self._peers: PeerConnections | None = None
        self._reloading: asyncio.Task[None] | None = None
        self._stopped: asyncio.Event | None = None
        self._is_stopping = False
        self._progress = StartProgress()

    def run(self) -> int:
        """Check, open, serve, stop."""
        config = self._config
        is_restart = data_dir.has_member(config)
        if not is_restart and config.is_new_cluster:
            check_founding(config)
        self._reloader = Reloader(config)
        contexts = tls.load(config)
        bound = bind_all(config)
        known: list[Member] = []
        if not is_restart:
            if config.is_new_cluster:
                check_not_seen(config, contexts.dial)
                data_dir.found_cluster(config)
            else:
                data_dir.make_private(config)
                cluster_id, member_id, known = ask_members(config, contexts.dial)
                data_dir.create_files(config, cluster_id, member_id, ())
        remove_leftovers(data_dir.paths(config)[0])
        make_room(data_dir.paths(config))
        gc.disable()  # what is loaded now stays; see ``garbage``
        opened = data_dir.open_files(config, self._progress)
        data_dir.check_same_cluster(config, opened, self._given)
        if config.force_new_cluster:
            force(opened, contexts.dial)
        elif is_restart:
            check_not_older(opened, contexts.dial)
        if opened.repaired_bytes:
            _LOG.warning("log: cut off %d bytes of an unfinished write", opened.repaired_bytes)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop, opened, contexts, bound, known))
        finally:
            loop.close()
        return 0

    async def _serve(
        self,
        loop: asyncio.AbstractEventLoop,
        opened: Opened,
        contexts: Contexts,
        bound: Sequence[Bound],
        known: Sequence[Member],
    ) -> None:
        self._loop = loop
        self._stopped = asyncio.Event()
        driver = Driver(self._config, opened, loop, contexts.dial, known, self._stop_now)
        self._driver = driver
        driver.on_ready = self._ready
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_gracefully)
        factories = self._factories(loop, driver, contexts)
        self._listeners = [
            Listener(one, factories["client_tls" if _is_client_tls(one) else one.plane])
            for one in bound
        ]
        await self._serve_with(contexts)
        if self._reloader.is_needed:
            loop.call_later(RELOAD_EVERY_S, self._reload)
        _LOG.info(
            "starting member %x %r in cluster %x", opened.member_id, driver.name, opened.cluster_id
        )
        driver.start()
        start_collecting()
        await self._stopped.wait()
        driver.stop_writing()
        _LOG.info("stopped")

    def _factories(
        self, loop: asyncio.AbstractEventLoop, driver: Driver, contexts: Contexts
    ) -> dict[str, Callable[[], asyncio.Protocol]]:
        """What each plane makes of a new connection."""
        guard = contexts.client_guard
        origins = Origins(self._config.cors, self._config.host_whitelist)
        serve = partial(plain.handle, driver)
        client, client_tls = (
            self._group(loop, driver, origins.protect(serve, is_tls=tls), guard, grpc=True)
            for tls in (False, True)
        )
        for group in (client, client_tls):
            group.takes_common_names = self._config.client_tls.client_cert_auth
        metrics = self._group(loop, driver, partial(_metrics_plane, driver), guard, grpc=False)
        peer_plain = self._group(
            loop, driver, partial(plain.handle_peer_plane, driver), _NO_GUARD, grpc=False
        )
        peers = PeerConnections(driver, lambda: Connection(peer_plain))
        self._peers = peers
        return {
            "client": lambda: Connection(client),
            "client_tls": lambda: Connection(client_tls),
            "metrics": lambda: Connection(metrics),
            "peer": lambda: PeerConnection(peers),
        }

    async def _serve_with(self, contexts: Contexts) -> None:
        assert self._peers is not None
        self._peers.use(contexts.peer_guard, contexts.members)
        for listener in self._listeners:
            await listener.serve(contexts.peer if listener.plane == "peer" else contexts.client)

    def _reload(self) -> None:
        """Use certificate files that changed; nobody who may stay is disconnected."""
        if self._is_stopping or self._loop is None or self._driver is None:
            return
        self._loop.call_later(RELOAD_EVERY_S, self._reload)
        contexts = self._reloader.reload()
        if contexts is None:
            return
        self._driver.use_peer_context(contexts.dial)
        self._reloading = self._loop.create_task(self._serve_with(contexts))
        for group in self._groups:
            if group.guard is not _NO_GUARD:
                group.use_guard(contexts.client_guard)

    def _group(
        self,
        loop: asyncio.AbstractEventLoop,
        driver: Driver,
        plane: Plane,
        guard: Guard,
        *,
        grpc: bool,
    ) -> Connections:
        def make(connection: Connection, is_http2: bool) -> Codec:  # noqa: FBT001 - see group
            if is_http2:
                return Http2Codec(connection, driver, plane, grpc=grpc)
            return Http1Codec(connection, driver.limits, plane)

        group = Connections(loop, make, guard)
        group.traffic = driver.figures
        self._groups.append(group)
        driver.outlets.append(group)
        return group

    def _ready(self) -> None:
        _LOG.info("ready to serve client requests")
        notify_systemd("READY=1")
        notify_systemd("STATUS=serving")

    # --- stopping ---------------------------------------------------------------------------

    def _stop_gracefully(self) -> None:
        """SIGTERM: no new connections, leadership handed over, requests under way answered."""
        if self._is_stopping or self._driver is None:
            return
        self._is_stopping = True
        _LOG.info("stopping")
        notify_systemd("STOPPING=1")
        for listener in self._listeners:
            listener.close()
        if self._driver.leader_id == self._driver.member_id:
            self._driver.step_down(self._drain)
        else:
            self._drain()

    def _drain(self) -> None:
        assert self._loop is not None
        for group in self._groups:
            group.drain()
        self._drain_deadline = self._loop.time() + STOP_TIMEOUT_S
        self._wait_drained()

    def _wait_drained(self) -> None:
        assert self._loop is not None
        assert self._stopped is not None
        if not any(g.open for g in self._groups) or self._loop.time() > self._drain_deadline:
            self._stopped.set()
        else:
            self._loop.call_later(0.02, self._wait_drained)

    def _stop_now(self, reason: str, exit_code: int) -> None:
        """The member cannot or may not go on."""
        if exit_code:  # also while it stops already
            _LOG.error("%s", reason)
            logging.shutdown()
            os._exit(exit_code)  # a disk thread may hang for ever: do not wait for it
        if self._is_stopping or self._stopped is None or self._loop is None:
            return
        self._is_stopping = True
        _LOG.warning("stopping: %s", reason)
        # Those who asked for the removal still get their answer.
        self._loop.call_later(1.0, self._drain)


def _is_client_tls(bound: Bound) -> bool:
    return bound.plane == "client" and bound.url.is_tls


def _metrics_plane(host: Driver, request: HttpRequest, reply: HttpReply) -> None:
    if not plain.handle_metrics_plane(host, request, reply):
        not_found(reply)
