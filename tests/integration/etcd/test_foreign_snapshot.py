"""A snapshot that etcd 3.4 itself has taken, users and all, becomes the data of three units."""

import os
import subprocess

import pytest

from kvclient import Client, KvClientError
from tests.integration.etcd.conftest import ETCD, open_model
from tests.integration.etcd.stories import Keys, leader_of, wait_healthy
from tests.integration.etcd.test_engine_etcd import find_program
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.long]

PASSWORD = "secret-of-before"


def run_etcdctl(url: str, *arguments: str) -> str:
    environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": url}
    command = [str(find_program("etcdctl")), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    """Two keys, one of them written twice, a lease, and users that count."""
    find_program("etcd")
    folder = tmp_path_factory.mktemp("foreign")
    path = folder / "foreign.db"
    with Cluster("etcd", folder) as cluster:
        url = cluster.endpoints[0]
        run_etcdctl(url, "put", "greeting", "first")
        run_etcdctl(url, "put", "greeting", "hello")
        run_etcdctl(url, "put", "secret/key", "hidden")
        run_etcdctl(url, "role", "add", "reader")
        run_etcdctl(url, "role", "grant-permission", "reader", "read", "greeting")
        for name in ("root", "alice"):
            run_etcdctl(url, "user", "add", f"{name}:{PASSWORD}")
        run_etcdctl(url, "user", "grant-role", "alice", "reader")
        run_etcdctl(url, "user", "grant-role", "root", "root")
        run_etcdctl(url, "auth", "enable")
        run_etcdctl(url, "--user", f"root:{PASSWORD}", "snapshot", "save", str(path))
    return path


@pytest.mark.parametrize("engine", ["raftkv", "etcd"])
def test_row_2_a_snapshot_of_etcd_is_restored_on_three_units_with_its_users(
    snapshot, tmp_path, engine
):
    resources = None
    if engine == "etcd":
        resources = {name: str(find_program(name)) for name in ("etcd", "etcdctl")}
    with open_model() as juju:
        juju.deploy(ETCD, "etcd", num_units=3, config={"engine": engine}, resources=resources)
        wait_healthy(juju, 3)
        leader = leader_of(juju.status())
        juju.scp(snapshot, f"{leader}:/home/ubuntu/foreign.db")
        order = {"path": "/home/ubuntu/foreign.db", "allow-revision-rollback": engine == "etcd"}
        juju.run(leader, "restore", order)
        juju.wait(
            lambda status: (
                not any(
                    "restor" in unit.workload_status.message
                    for unit in status.apps["etcd"].units.values()
                )
            ),
            successes=1,
        )
        wait_healthy(juju, 3)
        keys = Keys(juju, tmp_path)

        def is_served() -> bool:
            try:
                return keys.get("greeting") == "hello" and keys.get("secret/key") == "hidden"
            except KvClientError:
                return False

        wait_for(is_served, 60, "the operator reads what etcd had")
        look = (
            "set -a; . /etc/etcd/environment; set +a; export ETCDCTL_API=3; ctl=etcdctl; "
            "command -v etcdctl >/dev/null || ctl=raftkvctl; $ctl user list; $ctl user get alice"
        )
        words = juju.exec(look, unit=leader).stdout.split()
        assert {"alice", "root", "operator", "reader"} <= set(words)
        with Client(keys.endpoints, tls=keys.tls, timeout_s=10.0) as client:
            assert client.put(b"after", b"1")
        assert_still_guarded(juju, leader)


def assert_still_guarded(juju, leader: str) -> None:
    """The password of before is alice's still, and reads what her role says."""
    look = (
        "set -a; . /etc/etcd/environment; set +a; export ETCDCTL_API=3; ctl=etcdctl; "
        "command -v etcdctl >/dev/null || ctl=raftkvctl; "
        f"$ctl --user alice:{PASSWORD} get"
    )
    assert "hello" in juju.exec(f"{look} greeting", unit=leader).stdout
    refused = juju.exec(f"({look} secret/key || true) 2>&1", unit=leader).stdout
    assert "permission denied" in refused
