"""Snapshots between members, as the driver sees them: who gets one, and putting one in place."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from raftkv.api.v3_watch import WatchStream
from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError
from raftkv.log.segment import sync_directory
from raftkv.raft.messages import Snapshot
from raftkv.replica.effects import InstallSnapshot, SendSnapshot
from raftkv.replica.inputs import PeerMessage, SnapshotInstalled, SnapshotSent
from raftkv.server.data_dir import StoreView, exchange_stores, load_machine, paths
from raftkv.server.large_files import remove
from raftkv.server.pace import Pace
from raftkv.server.snapshots import (
    SPOOL_PREFIX,
    IncomingSnapshot,
    Refused,
    Spool,
    adopt,
    send_snapshot,
)
from raftkv.server.writers import WriterError, Writers
from raftkv.values import Index, MemberId, Term

if TYPE_CHECKING:
    from raftkv.server.driver import Driver

RETRY_S: Final = 0.5
GIVE_UP_S: Final = 600.0
"""How long a transfer that breaks off is tried again."""
_LOG: Final = logging.getLogger("raftkv.snapshots")


class SnapshotTraffic:
    """All snapshots under way to and from this member."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._sending: set[MemberId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.writers = Writers()
        self._answer: Callable[[bool], None] | None = None
        self.is_installing = False
        self._is_unpacking = False

    # --- sending ----------------------------------------------------------------------------

    def send(self, wanted: SendSnapshot) -> None:
        """Stream the present state to a follower that needs more than the log holds."""
        if wanted.to in self._sending:
            return
        self._sending.add(wanted.to)
        self._driver.flushing.read_files(lambda release: self._start(wanted, release))

    def _start(self, wanted: SendSnapshot, release: Callable[[], None]) -> None:
        task = self._driver.loop.create_task(self._send(wanted, release))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, wanted: SendSnapshot, release: Callable[[], None]) -> None:
        driver = self._driver
        spool: Spool | None = None
        index, ok = wanted.at_least, False
        try:
            try:
                spool = await self._spool()
            finally:
                release()
            index = spool.index
            ok = await self._send_spool(wanted, spool)
        except (OSError, WriterError, Refused, ValueError) as error:
            _LOG.warning("snapshot to %x failed: %s", wanted.to, error)
        finally:
            if spool is not None:
                remove(spool.path)
            self._sending.discard(wanted.to)
            driver.feed(SnapshotSent(wanted.to, index, ok))

    async def _spool(self) -> Spool:
        """Write what the backend holds now to a file."""
        driver = self._driver
        member = paths(driver.config)[0]
        snapshot_id = secrets.token_hex(8)
        path = member / f"{SPOOL_PREFIX}{snapshot_id}"
        try:
            printed = json.loads(await self.writers.run("spool", member / "store", path))
        except BaseException:
            remove(path)
            raise
        finally:
            driver.environment.clear_dead_readers()
        index, term = Index(printed["index"]), Term(printed["term"])
        return Spool(path, snapshot_id, index, term, path.stat().st_size)

    async def _send_spool(self, wanted: SendSnapshot, spool: Spool) -> bool:
        """Send it, and go on where it broke for as long as there is sense in it.

        Only then the leader is told: until then it keeps the log that follows on this snapshot.
        """
        driver = self._driver
        give_up = driver.loop.time() + GIVE_UP_S
        while True:
            member = driver.peer_member(wanted.to)
            if member is None or driver.is_removed(wanted.to) or driver.term != wanted.term:
                return False
            _LOG.info("sending snapshot at index %d to %x", spool.index, wanted.to)
            try:
                return await send_snapshot(
                    driver,
                    member,
                    spool,
                    wanted.term,
                    driver.peer_context,
                    Pace(driver.config.snapshot_bytes_per_s, lambda: driver.applied_index),
                )
            except (OSError, asyncio.TimeoutError, ValueError) as error:
                _LOG.warning("snapshot to %x broke off: %s", wanted.to, error)
                if driver.loop.time() >= give_up:
                    return False
            await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        """Stop what is on its way, exports as well."""
        self.writers.stop()
        for task in self._tasks:
            task.cancel()

    # --- receiving --------------------------------------------------------------------------

    def open_incoming(self, sender: MemberId, named: dict[str, Any]) -> IncomingSnapshot:
        """A peer sends a snapshot; see ``IncomingSnapshot``."""
        return IncomingSnapshot(paths(self._driver.config)[0], sender, named, self._received)

    def _received(self, incoming: IncomingSnapshot, answer: Callable[[bool], None]) -> None:
        task = self._driver.loop.create_task(self._unpack(incoming, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unpack(self, incoming: IncomingSnapshot, answer: Callable[[bool], None]) -> None:
        """Verify it in another process, then offer it to the replica."""
        driver = self._driver
        directory = paths(driver.config)[0] / "store.next"
        if self.is_installing or self._is_unpacking:
            answer(False)
            return
        self._is_unpacking = True
        try:
            await self.writers.run("unpack", incoming.path, directory)
            adopt(directory, driver.cluster_id, driver.member_id, incoming.index)
        except (StorageError, WriterError, OSError) as error:
            _LOG.warning("refused a snapshot of %x: %s", incoming.sender, error)
            answer(False)
            return
        finally:
            self._is_unpacking = False
            remove(incoming.path)
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
        sync_directory(member)
        environment = Environment(member / "store")
        view = StoreView(environment.view())
        machine, applied, term, state = load_machine(view)
        driver.use_backend(environment, view, applied)
        seen_by_watchers = driver.machine.kv.revision
        driver.machine.replace(machine)
        for watcher in driver.machine.hub.take_all(seen_by_watchers):
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
