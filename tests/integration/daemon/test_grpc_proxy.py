"""``raftkvd grpc-proxy start``: what clients do passes, and goes on when members do not."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client, ClientTLS, KeptLease, Lock, Unavailable, Watch
from tests.conformance.api import runner
from tests.kit.servers import Cluster, Process, free_ports, is_healthy
from tests.kit.tls_cluster import TlsCluster
from tests.kit.waiting import wait_for


class Proxy:
    def __init__(self, directory: Path, endpoints: str, *flags: str, scheme: str = "http") -> None:
        (port,) = free_ports(1)
        self.url = f"{scheme}://127.0.0.1:{port}"
        arguments = [
            sys.executable, "-m", "raftkv", "grpc-proxy", "start",
            f"--listen-addr=127.0.0.1:{port}", f"--endpoints={endpoints}",
            f"--advertise-client-url=127.0.0.1:{port}", *flags,
        ]  # fmt: skip
        self.process = Process("proxy", arguments, self.url, "", directory / "proxy.log")

    def __enter__(self) -> Proxy:  # noqa: PYI034 - Self needs Python 3.11
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()


def is_listening(url: str) -> bool:
    host, port = url.rpartition("//")[2].split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("members"), size=3) as made:
        yield made


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(tmp_path, ",".join(cluster.endpoints)) as made:
        wait_for(lambda: is_healthy(made.url), 60, "the proxy")
        yield made
        assert made.process.stop() == 0


def test_calls_streams_and_plain_requests_pass(proxy: Proxy) -> None:
    with Client([proxy.url], timeout_s=20) as client:
        large = os.urandom(1_000_000)
        revision = client.put(b"p/large", large)
        assert client.get(b"p/large") == large
        seen: list[bytes] = []
        watch = Watch(client, b"p/", b"p0", revision + 1)

        def follow() -> None:
            for event in watch.events():
                assert event.kv is not None
                seen.append(event.kv.value)

        following = threading.Thread(target=follow)
        following.start()
        for number in range(50):
            client.put(b"p/small", b"%d" % number)
        wait_for(lambda: seen == [b"%d" % i for i in range(50)], 30, "the watch")
        watch.close()
        following.join(10)
        with Lock(client, b"p-lock", 5) as lock:
            assert lock.fencing_token > revision
        with KeptLease(client, 5) as lease:
            assert client.lease_keep_alive(lease.lease_id) == 5
        (member,) = client.member_list()
        assert member.client_urls == (proxy.url.removeprefix("http://"),)
        assert client.status().version == "3.4.23"
        pieces: list[bytes] = []
        assert client.snapshot(pieces.append) > 512
    with urllib.request.urlopen(f"{proxy.url}/metrics", timeout=5) as answer:
        assert b"etcd_server_has_leader 1" in answer.read()


def test_cases_of_the_conformance_suite_give_the_same_answers(proxy: Proxy) -> None:
    server = runner.GrpcServer(proxy.url)
    chosen = {
        name: steps
        for name, steps in runner.load("v3").items()
        if name.startswith(("put", "range", "txn", "delete", "recreate"))
    }
    assert len(chosen) > 50
    for name, steps in chosen.items():
        assert server.run_v3(name, steps) == runner.recorded()["v3"][name], name
    server.close()


def test_a_namespace_is_not_seen_by_its_clients(cluster: Cluster, tmp_path: Path) -> None:
    with (
        Proxy(tmp_path, ",".join(cluster.endpoints), "--namespace=team/") as proxy,
        Client(cluster.endpoints, timeout_s=20) as outside,
        Client([proxy.url], timeout_s=20) as client,
    ):
        wait_for(lambda: is_healthy(proxy.url), 60, "the proxy")
        server, compared = runner.GrpcServer(proxy.url), 0
        for name, steps in runner.load("v3").items():
            if name.startswith(("put", "range", "txn", "delete", "recreate")):
                answers = server.run_v3(name, steps)
                if all(answer["status"] != 404 for answer in answers):  # only JSON can say it
                    assert answers == runner.recorded()["v3"][name], name
                    compared += 1
        assert compared > 50
        server.close()
        revision = client.put(b"mine", b"1")
        assert outside.get(b"team/mine") == b"1"
        outside.put(b"theirs", b"2")
        everything = m.RangeRequest(b"\0", b"\0")
        answer = client.call(b"/etcdserverpb.KV/Range", everything, m.RangeResponse)
        shown = {kv.key for kv in answer.kvs}
        assert b"mine" in shown
        assert b"theirs" not in shown
        assert all(outside.get(b"team/" + key) is not None for key in shown)
        watch = Watch(client, b"", b"\0", revision)
        outside.put(b"team/other", b"3")
        events = islice(watch.events(), 2)
        seen = [event.kv.key for event in events if event.kv is not None]
        assert seen == [b"mine", b"other"]
        watch.close()
        with Lock(client, b"lock", 5) as lock:
            held = m.Compare(key=lock.key, target=m.CompareTarget.VERSION, version=1)
            fenced = m.TxnRequest([held], [m.RequestOp(request_put=m.PutRequest(b"safe", b"4"))])
            assert client.txn(fenced).succeeded
        assert outside.get(b"team/safe") == b"4"
        for path in ("/v2/keys/", "/v3/kv/range"):
            with pytest.raises(urllib.error.HTTPError, match="404") as refused:
                urllib.request.urlopen(f"{proxy.url}{path}", timeout=5)
            refused.value.close()
        assert proxy.process.stop() == 0


@pytest.mark.skipif(shutil.which("etcdctl") is None, reason="Debian's etcdctl is not here")
def test_etcdctl_through_the_proxy(proxy: Proxy) -> None:
    def run(*words: str) -> str:
        environment = {**os.environ, "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": proxy.url}
        return subprocess.run(
            ["etcdctl", *words], capture_output=True, text=True, env=environment, check=True,
            timeout=20,
        ).stdout  # fmt: skip

    assert run("put", "ctl", "1") == "OK\n"
    assert run("get", "ctl") == "ctl\n1\n"
    assert json.loads(run("member", "list", "-w", "json"))["members"][0]["clientURLs"]
    assert "created" not in run("lease", "grant", "60")


def test_members_come_and_go_and_a_watch_misses_nothing(cluster: Cluster, proxy: Proxy) -> None:
    seen: list[bytes] = []
    with Client([proxy.url], timeout_s=10) as client:
        revision = client.put(b"f/start", b"")
        watch = Watch(client, b"f/", b"f0", revision + 1)

        def follow() -> None:
            for event in watch.events():
                assert event.kv is not None
                seen.append(event.kv.value)

        following = threading.Thread(target=follow)
        following.start()
        done = []
        for number, member in enumerate(cluster.members):
            member.kill()
            for step in range(5):
                value = b"%d/%d" % (number, step)
                try:
                    client.put(b"f/k", value)
                except Unavailable:
                    continue  # its member died under it
                done.append(value)
                assert client.get(b"f/k") == value
            member.start()
            cluster.wait_healthy()
        assert len(done) >= 9
        wait_for(lambda: set(done) <= set(seen), 15, "what was written is seen")
        watch.close()
        following.join(10)
    assert len(seen) == len(set(seen))


def test_both_sides_with_tls(tmp_path: Path) -> None:
    made = TlsCluster(tmp_path)
    cert, key = made.files_of("proxy")
    front_cert, front_key = made.peer_files[0]
    for member in made.members:
        member.start()
    try:
        # Ports are chosen by who listens: the members have to, before the proxy gets its own.
        wait_for(lambda: all(is_listening(one.client_url) for one in made.members), 60, "members")
        flags = (
            f"--cacert={made.ca}", f"--cert={cert}", f"--key={key}",
            f"--cert-file={front_cert}", f"--key-file={front_key}",
        )  # fmt: skip
        with Proxy(tmp_path, made.endpoints, *flags, scheme="https") as proxy:
            tls = ClientTLS(str(made.peer_ca))
            with Client([proxy.url], tls=tls, timeout_s=60) as client:
                assert client.put(b"a", b"1") > 0
                assert client.get(b"a") == b"1"
    finally:
        for member in made.members:
            member.kill()


@pytest.mark.parametrize(
    ("flag", "text"),
    [("--endpoints=", "--endpoints is empty"), ("--endpoints=ftp://x", "must be http"),
     ("--cacert=/nowhere", "cannot use --cacert")],
)  # fmt: skip
def test_mistakes_are_told(flag: str, text: str) -> None:
    command = [sys.executable, "-m", "raftkv", "grpc-proxy", "start", flag]
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, timeout=20
    )
    assert done.returncode == 1
    assert text in done.stderr
