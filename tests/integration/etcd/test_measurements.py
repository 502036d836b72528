"""How long writes pause, and what is lost, for each operation and engine: a table, not a limit.

`RAFTKV_LONG=1 pytest -s tests/integration/etcd/test_measurements.py` prints rows for
docs/reference/operations.md. Only what must never happen fails here: a lost write, a hook error.
`MEASURE_RESTORE_MIB=1024` measures the restore with that much.
"""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jubilant
import pytest

from kvclient import Client, KvClientError
from localjuju.paths import data_directory
from tests.integration.etcd.conftest import BUNDLE, ETCD, open_model
from tests.integration.etcd.stories import (
    Keys,
    is_healthy,
    leader_of,
    list_endpoints,
    wait_healthy,
)
from tests.integration.etcd.test_engine_etcd import alter_program, find_program
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = [pytest.mark.integration, pytest.mark.long]

RESTORE_MIB = int(os.environ.get("MEASURE_RESTORE_MIB", "100"))
VALUE = b"x" * 100_000
ENGINES = pytest.mark.parametrize("engine", ["raftkv", "etcd"])


@dataclass(frozen=True)
class HookTimes:
    """The hooks of one operation."""

    seconds: tuple[float, ...]
    failures_count: int

    def format(self) -> str:
        """Return median and worst."""
        if not self.seconds:
            return "- | -"
        return f"{statistics.median(self.seconds):.1f} s | {max(self.seconds):.1f} s"


def read_hooks(since_s: float) -> HookTimes:
    """Return the hooks of etcd's units that have ended since then, as the local model notes them."""
    files = sorted(data_directory().glob("models/*/hooks.tsv"), key=lambda p: p.stat().st_mtime)
    rows = [line.split("\t") for line in files[-1].read_text().splitlines()] if files else []
    mine = [row for row in rows if row[1].startswith("etcd/") and float(row[0]) >= since_s]
    return HookTimes(
        tuple(float(row[3]) for row in mine), sum(row[4] not in ("0", "137") for row in mine)
    )


class Bench:
    """A cluster of one engine, a writer, and the rows of the table."""

    def __init__(self, juju: jubilant.Juju, folder: Path, engine: str, members: int = 1) -> None:
        self.juju, self.folder, self.engine = juju, folder, engine
        resources = None
        if engine == "etcd":
            resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
        juju.model_config({"localjuju-lease-seconds": 5})
        config = {"engine": engine, "quota": "4G"}
        juju.deploy(ETCD, "etcd", num_units=members, config=config, resources=resources)
        wait_healthy(juju, members)
        self.keys = Keys(juju, folder)
        self.rows: list[str] = []

    @property
    def service(self) -> str:
        """The engine's service on a unit."""
        return {"raftkv": "raftkvd", "etcd": "etcd-member"}[self.engine]

    def endpoints(self, without: tuple[str, ...] = (), scheme: str = "https") -> list[str]:
        units = self.juju.status().apps["etcd"].units
        return [
            f"{scheme}://{u.public_address}:2379" for n, u in units.items() if n not in without
        ]

    def processes(self) -> dict[str, str]:
        """The main process and its program, by unit."""
        look = (
            f"pid=$(systemctl show -p MainPID --value {self.service}); "
            "echo $pid; tr '\\0' '\\n' </proc/$pid/cmdline; readlink /proc/$pid/exe"
        )
        units = self.juju.status().apps["etcd"].units
        return {unit: self.juju.exec(look, unit=unit).stdout for unit in units}

    def measure(
        self,
        name: str,
        act: Callable[[], object],
        done: Callable[[jubilant.Status], bool],
        endpoints: list[str] | None = None,
        after: list[str] | None = None,
    ) -> None:
        """Do something under writes until it is done, and add a row."""
        writer = ContinuousWriter(endpoints or self.endpoints(), self.keys.tls, 0.01)
        writer.start()
        writer.wait_acknowledged(20, timeout_s=60)
        began_s, began_day_s = time.monotonic(), time.time()
        act()
        self.juju.wait(done, error=jubilant.any_error, successes=1)
        took_s = time.monotonic() - began_s
        hooks = read_hooks(began_day_s)
        after = after or self.endpoints()
        writer.use_endpoints(after)
        writer.wait_acknowledged(20, timeout_s=60)
        writer.stop()
        lost = writer.lost(after, self.keys.tls)
        self.keys.endpoints = after
        self.say(
            name,
            f"{took_s:.0f} s | {writer.longest_pause_s():.2f} s | {writer.failures_count} | "
            f"{len(lost)} | {hooks.failures_count} | {hooks.format()}",
        )
        assert lost == [], name
        assert hooks.failures_count == 0, name

    def say(self, name: str, numbers: str) -> None:
        row = f"| {name} | {self.engine} | {numbers} |"
        self.rows.append(row)
        print(row, flush=True)

    def healthy(self, members: int) -> Callable[[jubilant.Status], bool]:
        return lambda status: is_healthy(status, members)

    def at_rest(self, status: jubilant.Status) -> bool:
        """Healthy, and nobody rotates an authority."""
        leader = leader_of(status)
        return is_healthy(status, 3) and '"rotation":' not in self.juju.cli(
            "show-unit", leader, "--format", "json"
        )

    def raft_leader(self) -> str:
        rows = json.loads(
            self.juju.run(leader_of(self.juju.status()), "members").results["members"]
        )
        name = next(row["name"] for row in rows if row["role"] == "leader")
        return f"etcd/{name.removeprefix('etcd')}"


