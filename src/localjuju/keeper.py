"""Keeps one machine as the model wants it: up, down, rebooted, gone."""

import threading
import zlib
from contextlib import suppress
from pathlib import Path

from localjuju import leadership
from localjuju.book import Book
from localjuju.debug_log import ModelLog
from localjuju.entities import Machine, Status, Storage
from localjuju.errors import JujuError, MachineGone
from localjuju.machines import attach
from localjuju.machines.nspawn import Container
from localjuju.network import Network
from localjuju.resolver.state import DEAD
from localjuju.volumes import Volumes


class MachineKeeper(threading.Thread):
    """One thread per machine; it sleeps while the machine runs and nothing is asked of it."""

    def __init__(  # one collaborator each, all made by the model's host
        self,
        number: str,
        *,
        book: Book,
        container: Container,
        network: Network,
        volumes: Volumes,
        log: ModelLog,
        base: Path,
    ) -> None:
        super().__init__(name=f"machine-{number}", daemon=True)
        self.number = number
        self.container = container
        self.hook_lock = threading.Lock()
        """Two units of one machine never run hooks at the same time."""
        self._book = book
        self._network = network
        self._volumes = volumes
        self._log = log
        self._base = base
        self._leaving = False
        self._boot_lock = threading.Lock()

    @property
    def machine(self) -> Machine:
        """Return the machine's record; call with the lock held. Raises MachineGone."""
        machine = self._book.records.machines.get(self.number)
        if machine is None:
            raise MachineGone(f"machine {self.number} not found")
        return machine

    def run(self) -> None:
        """Keep the machine until it is no longer in the model."""
        with suppress(MachineGone):
            self._keep()

    def _keep(self) -> None:
        """Adopt or start the machine; start it again when it asks for a reboot."""
        with self._book.read():
            pid, started = self.machine.supervisor_pid, self.machine.supervisor_started
        if self.container.adopt(pid, started):
            self._clear_leftover_runs()
            self._note_up(booted=False)
        while not self._leaving:
            if self.container.is_up():
                self._watch()
                continue
            if not self._wait_wanted():
                return
            try:
                with self._boot_lock:
                    self._boot()
            except Exception as error:  # noqa: BLE001 - see below
                # Whatever it was: a keeper that ends would leave the machine pending for ever.
                self._note_failure(str(error) or repr(error))

    def leave(self) -> None:
        """End the thread and leave the machine running (the daemon is going)."""
        self._leaving = True

    def destroy(self, *, in_order: bool) -> None:
        """Remove every trace of the machine, also of one that is being started."""
        self._leaving = True
        with self._boot_lock:
            if in_order:
                self.container.stop()
            self.container.destroy()

    def _wait_wanted(self) -> bool:
        def ready() -> bool:
            gone = self.number not in self._book.records.machines
            return (
                gone or self._leaving or self._book.closed
                or self.machine.life == DEAD or self.machine.wanted
            )  # fmt: skip

        self._book.wait_for(ready, None)
        with self._book.read() as records:
            machine = records.machines.get(self.number)
            return machine is not None and machine.wanted and machine.life != DEAD

    def _boot(self) -> None:
        if self._leaving:
            return
        with self._book.read() as records:
            machine = self.machine
            hosts = {m.hostname: m.address for m in records.machines.values()}
            attached = self._attached()
            address, mac, uuid = machine.address, machine.mac, records.model.uuid
        self._network.up()
        binds = [self._volumes.bind(item) for item in attached if item.provider != "rootfs"]
        machine_id = f"{zlib.crc32(machine.hostname.encode()):08x}{uuid.replace('-', '')[:24]}"
        pending = self.container.start(
            base=self._base,
            network=self._network,
            address=address,
            mac=mac,
            binds=binds,
            hosts=hosts,
            machine_id=machine_id,
        )
        if pending:
            text = f"machine is up, but its start-up has not finished: {pending}"
            self._log.write(f"machine-{self.number}", "WARNING", "localjuju.machine", text)
        self._note_up(booted=True)

    def _attached(self) -> list[Storage]:
        records = self._book.records
        units = {unit.name for unit in records.units.values() if unit.machine == self.number}
        return [
            item
            for item in records.storage.values()
            if item.provisioned and item.unit in units and item.attachment_life != DEAD
        ]

    def _note_up(self, *, booted: bool) -> None:
        now = self._book.now()
        with self._book.change() as records:
            machine = self.machine
            machine.supervisor_pid = self.container.pid
            machine.supervisor_started = self.container.started
            machine.status = Status("running", "Running", now)
            machine.agent = Status("started", "", now)
            if booted:
                machine.boots += 1
                machine.frozen = False
                if machine.partitioned:
                    machine.partitioned = False
                if machine.boots > 1:
                    for unit in records.units.values():
                        if unit.machine == self.number:
                            unit.rebooted = unit.local.started
            leadership.regain_contact(records, self.number, now)

    def _watch(self) -> None:
        while not self._leaving and not self.container.wait_gone(None):
            continue
        if self._leaving:
            return
        again = self.container.wants_reboot()
        self.container.kill()
        now = self._book.now()
        with self._book.change() as records:
            machine = records.machines.get(self.number)
            if machine is None:
                return
            machine.supervisor_pid = 0
            machine.supervisor_started = ""
            machine.agent = Status("down", "agent is not communicating with the server", now)
            machine.status = Status("stopped", "", now)
            if not again:
                machine.wanted = False
            leadership.lose_contact(records, self.number, now)
        self._log.write(
            f"machine-{self.number}", "INFO", "localjuju.machine",
            "machine is rebooting" if again else "machine is down",
        )  # fmt: skip

    def _note_failure(self, text: str) -> None:
        now = self._book.now()
        with self._book.change() as records:
            machine = records.machines.get(self.number)
            if machine is None:
                return
            machine.status = Status("provisioning error", text, now)
            machine.agent = Status("pending", "", now)
            machine.wanted = False
        self._log.write(f"machine-{self.number}", "ERROR", "localjuju.machine", text)

    def _clear_leftover_runs(self) -> None:
        """Kill runs that an earlier daemon started: their outcome can no longer be known."""
        with suppress(JujuError):
            self.container.call(["systemctl", "kill", "-s", "KILL", "ljj-run-*"], check=False)

    def reboot(self) -> None:
        """Boot again, as ``juju-reboot`` asks."""
        with suppress(JujuError):
            self.container.call(["systemctl", "reboot"], check=False)

    def write_hosts(self) -> None:
        """Tell the machine about the others."""
        if not self.container.is_up():
            return
        with self._book.read() as records:
            known = {m.hostname: m.address for m in records.machines.values()}
        lines = [f"{address} {name}" for name, address in known.items()]
        text = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n" + "\n".join(lines) + "\n"
        with suppress(OSError):
            (self.container.live_root / "etc/hosts").write_text(text)

    def attach_storage(self, source: str, target: str) -> None:
        """Show a directory of the host in the running machine, now and after each boot."""
        attach.attach(self.container.leader, source, target)

    def detach_storage(self, target: str) -> str:
        """Unmount; return why not, if so."""
        return attach.detach(self.container.leader, target)
