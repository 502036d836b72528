"""Whatever is asked of a member, its loop goes on: no request makes a leader lose its followers.

Short in ``./run test``, with some ten thousand keys. ``RAFTKV_LONG=1`` takes a million keys of 256
bytes, and prints how late the leader's timers were.
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from etcdwire import messages as m
from kvclient import Client
from tests.kit.servers import Cluster, Process
from tests.kit.writer import TimedWriter

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
KEYS = 1_000_000 if IS_LONG else 20_000
PER_TXN = 128
LARGE_VALUES = 2000 if IS_LONG else 200
LARGE_BYTES = 200 << 10
LAG_MAX_S = 0.02
"""No turn of the loop takes longer."""


def fill(client: Client, count: int) -> None:
    """Each key once, in another order each time, as clients write them: the rows of neighbouring
    keys lie far from each other.
    """
    numbers = random.sample(range(count), count)
    for first in range(0, count, PER_TXN):
        puts = [
            m.RequestOp(request_put=m.PutRequest(b"key/%08d" % number, bytes(256)))
            for number in numbers[first : first + PER_TXN]
        ]
        client.txn(m.TxnRequest(success=puts))


def longest_lag_s(member: Process) -> float:
    """Since it was last asked."""
    return member.read_number("raftkv_loop_longest_lag_seconds")


def test_no_request_costs_the_leader_its_place(tmp_path: Path) -> None:
    quota = "--quota-backend-bytes=8589934592"
    with Cluster("raftkv", tmp_path, size=3, flags=[quota]) as cluster:
        leader = cluster.members[0]
        cluster.lead(leader)
        with Client([leader.client_url], timeout_s=300) as client:
            fill(client, KEYS)
            term = client.status().raft_term
            longest_lag_s(leader)
            with TimedWriter(leader.client_url) as writer:
                for name, work in works(client, leader.client_url).items():
                    began, first = time.monotonic(), len(writer.puts_s)
                    work()
                    elapsed, lag_s = time.monotonic() - began, longest_lag_s(leader)
                    puts_s = writer.puts_s[first:]
                    print(
                        f"{name}: {elapsed:.2f} s, timers late by {lag_s * 1000:.0f} ms at most, "
                        f"{len(puts_s)} puts, the longest {max(puts_s, default=0) * 1000:.0f} ms"
                    )
                    assert client.status().raft_term == term, f"{name}: the leader changed"
                    if IS_LONG:
                        assert lag_s < LAG_MAX_S, name
            assert len(writer.puts_s) > 10


def works(client: Client, endpoint: str) -> dict[str, Callable[[], object]]:
    everything = m.RangeRequest(b"key/", b"key0")
    large_from: list[int] = []
    """The revisions at which the large values were written."""

    def ask(request: m.RangeRequest) -> m.RangeResponse:
        return client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)

    def read_all() -> None:
        assert ask(everything).count == KEYS

    def read_sorted() -> None:
        by_value = m.RangeRequest(b"key/", b"key0", sort_target=m.SortTarget.VALUE, keys_only=True)
        assert ask(by_value).count == KEYS

    def read_first() -> None:
        by_value = m.RangeRequest(b"key/", b"key0", 1, sort_target=m.SortTarget.VALUE)
        assert len(ask(by_value).kvs) == 1

    def read_json() -> None:
        question = {"key": "a2V5Lw==", "range_end": "a2V5MA=="}
        call = urllib.request.Request(f"{endpoint}/v3/kv/range", json.dumps(question).encode())
        with urllib.request.urlopen(call, timeout=300) as answer:
            size = sum(map(len, iter(lambda: answer.read(1 << 20), b"")))
        assert size > KEYS * 256

    def count() -> None:
        assert ask(m.RangeRequest(b"key/", b"key0", count_only=True)).count == KEYS

    def compact() -> None:
        client.compact(client.put(b"last", b"x"), physical=True)

    def save() -> None:
        sizes: list[int] = []
        client.snapshot(lambda chunk: sizes.append(len(chunk)))
        assert sum(sizes) > KEYS * 256

    def rewrite() -> None:
        fill(client, KEYS // 4)

    def write_large() -> None:
        for number in range(LARGE_VALUES):
            first = client.put(b"large/%04d" % number, bytes(LARGE_BYTES))
            large_from.append(first)

    def hash_all() -> None:
        client.call(b"/etcdserverpb.Maintenance/Hash", m.HashRequest(), m.HashResponse)

    def watch_large() -> None:
        seen = 0
        for answer in client.watch(b"large/", b"large0", large_from[0], timeout_s=60):
            seen += sum(len(event.kv.value) for event in answer.events if event.kv is not None)
            if seen >= LARGE_VALUES * LARGE_BYTES:
                return

    def add_users() -> None:
        for number in range(5):
            client.user_add(f"user{number}", "password")

    return {
        "range over all keys": read_all,
        "the same sorted by their values": read_sorted,
        "the first of them by its value": read_first,
        "the same as JSON": read_json,
        "count of all keys": count,
        "HashKV": client.hash_kv,
        "a quarter written anew": rewrite,
        "compaction": compact,
        "defragmentation": client.defragment,
        "snapshot": save,
        "large values": write_large,
        "HashKV with large values": client.hash_kv,
        "Hash with large values": hash_all,
        "a watch of their history": watch_large,
        "hashing passwords": add_users,
    }
