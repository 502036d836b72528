"""Two of three members are lost for good: the survivor goes on alone, and grows again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kvclient import Client
from tests.integration.daemon.test_restore import control, promoted
from tests.kit.servers import SOURCES, Cluster, Process, is_healthy
from tests.kit.waiting import wait_for

FLAG = "--force-new-cluster"


def start_forced(member: Process) -> None:
    member.arguments.append(FLAG)
    member.start()
    wait_for(lambda: is_healthy(member.client_url), 20, f"{member.name} serves alone")


def test_row_1_the_survivor_keeps_everything_and_the_others_stay_out(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        with Client(cluster.endpoints) as client:
            for number in range(50):
                client.put(b"k%02d" % number, b"v%d" % number)
            revision = client.put(b"last", b"acknowledged")
        facts = {}
        for member in cluster.members:
            member.kill()
            directory = tmp_path / member.name
            facts[member.name] = json.loads(control("inspect", str(directory)))
        freshest = max(facts, key=lambda n: (facts[n]["lastTerm"], facts[n]["lastIndex"]))
        survivor = next(m for m in cluster.members if m.name == freshest)
        lost = next(m for m in cluster.members if m.name != freshest)
        start_forced(survivor)
        with Client([survivor.client_url]) as client:
            assert [m.name for m in client.member_list()] == [freshest]
            assert client.get(b"last") == b"acknowledged"
            status = client.status()
            assert status.raft_term > facts[freshest]["term"]
            assert client.put(b"after", b"it") > revision
            lost.start()
            assert lost.process is not None
            assert lost.process.wait(timeout=20) == 0, "a removed member stops by itself"
            assert len(client.member_list()) == 1
            shutil.rmtree(tmp_path / lost.name)
            grow(cluster, survivor, lost, client)
        survivor.arguments.remove(FLAG)
        survivor.stop()
        survivor.start()
        cluster.members = [survivor, lost]
        cluster.wait_healthy()


def grow(cluster: Cluster, survivor: Process, joiner: Process, client: Client) -> None:
    added = client.member_add([joiner.peer_url], is_learner=True)
    members = f"{survivor.name}={survivor.peer_url},{joiner.name}={joiner.peer_url}"
    position = joiner.arguments.index("--initial-cluster")
    joiner.arguments[position + 1] = members
    joiner.arguments += ["--initial-cluster-state", "existing"]
    joiner.start()
    wait_for(lambda: promoted(client, added.member_id), 20, "the joiner has caught up")
    assert len(cluster.members) == 3
    with Client([joiner.client_url]) as other:
        wait_for(lambda: is_healthy(joiner.client_url), 20, "the joiner serves")
        assert other.get(b"k00") == b"v0"


def test_row_1_refused_while_a_majority_lives(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        member = cluster.members[0]
        member.stop()
        done = subprocess.run(
            [*member.arguments, FLAG],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={"PYTHONPATH": SOURCES},
        )
        assert done.returncode == 1
        assert "the cluster is not lost" in done.stderr
        member.start()
        cluster.wait_healthy()


@pytest.mark.parametrize("what", ["nothing", "etcd"])
def test_inspect_says_what_is_not_there(tmp_path: Path, what: str) -> None:
    if what == "etcd":
        (tmp_path / "member" / "snap").mkdir(parents=True)
        (tmp_path / "member" / "snap" / "db").touch()
    done = subprocess.run(
        [sys.executable, "-m", "raftkvctl", "inspect", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )
    assert done.returncode == 128
    assert "no member of raftkvd lives here" in done.stderr
