"""Members whose peers reach them through relays only, so that the network between them can fail."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from kvclient import Client
from tests.kit.relay import Relays
from tests.kit.servers import Cluster, Process, command_of, free_ports


class RelayedCluster(Cluster):
    """A context manager, of either engine."""

    def __init__(
        self, engine: str, directory: Path, size: int = 3, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(engine, directory, size, flags)
        self.relays = Relays()

    def __enter__(self) -> RelayedCluster:  # noqa: PYI034 - Self needs Python 3.11
        command = command_of(self.engine)
        assert command is not None, f"{self.engine} is not installed"
        ports = free_ports(3 * self.size)
        names = [f"m{i}" for i in range(self.size)]
        relayed = {n: f"http://127.0.0.1:{ports[3 * i]}" for i, n in enumerate(names)}
        for i, name in enumerate(names):
            own, client = (f"http://127.0.0.1:{ports[3 * i + j]}" for j in (1, 2))
            self.relays.add(name, ports[3 * i], ports[3 * i + 1])
            arguments = [
                *command, "--name", name,
                "--data-dir", str(self.directory / name),
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", own, "--initial-advertise-peer-urls", relayed[name],
                "--initial-cluster", ",".join(f"{n}={u}" for n, u in relayed.items()),
                *self.flags,
            ]  # fmt: skip
            log = self.directory / f"{name}.log"
            self.members.append(Process(name, arguments, client, own, log))
        self.prepare()
        try:
            for member in self.members:
                member.start()
                assert member.process is not None
                self.relays.learn_process(member.process.pid, member.name)
            self.wait_healthy()
            with Client(self.endpoints) as client_:
                for member_ in client_.member_list():
                    self.relays.learn(member_.member_id, member_.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def prepare(self) -> None:
        """Before the members start."""

    def cut_off(self, member: Process) -> None:
        """From its peers, in both directions; clients reach it."""
        others = [one.name for one in self.members if one is not member]
        self.relays.conditions.cut = {(member.name, o) for o in others} | {
            (o, member.name) for o in others
        }

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)
            member.kill()
        self.relays.stop()
