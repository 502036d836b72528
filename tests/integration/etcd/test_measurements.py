"""How long writes pause, and what is lost, for each operation and engine: a table, not a limit.

`RAFTKV_LONG=1 pytest -s tests/integration/etcd/test_measurements.py` prints rows for
docs/reference/operations.md. Only what must never happen fails here: a lost write, a hook error.
"""

import json
import os
import time
from collections.abc import Callable

import jubilant
import pytest

from kvclient import Client, KvClientError
from tests.integration.etcd.conftest import ETCD
from tests.integration.etcd.stories import (
    Keys,
    is_healthy,
    leader_of,
    list_endpoints,
    wait_healthy,
)
from tests.integration.etcd.test_engine_etcd import find_program
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = [pytest.mark.integration, pytest.mark.long]

RESTORE_MIB = int(os.environ.get("MEASURE_RESTORE_MIB", "100"))
VALUE = b"x" * 100_000


class Bench:
    """A cluster of one engine, a writer, and the rows of the table."""

    def __init__(self, juju: jubilant.Juju, folder, engine: str) -> None:
        self.juju, self.folder, self.engine = juju, folder, engine
        resources = None
        if engine == "etcd":
            resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
        juju.model_config({"localjuju-lease-seconds": 5})
        juju.deploy(ETCD, "etcd", num_units=1, config={"engine": engine}, resources=resources)
        wait_healthy(juju, 1)
        self.keys = Keys(juju, folder)
        self.rows: list[str] = []

    def endpoints(self, without: tuple[str, ...] = ()) -> list[str]:
        units = self.juju.status().apps["etcd"].units
        return [f"https://{u.public_address}:2379" for n, u in units.items() if n not in without]

    def measure(
        self,
        name: str,
        act: Callable[[], object],
        done: Callable[[jubilant.Status], bool],
        endpoints: list[str] | None = None,
    ) -> None:
        writer = ContinuousWriter(endpoints or self.endpoints(), self.keys.tls, 0.01)
        writer.start()
        writer.wait_acknowledged(20, timeout_s=60)
        began_s = time.monotonic()
        act()
        self.juju.wait(done, error=jubilant.any_error, successes=1)
        took_s = time.monotonic() - began_s
        writer.use_endpoints(self.endpoints())
        writer.wait_acknowledged(20, timeout_s=60)
        writer.stop()
        self.keys.endpoints = self.endpoints()
        lost = writer.lost(self.endpoints(), self.keys.tls)
        assert lost == [], name
        row = (
            f"| {name} | {self.engine} | {took_s:.0f} s | {writer.longest_pause_s():.2f} s | "
            f"{writer.failures_count} | {len(lost)} |"
        )
        self.rows.append(row)
        print(row, flush=True)

    def healthy(self, members: int) -> Callable[[jubilant.Status], bool]:
        return lambda status: is_healthy(status, members)

    def raft_leader(self) -> str:
        rows = json.loads(
            self.juju.run(leader_of(self.juju.status()), "members").results["members"]
        )
        name = next(row["name"] for row in rows if row["role"] == "leader")
        return f"etcd/{name.removeprefix('etcd')}"


@pytest.mark.parametrize("engine", ["raftkv", "etcd"])
def test_operations_are_measured(juju, tmp_path, engine):
    if "etcd" in juju.status().apps:
        juju.remove_application("etcd", force=True)
        juju.wait(lambda status: "etcd" not in status.apps)
    bench = Bench(juju, tmp_path, engine)
    bench.measure("scale up, 1 to 3", lambda: juju.add_unit("etcd", num_units=2), bench.healthy(3))

    leader = bench.raft_leader()
    bench.measure(
        "Raft leader handed over",
        lambda: juju.run(leader_of(juju.status()), "transfer-leadership"),
        bench.healthy(3),
    )
    bench.measure(
        "an option rolled through",
        lambda: juju.config("etcd", {"heartbeat_interval": 120}),
        lambda status: (
            is_healthy(status, 3)
            and all(
                "heartbeat-interval: 120"
                in juju.exec("cat /etc/etcd/etcd.conf.yml", unit=unit).stdout
                and not juju.exec(
                    'find /etc/etcd/etcd.conf.yml -newermt @$(date -d "$(systemctl show -p '
                    f"ActiveEnterTimestamp --value {'raftkvd' if engine == 'raftkv' else 'etcd-member'}"
                    ')" +%s)',
                    unit=unit,
                ).stdout.strip()
                for unit in status.apps["etcd"].units
            )
        ),
    )
    bench.measure(
        "server authority replaced",
        lambda: juju.run(leader_of(juju.status()), "rotate-ca", {"plane": "server"}),
        lambda status: (
            is_healthy(status, 3)
            and '"rotation":' not in juju.cli("show-unit", leader_of(status), "--format", "json")
        ),
    )
    bench.measure(
        "peer authority replaced",
        lambda: juju.run(leader_of(juju.status()), "rotate-ca", {"plane": "peer"}),
        lambda status: (
            is_healthy(status, 3)
            and '"rotation":' not in juju.cli("show-unit", leader_of(status), "--format", "json")
        ),
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
    bench.measure(
        "refresh of the charm",
        lambda: juju.refresh("etcd", path=ETCD),
        lambda status: is_healthy(status, 3) and jubilant.all_agents_idle(status, "etcd"),
    )
    leader = bench.raft_leader()

    def crash() -> None:
        juju.cli("fault", "crash", leader)
        others = [u for u in juju.status().apps["etcd"].units if u != leader]

        def serves() -> bool:
            try:
                with Client(bench.endpoints((leader,)), tls=bench.keys.tls, timeout_s=1) as client:
                    client.put(b"probe", b"1")
            except KvClientError:
                return False
            return bool(others)

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
    measure_restore(bench, RESTORE_MIB)
    print(juju.cli("hook-times"))


def measure_restore(bench: Bench, size_mib: int) -> None:
    """Fill, snapshot, and see how long nobody can write while three units go back to it."""
    juju = bench.juju
    with Client(bench.endpoints(), tls=bench.keys.tls, timeout_s=30) as client:
        for number in range(size_mib * 10):
            client.put(b"fill/%06d" % number, VALUE)
    leader = leader_of(juju.status())
    path = juju.run(leader, "snapshot", wait=600).results["snapshot"]["path"]
    writer = ContinuousWriter(bench.endpoints(), bench.keys.tls, 0.01)
    writer.start()
    writer.wait_acknowledged(20, timeout_s=60)
    began_s = time.monotonic()
    juju.run(
        leader,
        "restore",
        {"path": path, "allow-revision-rollback": True, "skip-backup": True},
        wait=900,
    )
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
    writer.use_endpoints(list_endpoints(juju.status()))
    writer.wait_acknowledged(20, timeout_s=60)
    writer.stop()
    row = (
        f"| restore of {size_mib} MiB on three units | {bench.engine} | {took_s:.0f} s "
        f"(checked and proved in {prepared_s:.0f} s) | {writer.longest_pause_s():.2f} s | "
        f"{writer.failures_count} | n/a |"
    )
    bench.rows.append(row)
    print(row, flush=True)
