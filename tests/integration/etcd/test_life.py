"""One cluster's life: founded, secured, grown, asked, shrunk to nothing; no write is lost."""

import hashlib
import json
import subprocess
import tarfile

import jubilant
import pytest

from tests.integration.etcd.conftest import EASYRSA, ETCD
from tests.integration.etcd.stories import Curl, is_healthy, leader_of, wait_healthy

pytestmark = pytest.mark.integration


def test_a_single_unit_is_founded_with_tls_before_any_authority_is_related(juju):
    juju.deploy(ETCD, "etcd")
    status = wait_healthy(juju, 1)
    unit = status.apps["etcd"].units["etcd/0"]
    assert unit.workload_status.message == "(leader) cluster is healthy with 1 member"
    assert status.apps["etcd"].version
    assert set(unit.open_ports) <= {"2379-2380/tcp", "2379/tcp", "2380/tcp"}
    plain = subprocess.run(
        ["curl", "-sS", "--max-time", "5", f"http://{unit.public_address}:2379/version"],
        check=False,
        capture_output=True,
    )
    assert plain.returncode != 0, "plain http is never served"


def test_a_related_authority_signs_the_servers_of_a_running_cluster(juju, tmp_path):
    juju.deploy(EASYRSA, "easyrsa")
    juju.integrate("etcd:certificates", "easyrsa:client")

    def is_signed(_status: jubilant.Status) -> bool:
        done = juju.exec("openssl x509 -noout -issuer -in /etc/etcd/tls/server.crt", unit="etcd/0")
        return "easyrsa" in done.stdout

    juju.wait(is_signed)
    wait_healthy(juju, 1)
    curl = Curl(juju, tmp_path)
    curl.put("greeting", "hello")
    assert curl.get(curl.addresses()[0], "greeting") == "hello"


def test_two_more_units_join_and_serve_what_was_written(juju, tmp_path):
    juju.add_unit("etcd", num_units=2)
    wait_healthy(juju, 3)
    curl = Curl(juju, tmp_path)
    assert [curl.get(address, "greeting") for address in curl.addresses()] == ["hello"] * 3


def test_a_caller_without_a_certificate_is_turned_away(juju):
    address = juju.status().apps["etcd"].units["etcd/0"].public_address
    done = subprocess.run(
        ["curl", "-sSk", "--max-time", "5", f"https://{address}:2379/v2/keys"],
        check=False,
        capture_output=True,
    )
    assert done.returncode != 0


def test_credentials_are_private_on_the_unit(juju):
    unit = leader_of(juju.status())
    juju.run(unit, "package-client-credentials")
    path = "/home/ubuntu/etcd_client_credentials.tar.gz"
    done = juju.exec(f"stat -c '%a %U' {path}", unit=unit)
    assert done.stdout.strip() == "600 ubuntu"


def test_health_names_three_members(juju):
    task = juju.run("etcd/0", "health")
    assert task.results["output"].count("is healthy: https://") == 3
    assert task.results["output"].endswith("cluster is healthy with 3 members")


def test_a_snapshot_has_the_checksum_that_the_action_says(juju, tmp_path):
    results = juju.run("etcd/0", "snapshot").results
    path = results["snapshot"]["path"]
    assert results["copy"]["cmd"] == f"juju scp etcd/0:{path} ."
    copy = tmp_path / "snapshot.tar.gz"
    juju.scp(f"etcd/0:{path}", copy)
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == results["snapshot"]["sha256"]
    with tarfile.open(copy) as archive:
        assert archive.getnames() == ["snapshot.db"]


def test_a_wrong_option_blocks_and_the_service_goes_on(juju, tmp_path):
    curl = Curl(juju, tmp_path)
    before = juju.exec("systemctl show -p MainPID raftkvd", unit="etcd/0").stdout
    juju.config("etcd", {"election_timeout": 200})
    status = juju.wait(lambda status: jubilant.all_blocked(status, "etcd"))
    message = status.apps["etcd"].units["etcd/0"].workload_status.message
    assert "election_timeout" in message
    assert juju.exec("systemctl show -p MainPID raftkvd", unit="etcd/0").stdout == before
    curl.put("while-blocked", "yes")
    juju.config("etcd", reset="election_timeout")
    wait_healthy(juju, 3)


def test_an_option_rolls_through_the_members_one_at_a_time(juju):
    juju.config("etcd", {"heartbeat_interval": 150})

    def is_rolled_out(status: jubilant.Status) -> bool:
        return is_healthy(status, 3) and all(
            "heartbeat-interval: 150" in juju.exec("cat /etc/etcd/etcd.conf.yml", unit=unit).stdout
            for unit in status.apps["etcd"].units
        )

    juju.wait(is_rolled_out)


def test_no_secret_is_readable_by_others(juju):
    done = juju.exec(
        "find /etc/etcd /var/lib/etcd-charm -perm /o+r -name '*.key' -o -perm /o+r -name '*.json'",
        unit="etcd/0",
    )
    assert done.stdout.strip() == ""
    show = json.loads(juju.cli("show-unit", "etcd/0", "--format", "json"))
    peers = [r for r in show["etcd/0"]["relation-info"] if r["endpoint"] == "cluster"]
    assert peers
    assert "PRIVATE KEY" not in json.dumps(peers)


@pytest.mark.parametrize("members", [2, 1])
def test_units_leave_in_order_and_take_nothing_with_them(juju, tmp_path, members):
    juju.remove_unit(leader_of(juju.status()))
    wait_healthy(juju, members)
    curl = Curl(juju, tmp_path)
    assert curl.get(curl.addresses()[0], "greeting") == "hello"


def test_the_application_goes(juju):
    juju.remove_application("etcd", destroy_storage=True)
    juju.wait(lambda status: "etcd" not in status.apps)
