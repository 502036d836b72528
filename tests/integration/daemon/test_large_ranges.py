"""Row 13: ranges over many keys, in each form in which they can be asked for.

``RAFTKV_LONG=1`` asks eight times at once for 1 GiB; ``./run test`` for 48 MiB.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from kvclient import Client
from tests.integration.daemon.test_nothing_blocks import LAG_MAX_S, longest_lag_s
from tests.kit.servers import Cluster
from tests.kit.wire import Wire
from tests.kit.writer import MIB, TimedWriter, fill

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
HUGE_MIB = 1024 if IS_LONG else 48
READERS = 8
EXTRA_BYTES_MAX = 64 * MIB
KEYS = [b"big/%05d" % number for number in range(6000)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a member with all these keys, written in another order."""
    shuffled = random.Random(3).sample(KEYS, len(KEYS))
    with Cluster("raftkv", tmp_path_factory.mktemp("large"), 1) as cluster:
        with Client(cluster.endpoints) as client:
            for start in range(0, len(shuffled), 100):
                puts = [
                    m.RequestOp(request_put=m.PutRequest(key, key[::-1] * 30))
                    for key in shuffled[start : start + 100]
                ]
                client.txn(m.TxnRequest([], puts))
        yield cluster.endpoints[0]


def ask(endpoint: str, request: m.RangeRequest) -> m.RangeResponse:
    with Client([endpoint], timeout_s=20) as client:
        return client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)


def test_row_13_as_one_message_and_as_many(endpoint: str) -> None:
    request = m.RangeRequest(b"big/", b"big0")
    assert [kv.key for kv in ask(endpoint, request).kvs] == KEYS
    with Client([endpoint]) as client:
        connection = client._connect(endpoint, 5.0)
        seen: list[bytes] = []
        for body in connection.stream(b"/etcdserverpb.KV/RangeStream", encode(request), 10):
            at = 1
            while body[at] & 0x80:
                at += 1
            seen += [kv.key for kv in decode(m.RangeResponse, body[at + 1 :]).kvs]
        assert seen == KEYS


def test_row_13_sorted(endpoint: str) -> None:
    by_value = m.RangeRequest(b"big/", b"big0", sort_target=m.SortTarget.VALUE)
    assert [kv.key for kv in ask(endpoint, by_value).kvs] == sorted(KEYS, key=lambda k: k[::-1])
    last = m.RangeRequest(
        b"big/", b"big0", 3, sort_order=m.SortOrder.DESCEND, sort_target=m.SortTarget.KEY
    )
    found = ask(endpoint, last)
    assert [kv.key for kv in found.kvs] == KEYS[:-4:-1]
    assert (found.more, found.count) == (True, len(KEYS))


@pytest.mark.parametrize("more", [{}, {"limit": "5000"}, {"sort_target": "MOD"}, {"limit": "1"}])
def test_row_13_as_json(endpoint: str, more: dict[str, str]) -> None:
    question = {"key": to_text(b"big/"), "range_end": to_text(b"big0"), **more}
    call = urllib.request.Request(f"{endpoint}/v3/kv/range", json.dumps(question).encode())
    with urllib.request.urlopen(call, timeout=20) as answer:
        document = json.load(answer)
    target = m.SortTarget[more.get("sort_target", "KEY")]
    request = m.RangeRequest(b"big/", b"big0", int(more.get("limit", 0)), sort_target=target)
    expected = ask(endpoint, request)
    assert list(document) == ["header", "kvs", *(["more"] if expected.more else []), "count"]
    assert document["header"]["revision"] == str(
        expected.header.revision if expected.header else 0
    )
    assert document["count"] == str(len(KEYS))
    assert document["kvs"] == [
        {
            "key": to_text(kv.key),
            "create_revision": str(kv.create_revision),
            "mod_revision": str(kv.mod_revision),
            "version": "1",
            "value": to_text(kv.value),
        }
        for kv in expected.kvs
    ]


def to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Reader(threading.Thread):
    """Asks for one range and lets go of what comes."""

    def __init__(self, endpoint: str, request: m.RangeRequest) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._request = encode(request)
        self.count_bytes = 0
        self.status = b""

    def run(self) -> None:
        with contextlib.closing(Wire(self._endpoint)) as wire:
            stream = wire.session.streams[wire.call(b"KV/Range", self._request, end=True)]
            wire.flush()
            while not stream.is_ended:
                wire.receive()
                self.count_bytes += len(stream.data)
                stream.data.clear()
        self.status = stream.headers.get(b"grpc-status", b"")


def test_row_13_eight_huge_ranges_cost_little_memory_and_delay_nobody(tmp_path: Path) -> None:
    flags = ["--quota-backend-bytes=8589934592"]
    with Cluster("raftkv", tmp_path, 3, flags) as cluster:
        leader = cluster.members[0]
        cluster.lead(leader)
        with Client([leader.client_url], timeout_s=60) as client:
            fill(client, b"huge/", HUGE_MIB)
            client.compact(client.status().revision, physical=True)  # all of it is on the disk
            term = client.status().raft_term
            before = leader.resident_bytes(own=True)
            readers = [
                Reader(leader.client_url, m.RangeRequest(b"huge/", b"huge0"))
                for _ in range(READERS)
            ]
            longest_lag_s(leader)
            grown = 0
            with TimedWriter(leader.client_url) as writer:
                for reader in readers:
                    reader.start()
                while any(reader.is_alive() for reader in readers):
                    grown = max(grown, leader.resident_bytes(own=True) - before)
                    readers[0].join(0.05)
            lag_s = longest_lag_s(leader)
            assert [reader.status for reader in readers] == [b"0"] * READERS
            assert all(reader.count_bytes > HUGE_MIB * MIB for reader in readers)
            assert client.status().raft_term == term
    print(
        f"{READERS} ranges of {HUGE_MIB} MiB: {grown / MIB:.0f} MiB more, timers late by "
        f"{lag_s * 1000:.0f} ms at most, the longest of {len(writer.puts_s)} puts "
        f"{max(writer.puts_s) * 1000:.0f} ms"
    )
    assert grown <= EXTRA_BYTES_MAX
    if IS_LONG:
        assert lag_s < LAG_MAX_S
