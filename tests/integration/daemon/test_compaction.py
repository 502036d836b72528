"""Row 12: a compaction, however much goes, is nobody's latency.

Short in ``./run test``, with 20,000 rows of which nine tenths go. ``RAFTKV_LONG=1`` takes a million
and holds the member to the row's bounds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from kvclient import Client
from tests.integration.daemon.test_nothing_blocks import fill, longest_lag_s
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for
from tests.kit.writer import MIB, TimedWriter, p99

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
ROWS = 1_000_000 if IS_LONG else 20_000
GENERATIONS = 10
PUTS_BEFORE = 100_000 if IS_LONG else 200
"""A minute of them, or there is more chance in p99 than the row allows."""


def test_row_12_a_compaction_delays_nobody(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        leader = cluster.members[0]
        cluster.lead(leader)
        with Client([leader.client_url], timeout_s=300) as client:
            for _ in range(GENERATIONS):
                fill(client, ROWS // GENERATIONS)
            term = client.status().raft_term
            with TimedWriter(leader.client_url) as writer:
                wait_for(lambda: len(writer.puts_s) >= PUTS_BEFORE, 120, "puts to compare with")
                before, used = list(writer.puts_s), leader.resident_bytes(own=True)
                longest_lag_s(leader)
                began = time.monotonic()
                client.compact(client.status().revision, physical=True)
                took_s = time.monotonic() - began
                lag_s, grown = longest_lag_s(leader), leader.resident_bytes(own=True) - used
                during = writer.puts_s[len(before) :]
            assert client.status().raft_term == term
            assert client.get(b"key/%08d" % 7) == bytes(256)
        p99_before, p99_during = p99(before), p99(during)
        print(
            f"{ROWS} rows in {took_s:.1f} s: put p99 {p99_before * 1000:.1f} ms before, {p99_during * 1000:.1f} ms "
            f"during ({len(during)} puts); timers late by {lag_s * 1000:.0f} ms at most; grown by "
            f"{grown / MIB:.0f} MiB"
        )
        if IS_LONG:
            assert p99_during <= 1.3 * p99_before
            assert lag_s <= 0.005 + 0.005, "steps of 5 ms, and a timer's own lateness"
            assert grown <= 64 * MIB
