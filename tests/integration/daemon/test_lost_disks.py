"""A disk that forgot what its member promised never speaks for it again (row 3)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client
from raftkv.backend.environment import Environment
from raftkv.backend.schema import Table
from tests.kit.servers import SOURCES, Cluster, Process
from tests.kit.waiting import wait_for


def start_refused(member: Process) -> str:
    done = subprocess.run(
        member.arguments,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )
    assert done.returncode == 1, done.stderr
    return done.stderr


def are_published(cluster: Cluster) -> bool:
    with Client(cluster.endpoints) as client:
        return all(member.client_urls for member in client.member_list())


def write(cluster: Cluster, count: int) -> None:
    with Client(cluster.endpoints) as client:
        for number in range(count):
            client.put(b"k%d" % number, b"v%d" % number)


@pytest.mark.parametrize("state", ["new", "existing"])
def test_row_3_an_emptied_disk_is_refused_and_replaced(tmp_path: Path, state: str) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        wait_for(lambda: are_published(cluster), 15, "each member said where it serves")
        write(cluster, 20)
        member = cluster.members[2]
        member.kill()
        shutil.rmtree(tmp_path / "m2")
        member.arguments += ["--initial-cluster-state", state]
        assert "has already been bootstrapped" in start_refused(member)
        assert not (tmp_path / "m2" / "member" / "wal").exists()
        with Client(cluster.endpoints[:2]) as client:
            old = next(m for m in client.member_list() if m.name == "m2")
            client.member_remove(old.member_id)
            client.member_add([member.peer_url], is_learner=False)
        member.arguments[-1] = "existing"
        member.start()
        cluster.wait_healthy()
        with Client(cluster.endpoints[2:]) as client:
            assert client.get(b"k19") == b"v19"


def test_row_3_disks_wiped_one_after_another_never_empty_the_cluster(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        wait_for(lambda: are_published(cluster), 15, "each member said where it serves")
        write(cluster, 20)
        for member in cluster.members[1:]:
            member.kill()
            shutil.rmtree(tmp_path / member.name)
            assert "has already been bootstrapped" in start_refused(member)
        survivor = cluster.members[0]
        with Client([survivor.client_url]) as client:
            assert client.get(b"k19", serializable=True) == b"v19"


def test_an_older_copy_of_a_disk_is_refused(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        write(cluster, 5)
        with Client(cluster.endpoints) as client:
            leader = client.status().leader_id
            names = {m.member_id: m.name for m in client.member_list()}
        follower = next(m for m in cluster.members if m.name != names[leader])
        follower.stop()
        shutil.copytree(tmp_path / follower.name, tmp_path / "old")
        follower.start()
        cluster.wait_healthy()
        write(cluster, 50)
        follower.kill()
        shutil.move(tmp_path / follower.name, tmp_path / "right")
        shutil.move(tmp_path / "old", tmp_path / follower.name)
        assert "it is an older copy" in start_refused(follower)
        shutil.rmtree(tmp_path / follower.name)
        shutil.move(tmp_path / "right", tmp_path / follower.name)
        follower.start()
        cluster.wait_healthy()


def test_another_clusters_peer_is_noticed_before_anything_is_written(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        other = cluster.members[0]
        arguments = list(other.arguments)
        arguments[arguments.index("--name") + 1] = "new"
        arguments[arguments.index("--data-dir") + 1] = str(tmp_path / "new")
        for flag in ("--listen-client-urls", "--advertise-client-urls"):
            arguments[arguments.index(flag) + 1] = "http://127.0.0.1:1"
        for flag in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
            arguments[arguments.index(flag) + 1] = "http://127.0.0.1:0"
        position = arguments.index("--initial-cluster") + 1
        arguments[position] = f"new=http://127.0.0.1:0,m0={other.peer_url}"
        stranger = Process("new", arguments, "", "", tmp_path / "new.log")
        assert "is a member of cluster" in start_refused(stranger)
        assert not (tmp_path / "new").exists()


def is_stored(store: Path, value: bytes) -> bool:
    environment = Environment(store, readonly=True)
    try:
        return any(value in row for _, row in environment.view().scan(Table.ROWS))
    finally:
        environment.close()


def plant_flip(store: Path) -> None:
    """Change one stored value, as a rotten disk page or a defect would."""
    environment = Environment(store)
    changed = [
        (Table.ROWS, key, row.replace(b"good", b"goof"))
        for key, row in environment.view().scan(Table.ROWS)
        if b"good" in row
    ]
    assert len(changed) == 1
    environment.write_rows(changed)
    environment.commit()
    environment.close()


def test_row_14_a_scrub_finds_a_value_that_rotted_and_that_nobody_asks_for(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        with Client(cluster.endpoints) as client:
            client.put(b"state", b"good")
        member = cluster.members[1]
        store = tmp_path / member.name / "member" / "store"
        wait_for(lambda: is_stored(store, b"good"), 15, "the value is in the store")
        member.stop()
        plant_flip(store)
        for one in cluster.members:
            if one is not member:
                one.stop()
            one.arguments += ["--experimental-corrupt-check-time=1s"]
            one.start()
        assert member.process is not None
        assert member.process.wait(20) == 1
        with Client(cluster.endpoints) as client:
            assert client.get(b"state") == b"good"
        log = (tmp_path / f"{member.name}.log").read_text()
        assert "a majority has another state than this member" in log


@pytest.mark.parametrize("is_leader", [False, True])
def test_row_14_a_member_that_differs_is_stopped_by_the_next_write_that_shows_it(
    tmp_path: Path, *, is_leader: bool
) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        with Client(cluster.endpoints) as client:
            client.put(b"state", b"good")
        member = cluster.members[1]
        store = tmp_path / member.name / "member" / "store"
        wait_for(lambda: is_stored(store, b"good"), 15, "the value is in the store")
        member.stop()
        plant_flip(store)
        member.start()
        cluster.wait_healthy()
        with Client([member.client_url]) as client:
            assert client.get(b"state", serializable=True) == b"goof"
        if is_leader:
            cluster.lead(member)
        with Client(cluster.endpoints) as client:
            compare = m.Compare(
                m.CompareResult.EQUAL, m.CompareTarget.VALUE, b"state", value=b"good"
            )
            put = m.RequestOp(request_put=m.PutRequest(b"next", b"step"))
            client.txn(m.TxnRequest([compare], [put], []))
            assert member.process is not None
            assert member.process.wait(10) == 1
            assert client.get(b"next") == b"step"
            client.put(b"more", b"x")
        log = (tmp_path / f"{member.name}.log").read_text()
        assert "a majority has another state than this member" in log
        assert "its files are kept as they are" in start_refused(member)
        assert (store / "data.mdb").exists()
