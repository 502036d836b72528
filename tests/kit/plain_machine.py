"""Machines that are plain directories: real agents, hooks and tools without any container."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from localjuju.controller import Controller
from localjuju.errors import MachineGone
from localjuju.journal import Journal
from localjuju.machines.nspawn import Container
from localjuju.model_host import ModelHost
from localjuju.network import Network

JUJU = "/var/lib/juju"


class PlainMachine(Container):
    """A directory in which processes run as they are; paths of Juju's are moved below it."""

    def __init__(self, directory: Path, tag: str, name: str) -> None:
        super().__init__(directory, tag, name)
        self._mark = directory / "up"
        self._gone = threading.Event()
        self._runs = directory / "runs"

    @property
    def live_root(self) -> Path:
        return self.root

    def is_up(self) -> bool:
        return self._mark.exists()

    def adopt(self, pid: int, started: str) -> bool:
        del pid, started
        return self.is_up()

    def start(self, **more: Any) -> None:
        del more
        (self.root / "usr/bin").mkdir(parents=True, exist_ok=True)
        (self.root / "var/log/juju").mkdir(parents=True, exist_ok=True)
        self._gone.clear()
        self._mark.touch()

    def call(self, command: Sequence[str], *, check: bool = True) -> str:
        del check
        if command[:2] == ["mkdir", "-p"]:
            (self.root / command[2].lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif command[:2] == ["systemctl", "kill"]:
            self._kill_runs()
        return ""

    def _inside(self, text: str) -> str:
        return text.replace(JUJU, f"{self.root}{JUJU}")

    def spawn(
        self, unit: str, command: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> subprocess.Popen[bytes]:
        del unit
        try:
            with self._runs.open("a") as file:
                process = subprocess.Popen(
                    [self._inside(word) for word in command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={key: self._inside(value) for key, value in environment.items()},
                    cwd=self._inside(folder),
                    start_new_session=True,
                )
                file.write(f"{process.pid}\n")
        except FileNotFoundError:
            raise MachineGone(f"machine {self.name} is down") from None
        return process

    def _kill_runs(self) -> None:
        """Kill what an earlier agent has left running, as the real one does by name."""
        with suppress(FileNotFoundError):
            lines = self._runs.read_text().split()
            self._runs.unlink()
            for line in lines:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(line), signal.SIGKILL)

    def kill_unit(self, unit: str) -> None:
        del unit
        self._kill_runs()

    def wait_gone(self, timeout: float | None) -> bool:
        return self._gone.wait(timeout)

    def wants_reboot(self) -> bool:
        return False

    def stop(self) -> None:
        self._mark.unlink(missing_ok=True)
        self._gone.set()

    crash = kill = stop


class NoNetwork(Network):
    """Hands out addresses that nobody plugs in."""

    def up(self) -> None:
        if self.subnet is None:
            self.subnet = self._free_subnet()
            self._save()

    def down(self) -> None:
        return


class PlainController(Controller):
    """A controller whose machines are plain directories."""

    def __init__(self, data: Path, make_journal: Any = Journal) -> None:
        super().__init__(data)
        self.network = NoNetwork(data, self.tag)
        self._make_journal = make_journal

    def _host(self, path: Path) -> ModelHost:
        return ModelHost(
            path,
            self.tag,
            self.network,
            self.data / "machines",
            lambda _: Path("/"),
            make_container=PlainMachine,
            make_journal=self._make_journal,
        )

    def prepare_machines(self) -> None:
        self.network.up()
