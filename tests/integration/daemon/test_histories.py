"""Real members under mixed faults: every history is linearizable, every watcher misses nothing.

Short in ``./run test``; ``FAULT_SECONDS=900 ./run test-long tests/integration/daemon/test_histories.py``
is what the documents speak of.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from kvclient import Client, KvClientError
from tests.kit.clocks import WrongClock, find_library
from tests.kit.histories import EventCollector, HistoryClient
from tests.kit.linearizability import find_violation
from tests.kit.relayed_cluster import RelayedCluster
from tests.kit.servers import Process
from tests.kit.waiting import wait_for

SECONDS = float(os.environ.get("FAULT_SECONDS", "120" if os.environ.get("RAFTKV_LONG") else "10"))
CLIENTS = 5
KEYS = 4


class FaultyCluster(RelayedCluster):
    """Whose members' clocks can be wrong as well, where libfaketime is to be had."""

    def __init__(self, directory: Path, size: int) -> None:
        timing = ("--heartbeat-interval", "50", "--election-timeout", "500")
        super().__init__("raftkv", directory, size, timing)
        self.clocks: dict[str, WrongClock] = {}

    def make_members(self, names: list[str]) -> None:
        super().make_members(names)
        library = find_library()
        if library is not None:
            self.clocks = {member.name: WrongClock(member, library) for member in self.members}


class Chaos:
    """One fault after the other until the time is over."""

    def __init__(self, cluster: FaultyCluster, seed: int) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self._heal_at: list[tuple[float, str, Process | None]] = []
        self.counts: dict[str, int] = {}

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._strike()
            pause = time.monotonic() + self._chance.uniform(0.2, 1.2)
            while time.monotonic() < pause:
                self._heal_due()
                time.sleep(0.02)
        for _, what, member in self._heal_at:
            self._heal(what, member)
        self._heal_at.clear()

    def _strike(self) -> None:
        what = self._chance.choice(
            ("kill", "kill all", "freeze", "cut", "isolate", "slow", "clock")
        )
        member = self._chance.choice(self._cluster.members)
        conditions = self._cluster.relays.conditions
        names = [m.name for m in self._cluster.members]
        if what in {"kill", "freeze"} and (member.process is None or self._is_frozen(member)):
            return
        self.counts[what] = self.counts.get(what, 0) + 1
        if what == "kill":
            member.kill()
        elif what == "kill all":
            if self._chance.random() < 0.7:
                return
            for one in self._cluster.members:
                if one.process is not None and not self._is_frozen(one):
                    one.kill()
                    self._later(what, one)
            return
        elif what == "freeze":
            assert member.process is not None
            member.process.send_signal(signal.SIGSTOP)
        elif what == "clock":
            if member.name in self._cluster.clocks:
                offset_s = self._chance.choice([-86400, -5, 5, 3600, 86400])
                self._cluster.clocks[member.name].set(offset_s)
            return
        elif what == "cut":
            conditions.cut = {
                (a, b) for a in names for b in names if a != b and self._chance.random() < 0.4
            }
        elif what == "isolate":
            self._cluster.cut_off(member)
        else:
            conditions.delay_s = self._chance.uniform(0.01, 0.3)
        self._later(what, member)

    def _is_frozen(self, member: Process) -> bool:
        return any(what == "freeze" and m is member for _, what, m in self._heal_at)

    def _later(self, what: str, member: Process) -> None:
        at = time.monotonic() + self._chance.uniform(0.3, 2.5)
        self._heal_at.append((at, what, member))

    def _heal_due(self) -> None:
        now = time.monotonic()
        for item in [i for i in self._heal_at if i[0] <= now]:
            self._heal_at.remove(item)
            self._heal(item[1], item[2])

    def _heal(self, what: str, member: Process | None) -> None:
        conditions = self._cluster.relays.conditions
        if what in {"kill", "kill all"} and member is not None and member.process is None:
            member.start()
        elif what == "freeze" and member is not None and member.process is not None:
            member.process.send_signal(signal.SIGCONT)
        elif what in {"cut", "isolate"}:
            conditions.cut = set()
        elif what == "slow":
            conditions.delay_s = 0.0


@pytest.mark.parametrize("size", [3, 5])
def test_histories_are_linearizable_and_watches_complete(tmp_path: Path, size: int) -> None:
    seed = int(os.environ.get("FAULT_SEED", "1")) * 100 + size
    with FaultyCluster(tmp_path, size) as cluster:
        clients = [HistoryClient(cluster.endpoints, seed + i, KEYS, 0.004) for i in range(CLIENTS)]
        collectors = [EventCollector(cluster.endpoints, seed + 50 + i) for i in range(2)]
        for thread in (*clients, *collectors):
            thread.start()
        chaos = Chaos(cluster, seed)
        chaos.run(SECONDS)
        cluster.wait_healthy()
        for client in clients:
            client.stop()
        with Client(cluster.endpoints, timeout_s=5) as last:
            end = write_end(last)
            wait_for(lambda: all(c.revision >= end for c in collectors), 20, "watchers catch up")
            expected = read_history(last, end)
        for collector in collectors:
            collector.stop()
        history = [operation for client in clients for operation in client.history]
        done = sum(not operation.is_unknown for operation in history)
        print(
            f"{size} members, {SECONDS} s, seed {seed}: {chaos.counts}; {done} operations done, "
            f"{len(history) - done} of unknown outcome, {len(expected)} revisions"
        )
        assert done > 10 * SECONDS
        assert find_violation(history) == ""
        for collector in collectors:
            assert collector.problems == []
            assert [e for e in collector.events if e[0] <= end] == expected


def write_end(client: Client) -> int:
    for _ in range(20):
        try:
            return client.put(b"end", b"end")
        except KvClientError:
            continue
    raise AssertionError("no write after everything healed")


def read_history(client: Client, end: int) -> list[tuple[int, bytes, bytes]]:
    """Every event from the first to the last revision, from one quiet watch."""
    events: list[tuple[int, bytes, bytes]] = []
    for answer in client.watch(b"\0", b"\0", start_revision=2):
        for event in answer.events:
            assert event.kv is not None
            events.append((event.kv.mod_revision, event.kv.key, event.kv.value))
        if events and events[-1][0] >= end:
            break
    return [event for event in events if event[0] <= end]
