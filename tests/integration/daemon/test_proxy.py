"""Processes before a cluster: ``--proxy on|readonly`` for v2, ``gateway`` for everything."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kvclient import Client
from tests.integration.daemon.test_certificates import Server
from tests.kit.servers import Cluster, Process, free_ports
from tests.kit.waiting import wait_for


def request(url: str, method: str = "GET", data: str = "") -> tuple[int, bytes]:
    wanted = urllib.request.Request(url, data=data.encode() or None, method=method)
    if data:
        wanted.add_header("Content-Type", "application/x-www-form-urlencoded")
    try:
        with urllib.request.urlopen(wanted, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Proxy:
    def __init__(self, directory: Path, *flags: str, program: Sequence[str] = ()) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        command = program or [sys.executable, "-m", "raftkv"]
        arguments = [*command, "--data-dir", str(directory), "--listen-client-urls", self.url]
        log = directory.with_suffix(".log")
        self.process = Process("proxy", [*arguments, *flags], self.url, "", log)

    @property
    def keys(self) -> str:
        return f"{self.url}/v2/keys"

    def endpoints(self) -> list[str]:
        try:
            status, body = request(f"{self.url}/v2/config/local/proxy")
        except OSError:
            return []
        found: list[str] = json.loads(body)["endpoints"] if status == 200 else []
        return found

    @contextlib.contextmanager
    def running(self, members: int = 1) -> Iterator[Proxy]:
        self.process.start()
        try:
            wait_for(lambda: len(self.endpoints()) == members, 15, "the proxy finds the members")
            yield self
            code = self.process.stop()
            assert code == (0 if "raftkv" in self.process.arguments else -signal.SIGTERM)
        finally:
            self.process.kill()


def cluster_string(cluster: Cluster) -> str:
    return ",".join(f"{m.name}={m.peer_url}" for m in cluster.members)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("cluster"), size=3) as made:
        wait_for(lambda: are_published(made), 15, "each member says where its clients are served")
        yield made


def are_published(cluster: Cluster) -> bool:
    with Client(cluster.endpoints) as client:
        return all(member.client_urls for member in client.member_list())


def test_reads_writes_and_waits_pass(cluster: Cluster, tmp_path: Path) -> None:
    proxy = Proxy(tmp_path / "p", "--proxy", "on", "--initial-cluster", cluster_string(cluster))
    with proxy.running(3):
        assert request(f"{proxy.keys}/a%20b", "PUT", "value=1")[0] == 201
        assert json.loads(request(f"{proxy.keys}/a%20b?quorum=true")[1])["node"]["value"] == "1"
        assert request(f"{proxy.keys}/missing?quorum=true")[0] == 404
        _, body = request(f"{proxy.keys}/w", "PUT", "value=before")
        index = json.loads(body)["node"]["modifiedIndex"] + 1
        seen: list[bytes] = []
        waiter = threading.Thread(
            target=lambda: seen.append(request(f"{proxy.keys}/w?wait=true&waitIndex={index}")[1])
        )
        waiter.start()
        request(f"{proxy.keys}/w", "PUT", "value=event")
        waiter.join(10)
        assert json.loads(seen[0])["node"]["value"] == "event"
        assert request(f"{proxy.keys}/a%20b", "DELETE")[0] == 200


def test_a_stream_passes_as_it_comes_and_ends_with_the_client(
    cluster: Cluster, tmp_path: Path
) -> None:
    proxy = Proxy(tmp_path / "p", "--proxy", "on", "--initial-cluster", cluster_string(cluster))
    with proxy.running(3):
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            path = "/v2/keys/s?wait=true&stream=true&recursive=true"
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = raw.recv(65536)
            for number in range(3):
                request(f"{proxy.keys}/s/{number}", "PUT", f"value=n{number}")
                while f'"n{number}"'.encode() not in received:
                    piece = raw.recv(65536)
                    assert piece, "the stream ended"
                    received += piece


def test_readonly_refuses_everything_but_get(cluster: Cluster, tmp_path: Path) -> None:
    flags = ("--proxy", "readonly", "--initial-cluster", cluster_string(cluster))
    proxy = Proxy(tmp_path / "p", *flags)
    with proxy.running(3):
        assert request(f"{proxy.keys}/")[0] == 200
        for method in ("PUT", "POST", "DELETE", "HEAD"):
            assert request(f"{proxy.keys}/x", method)[0] == 501


def test_a_directory_of_a_member_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    member = tmp_path / "member"
    shutil.copytree(cluster.directory / "m0", member)
    done = subprocess.run(
        [*Proxy(member, "--proxy", "on").process.arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert "holds a member" in done.stderr


def test_the_next_member_is_asked_and_a_former_list_is_enough(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        first = f"m0={cluster.members[0].peer_url}"
        flags = ("--proxy", "on", "--proxy-refresh-interval", "200", "--initial-cluster", first)
        proxy = Proxy(tmp_path / "p", *flags)
        with proxy.running(3):
            request(f"{proxy.keys}/k", "PUT", "value=1")
        cluster.members[0].kill()
        with proxy.running(3):  # the one it was told of is gone: it remembers the others
            for _ in range(6):
                status, body = request(f"{proxy.keys}/k")
                assert (status, json.loads(body)["node"]["value"]) == (200, "1")


class Swallower(threading.Thread):
    """A member that takes a request and dies before it answers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests: list[bytes] = []

    def run(self) -> None:
        members = json.dumps([{"id": 1, "peerURLs": [self.url], "clientURLs": self.clients}])
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection:
                    head = connection.recv(65536)
                    if b"/members" in head:
                        size = f"Content-Length: {len(members)}\r\n\r\n"
                        connection.sendall(f"HTTP/1.1 200 OK\r\n{size}{members}".encode())
                    else:
                        self.requests.append(head.split(b" ")[0])

    clients: Sequence[str] = ()


