"""Limits that hold: a full store, requests too large, connections that say nothing.

``RAFTKV_LONG=1`` opens 10,000 of these; ``./run test`` a thousand.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client, ClientTLS, RequestError
from tests.kit.authority import Authority
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

SILENT_CLIENTS = 10_000 if os.environ.get("RAFTKV_LONG") else 1000
SILENT_CLIENT_BYTES_MAX = (50 << 20) // 10_000


def put_fails(client: Client) -> bool:
    try:
        client.put(b"k", b"x" * 50_000)
    except RequestError as error:
        if "database space exceeded" not in error.message:
            raise
        return True
    return False


def test_a_full_store_refuses_writes_but_not_deletions_nor_reads(tmp_path: Path) -> None:
    with (
        Cluster("raftkv", tmp_path, flags=["--quota-backend-bytes=2000000"]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        wait_for(lambda: put_fails(client), 20, "the quota is felt")
        assert client.get(b"k") == b"x" * 50_000
        assert client.delete(b"k") == 1


def test_requests_above_the_limit_are_refused_and_the_next_is_served(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        with pytest.raises(RequestError, match="request is too large"):
            client.put(b"k", b"x" * (1536 * 1024))
        with pytest.raises(RequestError, match="received message larger than max"):
            client.put(b"k", b"x" * (3 << 20))
        client.put(b"k", b"y")
        request = urllib.request.Request(
            f"{cluster.endpoints[0]}/v2/keys/a", data=b"value=" + b"x" * (3 << 20), method="PUT"
        )
        with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)):
            urllib.request.urlopen(request, timeout=5)
        assert client.get(b"k") == b"y"


def test_garbage_ends_its_connection_only(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        host, port = cluster.endpoints[0].removeprefix("http://").split(":")
        peer_port = cluster.members[0].peer_url.rsplit(":", 1)[1]
        for target, garbage in (
            (port, b"\x16\x03\x01\x02\x00\x01"),
            (port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100),
            (port, b"GET / HTTP/9.9\r\n\r\n"),
            (peer_port, b"RKVPEER1\n{}\n"),
            (peer_port, b"RKVPEER1\n" + b"x" * 5000),
            (peer_port, b"\0" * 100),
        ):
            with socket.create_connection((host, int(target)), timeout=5) as wire:
                wire.sendall(garbage)
                wire.settimeout(5)
                while wire.recv(4096):
                    pass
        client.put(b"k", b"v")
        assert client.get(b"k") == b"v"


def is_gone(wire: socket.socket) -> bool:
    try:
        return wire.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.fixture
def _many_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("_many_descriptors")
def test_row_7_connections_that_never_start_tls_cost_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "servers")
    certificate = authority.issue("server")
    with Cluster("raftkv", tmp_path, certificate=certificate) as cluster:
        member = cluster.members[0]
        address = ("127.0.0.1", int(member.secure_url.rpartition(":")[2]))
        trust = ClientTLS(ca_file=str(authority.path))
        with Client([member.secure_url], tls=trust) as client:
            client.put(b"k", b"v")
        before = member.resident_bytes()
        silent: list[socket.socket] = []
        try:
            silent.extend(socket.create_connection(address) for _ in range(SILENT_CLIENTS))
            with Client([member.secure_url], tls=trust) as client:
                assert client.get(b"k") == b"v", "who speaks is served beside them"
            grown = member.resident_bytes() - before
            assert grown < SILENT_CLIENTS * SILENT_CLIENT_BYTES_MAX + (2 << 20)
            wait_for(lambda: all(map(is_gone, silent)), 20, "connections that say nothing end")
        finally:
            for wire in silent:
                wire.close()
        print(f"{SILENT_CLIENTS} silent connections: {grown / 1024:.0f} KiB")


def test_all_descriptors_that_are_allowed_are_used(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with Cluster("raftkv", tmp_path) as cluster:
            process = cluster.members[0].process
            assert process is not None
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_flood_that_takes_all_descriptors_is_told_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "servers")
    with Cluster("raftkv", tmp_path, certificate=authority.issue("server")) as cluster:
        member = cluster.members[0]
        assert member.process is not None
        address = ("127.0.0.1", int(member.secure_url.rpartition(":")[2]))
        resource.prlimit(member.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        with contextlib.ExitStack() as silent:
            for _ in range(200):
                silent.enter_context(socket.create_connection(address))
            with Client([member.secure_url], tls=ClientTLS(ca_file=str(authority.path))) as client:
                client.put(b"k", b"v")
        log = member.log.read_text()
        assert log.count("cannot accept on") == 1


def test_compaction_gives_space_back_and_outlives_a_restart(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        with Client(cluster.endpoints) as client:
            for number in range(300):
                revision = client.put(b"k", b"%06d" % number + b"x" * 10_000)
            wait_for(lambda: client.status().db_size_in_use_bytes > 3_000_000, 20, "rows flushed")
            request = m.CompactionRequest(revision)
            path = b"/etcdserverpb.KV/Compact"
            client.call(path, request, m.CompactionResponse, is_write=True)
            with pytest.raises(RequestError, match="has been compacted"):
                client.call(path, request, m.CompactionResponse, is_write=True)
            wait_for(lambda: client.status().db_size_in_use_bytes < 100_000, 20, "rows forgotten")
        cluster.members[0].kill()
        cluster.members[0].start()
        cluster.wait_healthy()
        with Client(cluster.endpoints) as client:
            value = client.get(b"k")
            assert value is not None
            assert value.startswith(b"000299")
            old = m.RangeRequest(b"k", revision=revision - 1)
            with pytest.raises(RequestError, match="has been compacted"):
                client.call(b"/etcdserverpb.KV/Range", old, m.RangeResponse)
            assert client.put(b"k", b"new") == revision + 1
