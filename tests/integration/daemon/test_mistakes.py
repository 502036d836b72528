"""What an operator gets wrong: one clear line, a non-zero exit, files untouched."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.servers import Cluster, free_ports


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raftkv", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3] / "src")},
    )


def flags(name: str, directory: Path, ports: list[int]) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    return [
        f"--name={name}",
        f"--data-dir={directory}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={name}={peer}",
    ]


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("raftkvd: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_busy_port_leaves_no_directory(tmp_path: Path) -> None:
    ports = free_ports(2)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        done = run(tmp_path, *flags("a", tmp_path / "d", ports))
    assert f"cannot listen on http://127.0.0.1:{ports[0]}: Address already in use" in one_line(
        done
    )
    assert not (tmp_path / "d").exists()


def test_unknown_name_in_cluster(tmp_path: Path) -> None:
    arguments = flags("a", tmp_path / "d", free_ports(2))
    done = run(tmp_path, *arguments, "--initial-cluster=b=http://127.0.0.1:1")
    assert 'couldn\'t find local name "a"' in one_line(done)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("missing", ["cert-file", "key-file", "trusted-ca-file"])
def test_missing_certificate(tmp_path: Path, missing: str) -> None:
    for name in ("cert-file", "key-file", "trusted-ca-file"):
        if name != missing:
            (tmp_path / name).write_text("")
    arguments = [f"--{n}={tmp_path / n}" for n in ("cert-file", "key-file", "trusted-ca-file")]
    done = run(tmp_path, *flags("a", tmp_path / "d", free_ports(2)), *arguments)
    line = one_line(done)
    assert "--cert-file" in line or f"--{missing}" in line
    assert not (tmp_path / "d").exists()


def test_directory_of_etcd_is_not_touched(tmp_path: Path) -> None:
    database = tmp_path / "d" / "member" / "snap" / "db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"bolt")
    done = run(tmp_path, *flags("a", tmp_path / "d", free_ports(2)))
    assert "was written by etcd" in one_line(done)
    assert sorted(p.name for p in (tmp_path / "d").rglob("*")) == ["db", "member", "snap"]


def test_directory_of_another_cluster(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        assert cluster.members[0].stop() == 0
    wal = tmp_path / "m0" / "member" / "wal"
    before = {p.name: p.read_bytes() for p in wal.iterdir()}
    another = "--initial-cluster-token=another"
    done = run(tmp_path, *flags("x", tmp_path / "m0", free_ports(2)), another)
    assert "belongs to member" in one_line(done)
    assert {p.name: p.read_bytes() for p in wal.iterdir()} == before


def test_directory_in_use(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        arguments = flags("m0", tmp_path / "m0", free_ports(2))
        done = run(tmp_path, *arguments)
        assert "another process uses this log" in one_line(done)
        cluster.wait_healthy()


def test_log_without_store_is_refused(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        cluster.members[0].stop()
    (tmp_path / "m0" / "member" / "store").rename(tmp_path / "gone")
    done = run(tmp_path, *flags("m0", tmp_path / "m0", free_ports(2)))
    assert "damaged or not mounted" in one_line(done)


def test_damaged_log_names_file_and_offset(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        member = cluster.members[0]
        for _ in range(3):
            subprocess.run(
                ["curl", "-sf", "-X", "PUT", f"{member.client_url}/v2/keys/a", "-d", "value=x"],
                check=True,
                capture_output=True,
            )
        member.stop()
        (segment,) = (tmp_path / "m0" / "member" / "wal").glob("*.wal")
        data = bytearray(segment.read_bytes())
        data[120] ^= 1
        segment.write_bytes(data)
        done = run(tmp_path, *member.arguments[3:])
    assert str(segment) in one_line(done)
    assert "offset" in done.stderr
    assert segment.read_bytes() == bytes(data)


def test_joining_nobody(tmp_path: Path) -> None:
    arguments = flags("a", tmp_path / "d", free_ports(2))
    done = run(tmp_path, *arguments, "--initial-cluster-state=existing")
    assert "name the running members too" in one_line(done)


def test_version_and_help(tmp_path: Path) -> None:
    assert "raftkvd Version" in run(tmp_path, "--version").stdout
    assert "--initial-cluster-token" in run(tmp_path, "--help").stdout