def test_a_write_whose_answer_is_lost_is_not_repeated(tmp_path: Path) -> None:
    swallowers = [Swallower(), Swallower()]
    for swallower in swallowers:
        swallower.clients = [s.url for s in swallowers]
        swallower.start()
    flags = ("--proxy", "on", "--proxy-failure-wait", "0", "--initial-cluster")
    proxy = Proxy(tmp_path / "p", *flags, f"a={swallowers[0].url}")
    with proxy.running(2):
        assert request(f"{proxy.keys}/k", "PUT", "value=1")[0] == 502
        assert [r for s in swallowers for r in s.requests] == [b"PUT"]
        assert request(f"{proxy.keys}/k")[0] == 502
        assert [r for s in swallowers for r in s.requests].count(b"GET") == 2
    for swallower in swallowers:
        swallower.listener.close()


def test_behind_tls_with_a_client_certificate(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.process.start()
    try:
        wait_for(lambda: "ready to serve" in server.log(), 20, "the member serves")
        bundle = tmp_path / "bundle.crt"
        bundle.write_bytes(server.servers.path.read_bytes() + server.peers.path.read_bytes())
        cert, key = server.somebody
        proxy = Proxy(
            tmp_path / "p", "--proxy", "on", "--initial-cluster", f"m0={server.process.peer_url}",
            "--peer-cert-file", str(cert), "--peer-key-file", str(key),
            "--peer-trusted-ca-file", str(bundle),
        )  # fmt: skip
        with proxy.running():
            assert request(f"{proxy.keys}/k", "PUT", "value=1")[0] == 201
            assert request(f"{proxy.keys}/k")[0] == 200
    finally:
        server.process.kill()


@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not here")
def test_etcd_and_raftkvd_stand_in_for_each_other(cluster: Cluster, tmp_path: Path) -> None:
    theirs = Proxy(
        tmp_path / "theirs", "--proxy", "on", "--initial-cluster", cluster_string(cluster),
        program=["etcd"],
    )  # fmt: skip
    with theirs.running(3):
        assert request(f"{theirs.keys}/through-etcd", "PUT", "value=1")[0] == 201
    (tmp_path / "etcd").mkdir()
    with Cluster("etcd", tmp_path / "etcd") as etcd:
        by_client_url = f"m0={etcd.members[0].client_url}"
        for name, members in (("peers", cluster_string(etcd)), ("clients", by_client_url)):
            ours = Proxy(tmp_path / name, "--proxy", "on", "--initial-cluster", members)
            with ours.running():
                assert request(f"{ours.keys}/{name}", "PUT", "value=1")[0] == 201
                assert request(f"{ours.keys}/{name}")[0] == 200


def test_the_gateway_passes_everything_and_goes_round(cluster: Cluster, tmp_path: Path) -> None:
    port, unused = free_ports(2)
    dead = f"127.0.0.1:{unused}"
    endpoints = ",".join([dead, *(url.removeprefix("http://") for url in cluster.endpoints)])
    address = f"127.0.0.1:{port}"
    arguments = [
        sys.executable, "-m", "raftkv", "gateway", "start",
        "--listen-addr", address, "--endpoints", endpoints,
    ]  # fmt: skip
    gateway = Process("gateway", arguments, f"http://{address}", "", tmp_path / "gateway.log")
    gateway.start()
    try:
        log = gateway.log
        wait_for(lambda: "ready to proxy" in log.read_text(), 15, "the gateway listens")
        seen = set()
        for number in range(8):
            with Client([gateway.client_url]) as client:
                client.put(b"g", b"%d" % number)
                assert client.get(b"g") == b"%d" % number
                seen.add(client.status().member_id)
        assert len(seen) == 3
        assert request(f"{gateway.client_url}/v2/keys/")[0] == 200
        assert log.read_text().count("cannot reach") == 1
        assert gateway.stop() == 0
    finally:
        gateway.kill()
