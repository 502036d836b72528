"""The engine `etcd` from attached programs: grown, saved, restored, shrunk, under writes.

The programs are the distribution's, unpacked below `.cache` (`./run test` fetches them).
"""

import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

import jubilant
import pytest

from kvclient import Client, ClientTLS, KvClientError
from tests.integration.etcd.conftest import BUNDLE, CONSUMER, ETCD, ROOT
from tests.integration.etcd.stories import (
    Curl,
    Keys,
    fetch_credentials,
    is_healthy,
    leader_of,
    list_endpoints,
    wait_healthy,
)
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = pytest.mark.integration


def find_program(name: str) -> Path:
    cached = ROOT / ".cache/etcd/usr/bin" / name
    found = cached if cached.is_file() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: Debian has it in etcd-server and etcd-client")
    return Path(found)


@pytest.fixture(scope="module")
def writer(juju, tmp_path_factory):
    folder = tmp_path_factory.mktemp("credentials")
    resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
    juju.deploy(ETCD, "etcd", config={"engine": "etcd", "enable-v2": True}, resources=resources)
    wait_healthy(juju, 1)
    fetch_credentials(juju, folder)
    tls = ClientTLS(*(str(folder / name) for name in ("ca.crt", "client.crt", "client.key")))
    writer = ContinuousWriter(list_endpoints(juju.status()), tls, 0.02)
    writer.start()
    yield writer, tls
    writer.stop()


def test_it_is_etcd_and_says_its_version(juju, writer):
    status = juju.status()
    assert status.apps["etcd"].version.startswith("3.")
    done = juju.exec(
        "readlink -f /proc/$(systemctl show -p MainPID --value etcd-member)/exe", unit="etcd/0"
    )
    assert done.stdout.strip().endswith("/bin/etcd")


def test_it_grows_to_three_under_writes(juju, writer):
    juju.add_unit("etcd", num_units=2)
    wait_healthy(juju, 3)
    writes, tls = writer
    writes.use_endpoints(list_endpoints(juju.status()))
    writes.wait_acknowledged(20, timeout_s=30)
    for endpoint in list_endpoints(juju.status()):
        assert writes.lost([endpoint], tls) == []


def alter_program(name: str, target: Path, version: str) -> Path:
    """Write a program of etcd's that says another version, of the same length, and is otherwise it.

    So there is something to roll out, and something that is too old, without a download.
    """
    present = (
        subprocess.run(
            [find_program("etcd"), "--version"], check=True, capture_output=True, text=True
        )
        .stdout.split("\n")[0]
        .rpartition(" ")[2]
    )
    assert len(present) == len(version)
    content = find_program(name).read_bytes()
    assert present.encode() in content
    target.write_bytes(content.replace(present.encode(), version.encode()))
    target.chmod(0o755)
    return target


def list_processes(juju) -> dict[str, str]:
    """The members' processes and the program that each runs, by unit."""
    look = "pid=$(systemctl show -p MainPID --value etcd-member); echo $pid $(readlink /proc/$pid/exe)"
    return {
        unit: juju.exec(look, unit=unit).stdout.strip()
        for unit in juju.status().apps["etcd"].units
    }


def test_a_release_archive_is_attached_and_rolls_through_the_members(juju, writer, tmp_path):
    writes, tls = writer
    before = list_processes(juju)
    archive = tmp_path / "etcd-v3.4.99-linux.tar.gz"
    with tarfile.open(archive, "w:gz") as release:
        for name in ("etcd", "etcdctl"):
            program = alter_program(name, tmp_path / name, "3.4.99")
            release.add(program, f"etcd-v3.4.99-linux/{name}")
    seen = len(writes.acknowledged)
    juju.cli("attach-resource", "etcd", f"etcd={archive}")

    def is_rolled_out(status: jubilant.Status) -> bool:
        if status.apps["etcd"].version != "3.4.99" or not is_healthy(status, 3):
            return False
        present = list_processes(juju)
        return all(
            present[unit].split()[0] != before[unit].split()[0]
            and present[unit].split()[1] != before[unit].split()[1]
            for unit in before
        )

    juju.wait(is_rolled_out, error=jubilant.any_error, successes=1)
    writes.wait_acknowledged(20, timeout_s=30)
    print(f"longest pause {writes.longest_pause_s(seen):.2f} s, {writes.failures_count} failed")
    done = juju.exec("ETCDCTL_API=3 etcdctl version", unit="etcd/0")
    assert "3.4.99" in done.stdout, "the archive's own etcdctl wins over the single one of before"
    for endpoint in list_endpoints(juju.status()):
        assert writes.lost([endpoint], tls) == []


@pytest.mark.long
def test_programs_that_do_not_fit_block_with_the_remedy_and_nothing_stops(juju, writer, tmp_path):
    writes, tls = writer
    before = list_processes(juju)
    other = 183 if platform.machine() != "aarch64" else 62
    content = bytearray(find_program("etcd").read_bytes())
    content[18:20] = other.to_bytes(2, "little")
    foreign = tmp_path / "foreign"
    foreign.write_bytes(content)
    old = alter_program("etcd", tmp_path / "old", "3.3.25")
    for program, complaint in (
        (foreign, f"this machine is {platform.machine()}"),
        (old, "etcd is 3.3.25, and 3.4 is the least that will do"),
    ):
        juju.cli("attach-resource", "etcd", f"etcd={program}")
        status = juju.wait(
            lambda status, complaint=complaint: all(
                unit.workload_status.current == "blocked"
                and complaint in unit.workload_status.message
                for unit in status.apps["etcd"].units.values()
            ),
            error=jubilant.any_error,
            successes=1,
        )
        for unit in status.apps["etcd"].units.values():
            assert "run juju attach-resource etcd etcd=./etcd" in unit.workload_status.message
        writes.wait_acknowledged(20, timeout_s=30)
    assert list_processes(juju) == before
    juju.cli("attach-resource", "etcd", f"etcd={find_program('etcd')}")
    juju.cli("attach-resource", "etcd", f"etcdctl={find_program('etcdctl')}")
    juju.wait(
        lambda status: (
            is_healthy(status, 3)
            and all(
                present.split()[1] != before[unit].split()[1]
                for unit, present in list_processes(juju).items()
            )
        ),
        error=jubilant.any_error,
        successes=1,
    )
    writes.wait_acknowledged(20, timeout_s=30)
    for endpoint in list_endpoints(juju.status()):
        assert writes.lost([endpoint], tls) == []


