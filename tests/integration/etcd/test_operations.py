"""Options, storage and upkeep of a running cluster, under continuous writes.

The tests are one story on one model of three units; at the end of each, nothing that was
acknowledged may be missing.
"""

import json

import jubilant
import pytest

from tests.integration.etcd.conftest import ETCD, open_model
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

pytestmark = pytest.mark.integration

WRITES = 20


@pytest.fixture(scope="module", params=["raftkv", pytest.param("etcd", marks=pytest.mark.long)])
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def service(engine):
    return {"raftkv": "raftkvd", "etcd": "etcd-member"}[engine]


@pytest.fixture(scope="module")
def juju(engine):
    """A model per engine."""
    with open_model() as model:
        yield model


@pytest.fixture(scope="module")
def keys(juju, engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("credentials")
    juju.model_config({"localjuju-lease-seconds": 5})
    resources = None
    if engine == "etcd":
        resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
    juju.deploy(ETCD, "etcd", num_units=3, config={"engine": engine}, resources=resources)
    wait_healthy(juju, 3)
    return Keys(juju, folder)


@pytest.fixture
def writer(juju, keys):
    """Writes through all members while a test runs; nothing of it may be lost."""
    writer = ContinuousWriter(list_endpoints(juju.status()), keys.tls, 0.02)
    writer.start()
    writer.wait_acknowledged(WRITES, timeout_s=30)
    yield writer
    writer.wait_acknowledged(WRITES, timeout_s=30)
    writer.stop()
    print(f"longest pause {writer.longest_pause_s():.2f} s, {writer.failures_count} failed")


def list_advertised(juju, unit: str) -> list[str]:
    rows = json.loads(juju.run(unit, "members").results["members"])
    return sorted(
        url
        for row in rows
        for name in ("peer-urls", "client-urls")
        for url in row[name].split(",")
    )


def test_members_and_the_application_say_how_they_are(juju, keys):
    rows = json.loads(juju.run("etcd/0", "members").results["members"])
    assert {row["name"] for row in rows} == {"etcd0", "etcd1", "etcd2"}
    assert [row["role"] for row in rows].count("leader") == 1
    status = juju.status().apps["etcd"].app_status
    assert (status.current, status.message) == ("active", "3 members, can lose 1")


def test_leadership_is_handed_to_whom_it_is_asked_to(juju, writer):
    for name in ("etcd1", "etcd2"):
        juju.run("etcd/0", "transfer-leadership", {"to": name})
        wait_for(
            lambda name=name: (
                next(
                    row["name"]
                    for row in json.loads(juju.run("etcd/0", "members").results["members"])
                    if row["role"] == "leader"
                )
                == name
            ),
            10,
            f"{name} leads",
        )


def test_a_paused_member_stays_stopped_and_comes_back(juju, service, writer):
    unit = leader_of(juju.status())
    juju.run(unit, "pause")
    juju.wait(
        lambda status: status.apps["etcd"].units[unit].workload_status.current == "maintenance"
    )
    assert (
        juju.exec(f"systemctl is-active {service} || true", unit=unit).stdout.strip() != "active"
    )
    with pytest.raises(jubilant.TaskError, match="force=true"):
        juju.run(next(name for name in juju.status().apps["etcd"].units if name != unit), "pause")
    juju.run(unit, "resume")
    wait_healthy(juju, 3)


def test_row_23_ports_move_member_by_member_without_a_pause(juju, keys, writer):
    juju.config("etcd", {"port": 3379, "management_port": 3380})

    def is_moved(status: jubilant.Status) -> bool:
        if not is_healthy(status, 3):
            return False
        urls = list_advertised(juju, "etcd/0")
        return all(url.endswith((":3379", ":3380")) for url in urls)

    juju.wait(is_moved, error=jubilant.any_error, successes=1)
    addresses = [unit.public_address for unit in juju.status().apps["etcd"].units.values()]
    keys.endpoints = [f"https://{address}:3379" for address in addresses]
    writer.use_endpoints(keys.endpoints)
    writer.wait_acknowledged(WRITES, timeout_s=30)
    assert writer.lost(keys.endpoints, keys.tls) == []


def test_ports_move_back(juju, keys, writer):
    writer.use_endpoints(keys.endpoints)
    juju.config("etcd", reset=["port", "management_port"])

    def is_moved(status: jubilant.Status) -> bool:
        return is_healthy(status, 3) and all(
            url.endswith((":2379", ":2380")) for url in list_advertised(juju, "etcd/0")
        )

    juju.wait(is_moved, error=jubilant.any_error, successes=1)
    keys.endpoints = list_endpoints(juju.status())
    writer.use_endpoints(keys.endpoints)
    writer.wait_acknowledged(WRITES, timeout_s=30)
    assert writer.lost(keys.endpoints, keys.tls) == []


def test_tls_is_taken_off_and_put_on_again_under_writes(juju, keys, writer):
    """The seeds' breaking upgrade, both ways, on a running cluster."""
    for tls, scheme in ((False, "http"), (True, "https")):
        juju.config("etcd", {"tls": tls})

        def is_switched(status: jubilant.Status, scheme: str = scheme) -> bool:
            units = status.apps["etcd"].units.values()
            texts = [unit.workload_status.message for unit in units]
            notes = ", plain http" if scheme == "http" else "3 members"
            return all(text.endswith(notes) for text in texts) and all(
                url.startswith(f"{scheme}://")
                for url in list_advertised(juju, "etcd/0")
                if url.endswith(":2379")
            )

        juju.wait(is_switched, error=jubilant.any_error, successes=1)
        addresses = [unit.public_address for unit in juju.status().apps["etcd"].units.values()]
        endpoints = [f"{scheme}://{address}:2379" for address in addresses]
        writer.use_endpoints(endpoints)
        writer.wait_acknowledged(WRITES, timeout_s=30)
        assert writer.lost(endpoints, keys.tls) == []
    keys.endpoints = endpoints


def test_data_moves_to_storage_that_is_added_to_a_running_unit(juju, keys, writer):
    for unit in juju.status().apps["etcd"].units:
        juju.cli("add-storage", unit, "data=1G")

    def is_moved(status: jubilant.Status) -> bool:
        return is_healthy(status, 3) and all(
            "/storage/data/" in juju.exec("readlink /var/lib/etcd-charm/data", unit=unit).stdout
            for unit in status.apps["etcd"].units
        )

    juju.wait(is_moved, error=jubilant.any_error, successes=1)
    writer.wait_acknowledged(WRITES, timeout_s=30)
    assert writer.lost(keys.endpoints, keys.tls) == []


def test_upkeep(juju, keys):
    revision = keys.put("upkeep", "1")
    assert int(juju.run("etcd/0", "compact").results["revision"]) >= revision
    assert juju.run("etcd/0", "alarm-list").results["output"] == "no alarm is raised"
    results = juju.run("etcd/0", "check-consistency").results
    assert results["consistent"] == "true"
    assert len(json.loads(results["hashes"])) == 3
    assert len(juju.run("etcd/0", "defrag").results["output"].splitlines()) == 3
    results = juju.run("etcd/0", "debug").results
    names = juju.exec(f"tar tzf {results['path']}", unit="etcd/0").stdout
    assert "journal.txt" in names
    content = juju.exec(f"tar xzOf {results['path']}", unit="etcd/0").stdout
    assert "PRIVATE KEY" not in content
    path = juju.run("etcd/0", "snapshot").results["snapshot"]["path"]
    assert path in juju.run("etcd/0", "list-snapshots").results["output"]
    assert int(juju.run("etcd/0", "verify-snapshot", {"path": path}).results["revision"]) > 0


def test_row_3_a_member_whose_disk_was_emptied_joins_anew(juju, service, keys, writer):
    unit = next(n for n in juju.status().apps["etcd"].units if n != leader_of(juju.status()))
    before = {row["id"] for row in json.loads(juju.run(unit, "members").results["members"])}
    juju.exec(
        f"systemctl stop {service}; rm -rf $(readlink /var/lib/etcd-charm/data)/*; "
        "JUJU_DISPATCH_PATH=hooks/update-status ./dispatch",
        unit=unit,
    )

    def is_replaced(status: jubilant.Status) -> bool:
        if not is_healthy(status, 3):
            return False
        rows = json.loads(juju.run(unit, "members").results["members"])
        return len(rows) == 3 and len(before & {row["id"] for row in rows}) == 2

    juju.wait(is_replaced, error=jubilant.any_error, successes=1)
    writer.wait_acknowledged(WRITES, timeout_s=30)
    assert writer.lost(keys.endpoints, keys.tls) == []


def test_row_9_snapshots_by_the_calendar_are_tried_and_said(juju, keys):
    juju.config("etcd", {"snapshot-schedule": "*:*:0/10", "snapshot-retention": 2})

    def is_said(status: jubilant.Status) -> bool:
        return "verified snapshot" in status.apps["etcd"].app_status.message

    def nudge(status: jubilant.Status) -> bool:
        unit = leader_of(status)
        juju.exec("JUJU_DISPATCH_PATH=hooks/update-status ./dispatch", unit=unit)
        return is_said(juju.status())

    juju.wait(nudge, error=jubilant.any_error, successes=1)
    juju.config("etcd", reset="snapshot-schedule")
    wait_healthy(juju, 3)


def test_row_1_a_lost_quorum_is_rebuilt_from_the_survivor(juju, keys):
    cluster = juju.run("etcd/0", "members").results["cluster-id"]
    last = keys.put("last", "kept")
    survivor, *others = sorted(juju.status().apps["etcd"].units)
    with pytest.raises(jubilant.TaskError, match="has its quorum"):
        juju.run(leader_of(juju.status()), "rebuild-cluster", {"confirm": cluster})
    for unit in others:
        juju.cli("fault", "crash", unit)
    juju.wait(lambda status: status.apps["etcd"].units[survivor].leader)
    juju.run(survivor, "rebuild-cluster", {"confirm": cluster})
    waits = f"rebuilding: waiting for {', '.join(others)}"
    juju.wait(lambda status: status.apps["etcd"].units[survivor].workload_status.message == waits)
    juju.remove_unit(*others, force=True)
    wait_healthy(juju, 1)
    juju.add_unit("etcd", num_units=2)
    wait_healthy(juju, 3)
    assert juju.run(survivor, "members").results["cluster-id"] == cluster
    keys.endpoints = list_endpoints(juju.status())
    assert keys.get("last") == "kept"
    assert keys.put("after", "x") > last, "revisions never go back"
