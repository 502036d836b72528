"""Members whose peers reach them through relays only, so that the network between them can fail."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from kvclient import Client
from tests.kit.relay import Relays
from tests.kit.servers import Cluster, Process, free_ports


class RelayedCluster(Cluster):
    """Of either engine; otherwise like ``Cluster``."""

    def __init__(
        self, engine: str, directory: Path, size: int = 3, flags: Sequence[str] = ()
    ) -> None:
        super().__init__(engine, directory, size, flags)
        self.relays = Relays()

    def make_members(self, names: list[str]) -> None:
        ports = free_ports(3 * self.size)
        relayed = {n: f"http://127.0.0.1:{ports[3 * i]}" for i, n in enumerate(names)}
        for i, name in enumerate(names):
            own, client = (f"http://127.0.0.1:{ports[3 * i + j]}" for j in (1, 2))
            self.relays.add(name, ports[3 * i], ports[3 * i + 1])
            self.add_member(name, client, own, relayed)

    def start_members(self) -> None:
        for member in self.members:
            member.start()
            assert member.process is not None
            self.relays.learn_process(member.process.pid, member.name)
        self.wait_healthy()
        with Client(self.endpoints) as client:
            for one in client.member_list():
                self.relays.learn(one.member_id, one.name)

    def cut_off(self, member: Process) -> None:
        """From its peers, in both directions; clients reach it."""
        others = [one.name for one in self.members if one is not member]
        self.relays.conditions.cut = {(member.name, o) for o in others} | {
            (o, member.name) for o in others
        }

    def kill(self) -> None:
        for member in self.members:
            if member.process is not None:
                member.process.send_signal(signal.SIGCONT)
        super().kill()
        self.relays.stop()
