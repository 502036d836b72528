"""Unmounting storage that its unit has let go, while the unit goes on with other hooks.

A mount that a workload still uses cannot be taken away: the kernel's words are shown in status,
and it is tried again until the workload has stopped or patience is over. Then the mount is taken
out of sight all the same, as Juju 3.6 does, with a warning in the log.
"""

import threading
import time
from collections.abc import Callable

from localjuju import storage
from localjuju.book import Book
from localjuju.debug_log import ModelLog
from localjuju.entities import Storage
from localjuju.keeper import MachineKeeper
from localjuju.machines import attach
from localjuju.paths import unit_tag
from localjuju.resolver.state import DEAD
from localjuju.volumes import Volumes

PATIENCE_KEY = "localjuju-busy-seconds"
PATIENCE_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 5.0


class Unmounter:
    """Unmounts one storage instance of one unit."""

    def __init__(
        self,
        identifier: str,
        *,
        book: Book,
        volumes: Volumes,
        log: ModelLog,
        find_keeper: Callable[[str], MachineKeeper | None],
    ) -> None:
        self._identifier = identifier
        self._book = book
        self._volumes = volumes
        self._log = log
        self._find_keeper = find_keeper

    def start(self) -> None:
        """Begin; ends by itself."""
        threading.Thread(target=self._run, daemon=True, name=f"unmount-{self._identifier}").start()

    def _waiting(self) -> Storage | None:
        """Return the instance while it waits; call with the lock held."""
        item = self._book.records.storage.get(self._identifier)
        waits = item is not None and item.unit and item.attachment_life == DEAD
        return item if waits and not self._book.closed else None

    def _run(self) -> None:
        config = self._book.records.model.config
        deadline = time.monotonic() + float(config.get(PATIENCE_KEY, PATIENCE_SECONDS))
        wait = FIRST_WAIT_SECONDS
        while True:
            with self._book.lock:
                item = self._waiting()
                if item is None:
                    return
                unit = self._book.records.units.get(item.unit)
                keeper = self._find_keeper(unit.machine) if unit is not None else None
                up = self._should_be_up(unit.machine) if unit is not None else False
            problem = self._try(item, keeper, should_be_up=up)
            if not problem:
                break
            self._tell(item, problem)
            if time.monotonic() >= deadline:
                self._force(item, keeper, problem)
                break
            self._book.wait_for(lambda: self._waiting() is None, wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        self._finish()

    def _should_be_up(self, number: str) -> bool:
        """Say whether a machine runs, also while a new daemon has not found it yet."""
        machine = self._book.records.machines.get(number)
        return machine is not None and machine.agent.current == "started"

    @staticmethod
    def _try(item: Storage, keeper: MachineKeeper | None, *, should_be_up: bool) -> str:
        if item.provider == "rootfs" or not should_be_up:
            return ""
        if keeper is None or not keeper.container.is_up():
            return "the machine is not ready"
        return keeper.detach_storage(item.location)

    def _tell(self, item: Storage, problem: str) -> None:
        with self._book.change():
            if item.message != problem:
                item.message = problem
                self._note(item, f"detaching {item.id}: {problem}")

    def _force(self, item: Storage, keeper: MachineKeeper | None, problem: str) -> None:
        self._note(item, f"{item.id} is taken away although it is in use: {problem}")
        if keeper is not None and keeper.container.is_up():
            attach.detach_lazily(keeper.container.leader, item.location)

    def _note(self, item: Storage, text: str) -> None:
        self._log.write(unit_tag(item.unit), "WARNING", "juju.worker.storageprovisioner", text)

    def _finish(self) -> None:
        with self._book.change() as records:
            item = self._waiting()
            if item is None:
                return
            unit = records.units.get(item.unit)
            destroys = item.destroy or (unit is not None and unit.destroy_storage)
            gone = storage.end_attachment(records, item, keep=not destroys, now=self._book.now())
        self._volumes.release(item)
        if gone:
            self._volumes.destroy(item)