@ENGINES
def test_operations_are_measured(tmp_path, engine):
    with open_model() as juju:
        bench = Bench(juju, tmp_path, engine)
        bench.measure(
            "scale up, 1 to 3", lambda: juju.add_unit("etcd", num_units=2), bench.healthy(3)
        )
        measure_options(bench)
        measure_versions(bench)
        measure_failures(bench)
        measure_rebuild(bench)


@ENGINES
def test_a_restore_is_measured(tmp_path, engine):
    with open_model() as juju:
        measure_restore(Bench(juju, tmp_path, engine, members=3), RESTORE_MIB)


def measure_options(bench: Bench) -> None:
    """Measure leadership, an option, authorities, storage, and both ways of plain http."""
    juju = bench.juju
    bench.measure(
        "Raft leader handed over",
        lambda: juju.run(leader_of(juju.status()), "transfer-leadership"),
        bench.healthy(3),
    )
    before = bench.processes()
    bench.measure(
        "an option rolled through",
        lambda: juju.config("etcd", {"heartbeat_interval": 120}),
        lambda status: (
            is_healthy(status, 3)
            and all(before[unit] != now for unit, now in bench.processes().items())
        ),
    )
    for plane in ("server", "peer", "client"):
        bench.measure(
            f"{plane} authority replaced",
            lambda plane=plane: juju.run(leader_of(juju.status()), "rotate-ca", {"plane": plane}),
            bench.at_rest,
        )

    def add_storage() -> None:
        for unit in juju.status().apps["etcd"].units:
            juju.cli("add-storage", unit, "data=2G")

    bench.measure(
        "storage added, data moved",
        add_storage,
        lambda status: (
            is_healthy(status, 3)
            and all(
                "/storage/data/"
                in juju.exec("readlink /var/lib/etcd-charm/data", unit=unit).stdout
                for unit in status.apps["etcd"].units
            )
        ),
    )
    secure, plain = bench.endpoints(), bench.endpoints(scheme="http")

    def is_plain(status: jubilant.Status) -> bool:
        texts = [u.workload_status.message for u in status.apps["etcd"].units.values()]
        return all(text.endswith("3 members, plain http") for text in texts)

    bench.measure(
        "TLS to plain http",
        lambda: juju.config("etcd", {"tls": False}),
        is_plain,
        [*secure, *plain],
        plain,
    )
    bench.measure(
        "plain http to TLS",
        lambda: juju.config("etcd", {"tls": True}),
        bench.healthy(3),
        [*secure, *plain],
        secure,
    )


def measure_versions(bench: Bench) -> None:
    """Measure another engine, attached, and a refresh of the charm."""
    juju, before = bench.juju, bench.processes()

    def attach() -> None:
        if bench.engine == "raftkv":
            juju.cli("attach-resource", "etcd", f"raftkv={BUNDLE}")
            return
        program = alter_program("etcd", bench.folder / "etcd", "3.4.99")
        juju.cli("attach-resource", "etcd", f"etcd={program}")

    bench.measure(
        "another engine attached",
        attach,
        lambda status: (
            is_healthy(status, 3)
            and all(before[unit] != now for unit, now in bench.processes().items())
        ),
    )
    bench.measure(
        "refresh of the charm",
        lambda: juju.refresh("etcd", path=ETCD),
        lambda status: is_healthy(status, 3) and jubilant.all_agents_idle(status, "etcd"),
    )


