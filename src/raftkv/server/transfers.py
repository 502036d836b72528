"""Snapshots between members, as the driver sees them: who gets one, and putting one in place."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from raftkv.api.host import SnapshotSource
from raftkv.api.v3_watch import WatchStream
from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError
from raftkv.raft.messages import Snapshot
from raftkv.replica.effects import InstallSnapshot, SendSnapshot
from raftkv.replica.inputs import PeerMessage, SnapshotInstalled, SnapshotSent
from raftkv.server.data_dir import StoreView, exchange_stores, load_machine, paths
from raftkv.server.snapshots import BackendSnapshot, IncomingSnapshot, send_snapshot, unpack
from raftkv.values import Index, MemberId

if TYPE_CHECKING:
    from raftkv.server.driver import Driver

_LOG: Final = logging.getLogger("raftkv.snapshots")


class SnapshotTraffic:
    """All snapshots under way to and from this member."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._sending: set[MemberId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer: Callable[[bool], None] | None = None
        self.is_installing = False

    # --- sending ----------------------------------------------------------------------------

    def send(self, wanted: SendSnapshot) -> None:
        """Stream the present state to a follower that needs more than the log holds."""
        if wanted.to in self._sending:
            return
        self._sending.add(wanted.to)
        self._driver.open_snapshot(lambda source: self._start(wanted, source))

    def _start(self, wanted: SendSnapshot, source: SnapshotSource) -> None:
        task = self._driver.loop.create_task(self._send(wanted, source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, wanted: SendSnapshot, source: SnapshotSource) -> None:
        assert isinstance(source, BackendSnapshot)
        driver = self._driver
        index, ok = source.index, False
        member = driver.peer_member(wanted.to)
        try:
            if member is not None:
                _LOG.info("sending snapshot at index %d to %x", index, wanted.to)
                ok = await send_snapshot(driver, member, source, wanted.term, driver.peer_context)
        except (OSError, asyncio.TimeoutError, ValueError) as error:
            _LOG.warning("snapshot to %x failed: %s", wanted.to, error)
        finally:
            source.close()
            self._sending.discard(wanted.to)
            driver.feed(SnapshotSent(wanted.to, index, ok))

    # --- receiving --------------------------------------------------------------------------

    def open_incoming(self, sender: MemberId) -> IncomingSnapshot:
        """A peer sends a snapshot."""
        return IncomingSnapshot(paths(self._driver.config)[0], sender, self._received)

    def _received(self, incoming: IncomingSnapshot, answer: Callable[[bool], None]) -> None:
        task = self._driver.loop.create_task(self._unpack(incoming, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unpack(self, incoming: IncomingSnapshot, answer: Callable[[bool], None]) -> None:
        """Verify on another thread, then offer it to the replica."""
        driver = self._driver
        directory = paths(driver.config)[0] / "store.next"
        if self.is_installing:
            answer(False)
            return
        try:
            await asyncio.get_running_loop().run_in_executor(
                None,
                unpack,
                incoming.path,
                directory,
                driver.cluster_id,
                driver.member_id,
                incoming.index,
            )
        except (StorageError, OSError, ValueError) as error:
            _LOG.warning("refused a snapshot of %x: %s", incoming.sender, error)
            answer(False)
            return
        self._answer = answer
        message = Snapshot(incoming.leader_term, incoming.index, incoming.term)
        driver.feed(PeerMessage(incoming.sender, message))
        # Offered, and perhaps not wanted any more: then nothing else answers the sender.
        driver.loop.call_soon(driver.loop.call_soon, self._decline)

    def _decline(self) -> None:
        if self._answer is not None and not self.is_installing:
            self._answer(True)
            self._answer = None

    def install(self, wanted: InstallSnapshot) -> None:
        """Put the verified backend in the place of the present one."""
        self.is_installing = True
        driver = self._driver
        member = paths(driver.config)[0]
        driver.pause_flushing()
        driver.view.view.close()
        driver.environment.close()
        exchange_stores(member, member / "store.next")
        environment = Environment(member / "store")
        view = StoreView(environment.view())
        machine, applied, term, state = load_machine(view)
        driver.use_backend(environment, view, applied)
        driver.machine.replace(machine)
        for watcher in driver.machine.hub.take_all():
            cast(WatchStream, watcher.stream).catch_up_later(watcher)
        # At once, not in the next turn: a flush in between would store the replica's old applied
        # index beside the new rows.
        installed = driver.replica.step(SnapshotInstalled(Index(applied), term, state))
        for follow in driver.carry_out(installed):
            driver.feed(follow)
        self.is_installing = False
        shutil.rmtree(member / "store.old", ignore_errors=True)
        _LOG.info("installed snapshot at index %d (wanted %d)", applied, wanted.index)
        if self._answer is not None:
            self._answer(True)
            self._answer = None
