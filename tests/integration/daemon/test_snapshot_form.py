"""Snapshots are etcd's: its tools take ours, we take its, and nothing of either store is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client
from tests.integration.daemon.test_restore import control, read_v2, run_control
from tests.kit.servers import Cluster, Process, command_of, free_ports, is_healthy
from tests.kit.waiting import wait_for

needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not here")


def etcdctl(*arguments: str) -> str:
    done = subprocess.run(
        ["etcdctl", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "ETCDCTL_API": "3"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(endpoint: str) -> dict[str, str]:
    """Histories with deletions, overwritten and large values; what must be read afterwards."""
    chance = random.Random(7)
    expected: dict[str, str] = {}
    with Client([endpoint]) as client:
        for number in range(300):
            key = f"k/{chance.randrange(80):03d}"
            if chance.random() < 0.2:
                client.delete(key.encode())
                expected.pop(key, None)
            else:
                value = f"{number}" * chance.choice((1, 50, 3000))
                client.put(key.encode(), value.encode())
                expected[key] = value
        client.delete(b"k/", b"k/02")
        client.lease_grant(500, 7001)
        client.lease_grant(600, 7002)
        client.call(
            b"/etcdserverpb.KV/Put",
            m.PutRequest(b"leased", b"v", 7002),
            m.PutResponse,
            is_write=True,
        )
        client.user_add("alice", "secret")
        client.user_add("by-certificate")
        client.role_add("reader")
        client.role_grant_permission("reader", b"k/", b"k0", "read")
        client.user_grant_role("alice", "reader")
    return {key: value for key, value in expected.items() if key >= "k/02"}


def read_all(endpoint: str) -> dict[str, str]:
    with Client([endpoint]) as client:
        assert client.user_list() == ("alice", "by-certificate")
        assert client.user_get("alice") == ("reader",)
        assert set(client.lease_list()) == {7001, 7002}
        time_left = client.lease_time_to_live(7002, keys=True)
        assert time_left is not None
        assert time_left.keys == (b"leased",)
        assert 500 < time_left.left_s <= 610  # a new leader gives a little more
        (permission,) = client.role_get("reader")
        assert (permission.key, permission.range_end) == (b"k/", b"k0")
        return {key.decode(): value.decode() for key, value in client.get_prefix(b"k/")}


def start(engine: str, directory: Path, arguments: list[str]) -> Process:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    command = command_of(engine)
    assert command is not None
    process = Process(
        "m0",
        [
            *command, "--name", "m0", "--data-dir", str(directory), "--enable-v2",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", "http://127.0.0.1:1",
            *arguments,
        ],
        client, peer, directory.with_suffix(".log"),
    )  # fmt: skip
    process.start()
    try:
        wait_for(lambda: is_healthy(client), 20, f"{engine} serves what was restored")
    except TimeoutError as error:
        process.kill()
        raise TimeoutError(f"{error}: {process.log.read_text()[-2000:]}") from None
    return process


RESTORED_AS = [
    "--name", "m0", "--initial-cluster", "m0=http://127.0.0.1:1",
    "--initial-advertise-peer-urls", "http://127.0.0.1:1",
]  # fmt: skip


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str], int]:
    """(snapshot file, what its v3 part holds, its revision)."""
    directory = tmp_path_factory.mktemp("ours")
    path = directory / "snapshot.db"
    with Cluster("raftkv", directory) as cluster:
        url = cluster.members[0].client_url
        expected = fill(url)
        subprocess.run(
            ["curl", "-sSf", "-X", "PUT", f"{url}/v2/keys/dir/key", "-d", "value=two"],
            check=True, capture_output=True, timeout=10,
        )  # fmt: skip
        subprocess.run(
            ["curl", "-sSf", "-X", "PUT", f"{url}/v2/auth/roles/r", "-d", '{"role":"r"}'],
            check=True, capture_output=True, timeout=10,
        )  # fmt: skip
        control("--endpoints", url, "snapshot", "save", str(path))
        with Client([url]) as client:
            revision = client.put(b"after", b"x") - 1
        assert not list((directory / "m0" / "member").glob("export-*")), "nothing is left behind"
    return path, expected, revision


def test_status_says_what_is_in_it(ours: tuple[Path, dict[str, str], int]) -> None:
    path, _, revision = ours
    facts = json.loads(control("snapshot", "status", str(path), "-w", "json"))
    assert facts["revision"] == revision
    assert facts["totalSize"] == path.stat().st_size - 32
    assert path.stat().st_mode & 0o777 == 0o600


@needs_etcd
def test_etcdctl_says_the_same(ours: tuple[Path, dict[str, str], int]) -> None:
    path, _, _ = ours
    theirs = json.loads(etcdctl("snapshot", "status", str(path), "-w", "json"))
    assert json.loads(control("snapshot", "status", str(path), "-w", "json")) == theirs


@needs_etcd
def test_etcd_starts_on_ours(ours: tuple[Path, dict[str, str], int], tmp_path: Path) -> None:
    path, expected, revision = ours
    etcdctl("snapshot", "restore", str(path), "--data-dir", str(tmp_path / "m0"), *RESTORED_AS)
    process = start("etcd", tmp_path / "m0", ["--initial-cluster", "m0=http://127.0.0.1:1"])
    try:
        assert read_all(process.client_url) == expected
        with Client([process.client_url]) as client:
            assert client.put(b"k", b"v") == revision + 1
    finally:
        process.kill()


@needs_etcd
@pytest.mark.parametrize("way", ["saved", "copied"])
def test_we_start_on_etcds(tmp_path: Path, way: str) -> None:
    path = tmp_path / "snapshot.db"
    with Cluster("etcd", tmp_path) as cluster:
        url = cluster.members[0].client_url
        expected = fill(url)
        with Client([url]) as client:
            revision = client.put(b"last", b"x")
        etcdctl("--endpoints", url, "compaction", str(revision - 100))
        etcdctl("--endpoints", url, "snapshot", "save", str(path))
        database = tmp_path / "m0" / "member" / "snap" / "db"
        for member in cluster.members:
            assert member.stop() in {0, -15}
        if way == "copied":
            shutil.copy(database, path)
    flags = ["--skip-hash-check"] if way == "copied" else []
    if way == "copied":
        refused = run_control("snapshot", "restore", str(path), "--data-dir", str(tmp_path / "no"))
        assert "snapshot missing hash" in refused.stderr
        assert not (tmp_path / "no" / "member").exists()
    control(
        "snapshot", "restore", str(path), "--data-dir", str(tmp_path / "r"), *RESTORED_AS, *flags
    )
    process = start("raftkv", tmp_path / "r", ["--initial-cluster", "m0=http://127.0.0.1:1"])
    try:
        assert read_all(process.client_url) == expected
        with Client([process.client_url]) as client:
            assert client.put(b"k", b"v") == revision + 1
    finally:
        process.kill()


def test_both_stores_come_back_and_revisions_never_go_back(
    ours: tuple[Path, dict[str, str], int], tmp_path: Path
) -> None:
    path, expected, revision = ours
    control(
        "snapshot", "restore", str(path), "--data-dir", str(tmp_path / "r"), *RESTORED_AS,
        "--bump-revision", "1000", "--mark-compacted",
    )  # fmt: skip
    process = start("raftkv", tmp_path / "r", ["--initial-cluster", "m0=http://127.0.0.1:1"])
    try:
        assert read_all(process.client_url) == expected
        assert json.loads(read_v2(process, "dir/key"))["node"]["value"] == "two"
        assert json.loads(read_v2(process, "../auth/roles/r"))["role"] == "r"
        with Client([process.client_url]) as client:
            assert client.put(b"k", b"v") == revision + 1001
    finally:
        process.kill()


@pytest.mark.parametrize("seed", range(12))
def test_one_flipped_bit_is_noticed(
    ours: tuple[Path, dict[str, str], int], tmp_path: Path, seed: int
) -> None:
    data = bytearray(ours[0].read_bytes())
    chance = random.Random(seed)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(data)
    done = run_control("snapshot", "restore", str(damaged), "--data-dir", str(tmp_path / "r"))
    assert done.returncode == 128
    assert "Traceback" not in done.stderr
    assert "damaged" in done.stderr or "hash" in done.stderr
    assert not (tmp_path / "r" / "member").exists()
