"""A snapshot becomes a new cluster, and that cluster grows: nobody misses the restored rows."""

from __future__ import annotations

import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from kvclient import Client, RequestError
from tests.kit.servers import SOURCES, Cluster, Process, free_ports
from tests.kit.waiting import wait_for


def run_control(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raftkvctl", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )


def control(*arguments: str) -> str:
    done = run_control(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def promoted(client: Client, member_id: int) -> bool:
    try:
        client.member_promote(member_id)
    except RequestError as error:
        if "in sync with leader" not in error.message:
            raise
        return False
    return True


def put_v2(member: Process, key: str, **form: object) -> None:
    url, body = f"{member.client_url}/v2/keys/{key}", urllib.parse.urlencode(form).encode()
    wanted = urllib.request.Request(url, body, method="PUT")
    with urllib.request.urlopen(wanted, timeout=10) as answer:
        answer.read()


def read_v2(member: Process, key: str) -> bytes:
    with urllib.request.urlopen(f"{member.client_url}/v2/keys/{key}", timeout=5) as answer:
        body: bytes = answer.read()
        return body


def make_snapshot(directory: Path) -> Path:
    directory.mkdir()
    path = directory / "snapshot"
    with Cluster("raftkv", directory) as cluster:
        member = cluster.members[0]
        with Client(cluster.endpoints) as client:
            for number in range(200):
                client.put(b"k/%03d" % number, b"v%d" % number)
        request = urllib.request.Request(
            f"{member.client_url}/v2/keys/dir/key", data=b"value=two", method="PUT"
        )
        with urllib.request.urlopen(request, timeout=5):
            pass
        control("--endpoints", member.client_url, "snapshot", "save", str(path))
    return path


def test_restored_cluster_grows_with_all_its_data(tmp_path: Path) -> None:
    path = make_snapshot(tmp_path / "old")
    assert "201" in control("snapshot", "status", str(path))
    with Cluster("raftkv", tmp_path) as cluster:  # only to learn free addresses
        first = cluster.members[0]
        cluster_flag = first.arguments[first.arguments.index("--initial-cluster") + 1]
    control(
        "snapshot", "restore", str(path), "--name", "m0", "--data-dir", str(tmp_path / "new"),
        "--initial-cluster", cluster_flag, "--initial-advertise-peer-urls", first.peer_url,
        "--initial-cluster-token", "restored",
    )  # fmt: skip
    data_dir = first.arguments.index("--data-dir") + 1
    first.arguments[data_dir] = str(tmp_path / "new")
    first.arguments += ["--initial-cluster-token", "restored"]
    first.start()
    second = None
    try:
        cluster.wait_healthy()
        client_port, peer_port = free_ports(2)
        client_url, peer_url = (f"http://127.0.0.1:{p}" for p in (client_port, peer_port))
        with Client([first.client_url]) as client:
            assert len(client.get_prefix(b"k/")) == 200
            added = client.member_add([peer_url], is_learner=True)
            arguments = [
                sys.executable, "-m", "raftkv", "--name", "m1",
                "--data-dir", str(tmp_path / "joined"), "--enable-v2",
                "--listen-client-urls", client_url, "--advertise-client-urls", client_url,
                "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
                "--initial-cluster", f"{cluster_flag},m1={peer_url}",
                "--initial-cluster-state", "existing",
            ]  # fmt: skip
            second = Process("m1", arguments, client_url, peer_url, tmp_path / "m1.log")
            second.start()
            cluster.members.append(second)
            with Client([client_url], timeout_s=20) as joined:
                joined.status()
            client.put(b"k/new", b"after")
            wait_for(lambda: promoted(client, added.member_id), 20, "learner promoted")
        cluster.wait_healthy()
        with Client([client_url]) as joined:
            assert len(joined.get_prefix(b"k/")) == 201
        assert b'"two"' in read_v2(second, "dir/key")
    finally:
        first.kill()
        if second is not None:
            second.kill()


def test_a_damaged_snapshot_makes_no_directory(tmp_path: Path) -> None:
    path = make_snapshot(tmp_path / "old")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-m", "raftkvctl", "snapshot", "restore", str(path), "--data-dir", "new"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )
    assert done.returncode == 128
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()
