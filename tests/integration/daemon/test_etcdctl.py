"""Debian's etcdctl, unmodified, in both API modes, over TLS with client certificates."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftkv.replica.levels import LEVEL
from tests.kit.tls_cluster import TlsCluster

if shutil.which("etcdctl") is None:
    pytest.skip("Debian's etcdctl is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCluster]:
    made = TlsCluster(tmp_path_factory.mktemp("tls"))
    for member in made.members:
        member.start()
    try:
        for _ in range(20):
            if made.run("3", "endpoint", "health", check=False).returncode == 0:
                break
        yield made
    finally:
        for member in made.members:
            member.kill()


@pytest.mark.parametrize("program", ["etcdctl", "raftkvctl"])
def test_v3_story(cluster: TlsCluster, program: str) -> None:
    def run(*arguments: str) -> str:
        return cluster.run("3", *arguments, program=program).stdout

    prefix = f"{program}/"
    assert run("put", f"{prefix}a", "1") == "OK\n"
    assert run("put", f"{prefix}b", "2") == "OK\n"
    assert run("get", f"{prefix}a") == f"{prefix}a\n1\n"
    assert run("get", "--prefix", prefix, "--print-value-only") == "1\n2\n"
    assert run("get", "--prefix", prefix, "--order=DESCEND", "--limit=1") == f"{prefix}b\n2\n"
    assert run("del", "--prefix", prefix) == "2\n"
    assert run("get", f"{prefix}a") == ""
    assert len(run("member", "list").splitlines()) == 3
    assert run("endpoint", "status", "-w", "table").count("3.4.23") == 3


def test_v3_txn_and_snapshot(cluster: TlsCluster, tmp_path: Path) -> None:
    first = cluster.endpoints.split(",")[0]
    done = cluster.run("3", "snapshot", "save", str(tmp_path / "s"), endpoints=first)
    assert "Snapshot saved" in done.stdout
    assert (tmp_path / "s").stat().st_size > 512


@pytest.mark.parametrize("program", ["etcdctl", "raftkvctl"])
def test_v2_story(cluster: TlsCluster, program: str) -> None:
    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return cluster.run("2", *arguments, check=check, program=program)

    base = f"/{program}"
    assert run("set", f"{base}/key1", "blah").stdout == "blah\n"
    assert run("get", f"{base}/key1").stdout == "blah\n"
    run("mkdir", f"{base}/dir")
    run("set", f"{base}/dir/deep/key", "x", "--ttl", "60")
    listed = run("ls", base, "--recursive").stdout.split()
    assert {f"{base}/dir", f"{base}/dir/deep", f"{base}/dir/deep/key"} <= set(listed)
    assert run("mk", f"{base}/key1", "again", check=False).returncode == 4
    assert "105: Key already exists" in run("mk", f"{base}/key1", "x", check=False).stderr
    assert run("rm", f"{base}/dir", "--recursive").returncode == 0
    assert run("get", f"{base}/dir/deep/key", check=False).returncode == 4
    assert "cluster is healthy" in run("cluster-health").stdout
    assert run("member", "list").stdout.count("isLeader=true") == 1


def test_without_a_client_certificate_nothing_is_served(cluster: TlsCluster) -> None:
    first = cluster.endpoints.split(",")[0]
    for certificate in ([], ["--cert", cluster.wrong_cert, "--key", cluster.wrong_key]):
        done = subprocess.run(
            ["curl", "-sS", "--cacert", cluster.ca, *certificate, f"{first}/v2/keys/"],
            capture_output=True,
            timeout=10,
            check=False,
        )
        assert done.returncode != 0
        assert done.stdout == b""


def test_curl_over_http2_and_http1_reads_the_same(cluster: TlsCluster) -> None:
    first = cluster.endpoints.split(",")[0]
    answers = [
        subprocess.run(
            [
                "curl", "-sS", version, "--cacert", cluster.ca, "--cert", cluster.client_cert,
                "--key", cluster.client_key, "-w", " %{http_version}", f"{first}/version",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout
        for version in ("--http1.1", "--http2")
    ]  # fmt: skip
    body = '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}'
    assert answers == [f"{body} 1.1", f"{body} 2"]


def introduce(
    cluster: TlsCluster,
    certificate: int | None,
    claimed: str,
    cluster_id: str,
    level: int = LEVEL,
) -> str:
    """What member 0 answers to a peer that shows one certificate and claims to be somebody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cluster.peer_ca)
    if certificate is not None:
        context.load_cert_chain(*cluster.peer_files[certificate])
    host, port = cluster.members[0].peer_url.removeprefix("https://").split(":")
    line = {
        "kind": "messages",
        "cluster": cluster_id,
        "from": claimed,
        "to": member_ids(cluster)[0],
        "level": level,
    }
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="raft.peer") as wire,
    ):
        wire.sendall(b"RKVPEER1\n" + json.dumps(line).encode() + b"\n")
        return wire.recv(4096).decode()


def member_ids(cluster: TlsCluster) -> list[str]:
    rows = [row.split(", ") for row in cluster.run("3", "member", "list").stdout.splitlines()]
    return [row[0] for row in sorted(rows, key=lambda row: row[2])]


def test_a_peer_is_who_its_certificate_says(cluster: TlsCluster) -> None:
    ids = member_ids(cluster)
    listed = json.loads(cluster.run("3", "member", "list", "-w", "json").stdout)
    own = f"{listed['header']['cluster_id']:x}"
    assert "ok" in introduce(cluster, 1, ids[1], own)
    assert "not of" in introduce(cluster, 1, ids[2], own)
    assert "version of this member is too old" in introduce(cluster, 1, ids[1], own, LEVEL - 1)
    assert "cluster ID mismatch" in introduce(cluster, 1, ids[1], "abc")
    try:  # TLS 1.3 tells a client without certificate only when it reads
        answer = introduce(cluster, None, ids[1], own)
    except (ssl.SSLError, ConnectionError):
        answer = ""
    assert answer == ""
