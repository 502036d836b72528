"""One model at run time: its book, and a thread for each of its machines and units.

A thread of its own compares records and threads: a machine or unit that appears in the records
gets its keeper or agent, one that is gone has ended by itself.
"""

import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from localjuju import deployment
from localjuju.agent import UnitAgent
from localjuju.book import Book
from localjuju.debug_log import ModelLog
from localjuju.entities import Status, Storage
from localjuju.errors import JujuError
from localjuju.journal import Journal
from localjuju.keeper import MachineKeeper
from localjuju.machines import cgroups
from localjuju.machines.nspawn import Container
from localjuju.network import Network
from localjuju.resolver.state import ALIVE, DEAD
from localjuju.unmounting import Unmounter
from localjuju.volumes import Volumes

BaseFinder = Callable[[str], Path]


ContainerMaker = Callable[[Path, str, str], Container]
"""Takes the machine's directory, the state directory's tag and the machine's name."""


class ModelHost:
    """Runs one model."""

    def __init__(
        self,
        folder: Path,
        tag: str,
        network: Network,
        machines: Path,
        find_base: BaseFinder,
        *,
        make_container: ContainerMaker = Container,
        make_journal: Callable[[Path], Journal] = Journal,
    ) -> None:
        self.folder = folder
        self.book = Book(make_journal(folder / "journal"))
        self.log = ModelLog(folder / "debug.log")
        self.volumes = Volumes(folder / "storage")
        self.keepers: dict[str, MachineKeeper] = {}
        self.agents: dict[str, UnitAgent] = {}
        self._tag = tag
        self._network = network
        self._machines = machines
        self._find_base = find_base
        self._make_container = make_container
        self._times = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True, name="host")

    @property
    def gateway(self) -> str:
        """Return the host's address, which charms see as that of the controller."""
        return self._network.gateway if self._network.subnet is not None else ""

    def start(self) -> None:
        """Begin to run what the records say."""
        if self.book.records.machines:
            self._network.up()
        self._thread.start()

    def _unmount_leftovers(self) -> None:
        """Go on with what an earlier daemon had begun."""
        for item in list(self.book.records.storage.values()):
            if item.unit and item.attachment_life == DEAD:
                self.unmount(item.id)

    def hook_times(self, unit: str, hook: str, seconds: float, code: int) -> None:
        """Append how long a hook took to ``hooks.tsv``."""
        line = f"{time.time():.3f}\t{unit}\t{hook}\t{seconds:.3f}\t{code}\n"
        with self._times, suppress(OSError), (self.folder / "hooks.tsv").open("a") as file:
            file.write(line)

    def _run(self) -> None:
        while True:
            with self.book.lock:
                while not self._has_work():
                    if self.book.closed:
                        return
                    self.book.changed.wait()
                if self.book.closed:
                    return
                new_machines = [n for n in self.book.records.machines if n not in self.keepers]
                new_units = [n for n in self.book.records.units if n not in self.agents]
                hopeless = self._hopeless_units()
            for number in new_machines:
                try:
                    self._keep(number)
                except JujuError as error:
                    self._refuse_machine(number, str(error))
                    continue
            for name in hopeless:
                self.bury(name)
            for name in new_units:
                self._employ(name)
            if new_machines:
                self._unmount_leftovers()
                for keeper in list(self.keepers.values()):
                    keeper.write_hosts()

    def _has_work(self) -> bool:
        records = self.book.records
        for number in [n for n in self.keepers if n not in records.machines]:
            del self.keepers[number]
        for name in [n for n in self.agents if n not in records.units]:
            del self.agents[name]
        return (
            len(self.keepers) < len(records.machines)
            or len(self.agents) < len(records.units)
            or bool(self._hopeless_units())
        )

    def _hopeless_units(self) -> list[str]:
        """Return dying units whose charm never arrived on a machine: they go without hooks."""
        found = []
        for unit in self.book.records.units.values():
            machine = self.book.records.machines.get(unit.machine)
            up = machine is not None and machine.agent.current == "started"
            if unit.life != ALIVE and not unit.local.deployed and not up:
                found.append(unit.name)
        return found

    def _keep(self, number: str) -> None:
        with self.book.read() as records:
            machine = records.machines.get(number)
            if machine is None:
                return
            name, base = machine.hostname, machine.base
        keeper = MachineKeeper(
            number,
            book=self.book,
            container=self._make_container(self._machines / name, self._tag, name),
            network=self._network,
            volumes=self.volumes,
            log=self.log,
            base=self._find_base(base),
        )
        self.keepers[number] = keeper
        keeper.start()

    def _refuse_machine(self, number: str, text: str) -> None:
        """Say on the machine why it cannot be; its units wait until they are removed."""
        self.log.write(f"machine-{number}", "ERROR", "localjuju.machine", text)
        with self.book.change() as records:
            machine = records.machines.get(number)
            if machine is None:
                return
            machine.status = Status("provisioning error", text, self.book.now())
            machine.base = "host"
            machine.wanted = False
        self._keep(number)

    def _employ(self, name: str) -> None:
        with self.book.read() as records:
            unit = records.units.get(name)
            if unit is None:
                return
            seed = records.model.config.get("localjuju-seed", time.time_ns())
            keeper = self.keepers.get(unit.machine)
            if keeper is None:
                return
        agent = UnitAgent(
            name,
            book=self.book,
            keeper=keeper,
            log=self.log,
            volumes=self.volumes,
            host=self,
            chooser=random.Random(f"{seed} {name}"),  # noqa: S311  # order of hooks, not secrets
        )
        self.agents[name] = agent
        agent.start()

    def unmount(self, identifier: str) -> None:
        """Begin to unmount a storage that its unit has let go."""
        Unmounter(
            identifier,
            book=self.book,
            volumes=self.volumes,
            log=self.log,
            find_keeper=self.keepers.get,
        ).start()

    def bury(self, unit_name: str) -> None:
        """Take a dead unit out of the model, and its machine if nobody else uses it."""
        with self.book.read() as records:
            beside = [unit.name for unit in records.subordinates_of(unit_name)]
        for name in beside:
            self.bury(name)
        with self.book.change() as records:
            unit = records.units.get(unit_name)
            if unit is None:
                return
            number = unit.machine
            attached = [item for item in records.storage.values() if item.unit == unit_name]
            gone = deployment.bury_unit(records, unit, self.book.now())
            unused = deployment.is_machine_unused(records, number)
            if unused:
                records.machines[number].life = DEAD
            agent = self.agents.pop(unit_name, None)
            if agent is not None:
                agent.leave()
        if agent is not None:
            agent.abandon()
        if unused:
            self.remove_machine(number)
        for item in attached:
            self._put_away(item, gone)

    def _put_away(self, item: Storage, gone: list[Storage]) -> None:
        self.volumes.release(item)
        if item in gone:
            self.volumes.destroy(item)

    def remove_machine(self, number: str) -> None:
        """Stop and delete a machine."""
        with self.book.change() as records:
            machine = records.machines.get(number)
            if machine is not None:
                machine.life = DEAD
        keeper = self.keepers.get(number)
        if keeper is not None:
            keeper.destroy(in_order=True)
        with self.book.change() as records:
            records.machines.pop(number, None)

    def leave(self) -> None:
        """Stop the threads and leave the machines running: the daemon is going."""
        for agent in list(self.agents.values()):
            agent.leave()
        for keeper in list(self.keepers.values()):
            keeper.leave()
        self.book.close()
        self.log.close()

    def destroy(self) -> None:
        """Remove every trace of the model, without hooks."""
        with self.book.read() as records:
            machines = {m.number: m.hostname for m in records.machines.values()}
        for agent in list(self.agents.values()):
            agent.leave()
        for keeper in list(self.keepers.values()):
            keeper.leave()
        self.book.close()
        threads = []
        for number, hostname in machines.items():
            found = self.keepers.get(number)
            end = (
                partial(found.destroy, in_order=False)
                if found is not None
                else self._make_container(self._machines / hostname, self._tag, hostname).destroy
            )
            threads.append(threading.Thread(target=end))
            threads[-1].start()
        for thread in threads:
            thread.join()
        for hostname in machines.values():
            cgroups.remove(self._tag, hostname)
        self.volumes.destroy_all()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