def test_a_snapshot_holds_both_stores_and_a_restore_says_what_it_cannot_do(juju, writer, tmp_path):
    writes, _ = writer
    writes.stop()
    Keys(juju, tmp_path).put("kept", "before")
    curl = Curl(juju, tmp_path)
    curl.put("folder/kept", "v2")
    leader = leader_of(juju.status())
    path = juju.run(leader, "snapshot").results["snapshot"]["path"]
    assert set(juju.exec(f"tar tf {path}", unit=leader).stdout.split()) == {
        "snapshot.db",
        "v2-keys.json",
    }
    curl.put("folder/kept", "later")
    Keys(juju, tmp_path).put("kept", "later")
    if (
        "--bump-revision"
        not in juju.exec("ETCDCTL_API=3 etcdctl snapshot restore --help", unit=leader).stdout
    ):
        with pytest.raises(jubilant.TaskError, match="allow-revision-rollback=true"):
            juju.run(leader, "restore", {"path": path})
    juju.run(leader, "restore", {"path": path, "allow-revision-rollback": True})
    juju.wait(
        lambda status: (
            not any(
                "restor" in unit.workload_status.message
                for unit in status.apps["etcd"].units.values()
            )
        ),
        error=jubilant.any_error,
        successes=1,
    )
    wait_healthy(juju, 3)
    assert Keys(juju, tmp_path).get("kept") == "before"
    curl = Curl(juju, tmp_path)
    assert {curl.get(address, "folder/kept") for address in curl.addresses()} == {"v2"}


def test_a_revoked_certificate_is_refused_by_every_member(juju, writer, tmp_path):
    fetch_credentials(juju, tmp_path, parameters={"cn": "alice"})
    tls = ClientTLS(*(str(tmp_path / name) for name in ("ca.crt", "client.crt", "client.key")))

    def is_served(endpoint: str) -> bool:
        try:
            with Client([endpoint], tls=tls, timeout_s=2.0) as client:
                client.get(b"kept")
        except (KvClientError, OSError):
            return False
        return True

    endpoints = list_endpoints(juju.status())
    assert all(map(is_served, endpoints))
    juju.run(leader_of(juju.status()), "revoke-client-certificate", {"cn": "alice"})
    wait_for(lambda: not any(map(is_served, endpoints)), 60, "alice is refused")


@pytest.mark.long
def test_applications_use_it_by_a_relation_a_proxy_and_a_file_that_follows(juju, tmp_path):
    """The proxy goes by the client URLs, because etcd's peer port lets no client in."""
    bundle = {"raftkv": str(BUNDLE)}
    for name in ("app", "edge"):
        juju.deploy(CONSUMER, name, resources=bundle)
    juju.integrate("app:store", "etcd:db")
    juju.integrate("edge:proxy", "etcd:proxy")
    juju.wait(
        lambda status: (
            status.apps["app"].units["app/0"].workload_status.message.endswith("3 endpoint(s)")
            and status.apps["edge"].units["edge/0"].workload_status.message
            == "proxy to 3 member(s)"
        ),
        successes=1,
    )
    assert Keys(juju, tmp_path).get("consumers/app/0") is not None
    url = "http://127.0.0.1:2379/v2/keys/config/database"

    def is_written(value: str) -> bool:
        script = f"curl -sS --max-time 10 -XPUT -d value={value} {url} || :"
        return f'"value":"{value}"' in juju.exec(script, unit="edge/0").stdout

    def is_rendered(value: str) -> bool:
        script = "cat /var/lib/etcd-consumer/rendered.conf 2>/dev/null || :"
        return juju.exec(script, unit="edge/0").stdout == f"database = {value}\n"

    for value in ("db-1", "db-2"):
        wait_for(lambda value=value: is_written(value), 60, "the proxy writes")
        wait_for(lambda value=value: is_rendered(value), 60, "the file follows")
    assert (
        Curl(juju, tmp_path).get(Curl(juju, tmp_path).addresses()[0], "config/database") == "db-2"
    )
    for name, endpoint in (("app:store", "etcd:db"), ("edge:proxy", "etcd:proxy")):
        juju.remove_relation(name, endpoint)


def test_it_shrinks_to_one_and_keeps_everything(juju, tmp_path):
    units = sorted(juju.status().apps["etcd"].units)
    juju.remove_unit(units[0], units[1])
    wait_healthy(juju, 1)
    assert Keys(juju, tmp_path).get("kept") == "before"


@pytest.mark.long
def test_without_a_resource_the_distribution_s_package_serves(juju):
    """Downloads packages, so it needs a mirror."""
    juju.deploy(ETCD, "packaged", config={"engine": "etcd"})
    wait_healthy(juju, 1, "packaged")
    done = juju.exec("systemctl is-enabled etcd.service || true", unit="packaged/0")
    assert done.stdout.strip() == "masked"
    done = juju.exec("readlink -f /opt/etcd-engine/current/bin/etcd", unit="packaged/0")
    assert done.stdout.strip() == "/usr/bin/etcd"