def measure_failures(bench: Bench) -> None:
    """Measure the loss of the Raft leader's machine, and its unit's removal."""
    juju = bench.juju
    leader = bench.raft_leader()

    def crash() -> None:
        juju.cli("fault", "crash", leader)

        def serves() -> bool:
            try:
                with Client(bench.endpoints((leader,)), tls=bench.keys.tls, timeout_s=1) as client:
                    client.put(b"probe", b"1")
            except KvClientError:
                return False
            return True

        wait_for(serves, 60, "the others go on")
        juju.cli("fault", "start", leader)

    bench.measure("Raft leader's machine lost and back", crash, bench.healthy(3))
    leaver = bench.raft_leader()
    bench.measure(
        "scale down, the Raft leader leaves",
        lambda: juju.remove_unit(leaver),
        bench.healthy(2),
        bench.endpoints((leaver,)),
    )
    juju.add_unit("etcd")
    wait_healthy(juju, 3)


def measure_rebuild(bench: Bench) -> None:
    """Lose two of three for good, and go on from the survivor: from the action to a write."""
    juju = bench.juju
    survivor, *others = sorted(juju.status().apps["etcd"].units)
    cluster = juju.run(survivor, "members").results["cluster-id"]
    writer = ContinuousWriter(bench.endpoints(), bench.keys.tls, 0.01)
    writer.start()
    writer.wait_acknowledged(20, timeout_s=60)
    for unit in others:
        juju.cli("fault", "crash", unit)
    juju.wait(lambda status: status.apps["etcd"].units[survivor].leader)
    juju.remove_unit(*others, force=True)
    wait_for(lambda: set(juju.status().apps["etcd"].units) == {survivor}, 120, "the others go")
    began_s, began_day_s = time.monotonic(), time.time()
    juju.run(survivor, "rebuild-cluster", {"confirm": cluster})
    writer.use_endpoints(bench.endpoints())
    writer.wait_acknowledged(1, timeout_s=120)
    pause_s = time.monotonic() - began_s
    juju.wait(bench.healthy(1), error=jubilant.any_error, successes=1)
    took_s = time.monotonic() - began_s
    hooks = read_hooks(began_day_s)
    writer.stop()
    lost = writer.lost(bench.endpoints(), bench.keys.tls)
    bench.say(
        "rebuild from one of three",
        f"{took_s:.0f} s | {pause_s:.1f} s from the action | - | {len(lost)} | "
        f"{hooks.failures_count} | {hooks.format()}",
    )
    assert lost == []


def fill(bench: Bench, size_mib: int) -> None:
    """Write as much; on a busy machine a member may leave a write without an answer."""
    number, failures = 0, 0
    while number < size_mib * 10:
        try:
            with Client(bench.endpoints(), tls=bench.keys.tls, timeout_s=30) as client:
                while number < size_mib * 10:
                    client.put(b"fill/%06d" % number, VALUE)
                    number += 1
        except KvClientError:
            failures += 1
            assert failures < 20, f"after {number} values"


def measure_restore(bench: Bench, size_mib: int) -> None:
    """Fill, snapshot, and see how long nobody can write while three units go back to it."""
    juju = bench.juju
    fill(bench, size_mib)
    leader = leader_of(juju.status())
    path = juju.run(leader, "snapshot", wait=600).results["snapshot"]["path"]
    writer = ContinuousWriter(bench.endpoints(), bench.keys.tls, 0.01)
    writer.start()
    writer.wait_acknowledged(20, timeout_s=60)
    began_s, began_day_s = time.monotonic(), time.time()
    order = {"path": path, "allow-revision-rollback": True, "skip-backup": True}
    juju.run(leader, "restore", order, wait=900)
    prepared_s = time.monotonic() - began_s
    juju.wait(
        lambda status: (
            is_healthy(status, 3)
            and not any(
                "restor" in u.workload_status.message for u in status.apps["etcd"].units.values()
            )
        ),
        timeout=900,
        successes=3,
    )
    took_s = time.monotonic() - began_s
    hooks = read_hooks(began_day_s)
    writer.use_endpoints(list_endpoints(juju.status()))
    writer.wait_acknowledged(20, timeout_s=60)
    writer.stop()
    bench.say(
        f"restore of {size_mib} MiB on three units",
        f"{took_s:.0f} s (checked and proved in {prepared_s:.0f} s) | "
        f"{writer.longest_pause_s():.2f} s | {writer.failures_count} | by intent | "
        f"{hooks.failures_count} | {hooks.format()}",
    )
    with Client(bench.endpoints(), tls=bench.keys.tls, timeout_s=30) as client:
        assert client.get(b"fill/%06d" % (size_mib * 10 - 1)) == VALUE
    assert hooks.failures_count == 0
