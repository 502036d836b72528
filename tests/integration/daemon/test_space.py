"""Space: quota and its alarm, compaction, defragmentation while writes go on, hashes, probes.

``RAFTKV_LONG=1`` defragments 4 GiB and holds the member to row 10's bounds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from kvclient import Client, KeptLease, RequestError
from tests.conformance.api.runner import Server
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for
from tests.kit.writer import TimedWriter, fill, p99

QUOTA = 1 << 20
IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
LARGE_MIB = 4096 if IS_LONG else 16
CALLS_BEFORE = 5000 if IS_LONG else 200


def overfill(client: Client) -> None:
    with contextlib.suppress(RequestError):
        for number in range(3000):
            client.put(b"fill/%d" % (number % 50), bytes(4096))


def test_row_4_deleting_and_compacting_is_enough(tmp_path: Path) -> None:
    with (
        Cluster("raftkv", tmp_path, 3, ("--quota-backend-bytes", str(QUOTA))) as cluster,
        Client(cluster.endpoints) as client,
    ):
        v2 = Server(cluster.endpoints[0])
        form = "application/x-www-form-urlencoded"
        overfill(client)
        wait_for(client.alarm_list, 10, "the alarm")
        with pytest.raises(RequestError, match="database space exceeded"):
            client.put(b"x", b"y")
        status, _, body = v2.ask("PUT", "/v2/keys/x", b"value=1", form)
        assert (status, b"database space exceeded" in body) == (500, True)
        assert v2.ask("GET", "/health", b"", "")[0] == 503
        assert v2.ask("GET", "/health?exclude=NOSPACE", b"", "")[0] == 200
        assert v2.ask("GET", "/readyz", b"", "")[::2] == (200, b"ok\n")
        assert any("NOSPACE" in problem for problem in client.status().errors)
        assert client.get(b"fill/1") is not None
        client.delete(b"fill/", b"fill0")
        client.compact(client.status().revision, physical=True)
        wait_for(lambda: not client.alarm_list(), 10, "the alarm ends by itself")
        client.put(b"x", b"y")
        assert v2.ask("PUT", "/v2/keys/x", b"value=1", form)[0] == 201
        for endpoint in cluster.endpoints:  # every member took and refused the same
            with Client([endpoint]) as one:
                assert one.get(b"x") == b"y"


def test_row_4_raising_the_quota_is_enough(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, 1, ("--quota-backend-bytes", str(QUOTA))) as cluster:
        with Client(cluster.endpoints) as client:
            overfill(client)
            wait_for(client.alarm_list, 10, "the alarm")
        member = cluster.members[0]
        member.stop()
        member.arguments[-1] = str(QUOTA * 100)
        member.start()
        with Client(cluster.endpoints, timeout_s=10) as client:
            wait_for(lambda: not client.alarm_list(), 10, "the alarm ends by itself")
            client.put(b"x", b"y")


def test_an_alarm_survives_restarts_until_it_is_ended(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        server = Server(cluster.endpoints[0])
        body = {"action": "ACTIVATE", "memberID": "5", "alarm": "CORRUPT"}
        assert server._post("maintenance/alarm", body)[0] == 200
        cluster.members[0].stop()
        cluster.members[0].start()
        with Client(cluster.endpoints, timeout_s=10) as client:
            assert [alarm.kind for alarm in client.alarm_list()] == ["CORRUPT"]
            with pytest.raises(RequestError, match="corrupt cluster"):
                client.put(b"x", b"y")
            probe = server.ask("GET", "/readyz", b"", "")
            assert (probe[0], b"[-]data_corruption failed" in probe[2]) == (503, True)
            assert server.ask("GET", "/livez?verbose", b"", "")[::2] == (
                200,
                b"[+]serializable_read ok\nok\n",
            )
            client.alarm_disarm()
            client.put(b"x", b"y")


def test_history_goes_by_itself(tmp_path: Path) -> None:
    flags = ("--auto-compaction-mode", "periodic", "--auto-compaction-retention", "2s")
    with Cluster("raftkv", tmp_path, 3, flags) as cluster, Client(cluster.endpoints) as client:
        first = client.put(b"k", b"0")
        client.put(b"k", b"1")

        def is_compacted() -> bool:
            return client.hash_kv().compact_revision > first

        wait_for(is_compacted, 15, "compaction by itself")
        with pytest.raises(RequestError, match="has been compacted"):
            client.hash_kv(first)
        assert client.get(b"k") == b"1"


def write_until(client: Client, stop: threading.Event, written: list[int]) -> None:
    while not stop.is_set():
        number = len(written)
        client.put(b"during/%d" % (number % 200), b"%d" % number)
        written.append(number)


def test_row_10_defragmentation_gives_space_back_while_writes_go_on(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, 3) as cluster, Client(cluster.endpoints) as client:
        for number in range(300):
            client.put(b"big/%d" % number, bytes(60_000))
        client.put(b"kept", b"value")
        client.delete(b"big/", b"big0")
        client.compact(client.status().revision, physical=True)
        term = client.status().raft_term
        stop, written = threading.Event(), list[int]()
        with Client(cluster.endpoints) as second:
            writer = threading.Thread(target=write_until, args=(second, stop, written))
            writer.start()
            try:
                for endpoint in cluster.endpoints:
                    with Client([endpoint], timeout_s=60) as one:
                        before = one.status().db_size_bytes
                        one.defragment()
                        after = one.status().db_size_bytes
                        assert after * 5 < before
                wait_for(lambda: len(written) > 300, 20, "writes after it")
            finally:
                stop.set()
                writer.join()
        assert client.status().raft_term == term
        last = {number % 200: number for number in written}
        for key, number in last.items():
            assert client.get(b"during/%d" % key) == b"%d" % number
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start()
        cluster.wait_healthy()
        assert client.get(b"kept") == b"value"
        for key, number in last.items():
            assert client.get(b"during/%d" % key) == b"%d" % number
        revision = client.status().revision
        hashes = {client.hash_kv(revision, endpoint=e).hash for e in cluster.endpoints}
        assert len(hashes) == 1
        left_over = [p.name for m in cluster.members for p in (tmp_path / m.name).rglob("store*")]
        assert set(left_over) == {"store"}


def test_row_10_defragmentation_of_the_leader_delays_nobody(tmp_path: Path) -> None:
    flags = ["--quota-backend-bytes=8589934592"]
    with Cluster("raftkv", tmp_path, 3, flags) as cluster:
        leader = cluster.members[0]
        cluster.lead(leader)
        with Client([leader.client_url], timeout_s=600) as client:
            fill(client, b"large/", LARGE_MIB)
            client.delete(b"large/", b"large/%06d" % (LARGE_MIB * 4))
            client.compact(client.status().revision, physical=True)
            status = client.status()
            lease = KeptLease(client, 5)
            with TimedWriter(leader.client_url, reads=True) as caller:
                wait_for(lambda: len(caller.gets_s) >= CALLS_BEFORE, 120, "calls to compare with")
                puts_before, gets_before = list(caller.puts_s), list(caller.gets_s)
                began = time.monotonic()
                client.defragment()
                took_s = time.monotonic() - began
                puts = caller.puts_s[len(puts_before) :]
                gets = caller.gets_s[len(gets_before) :]
            after = client.status()
            assert after.raft_term == status.raft_term
            assert after.db_size_bytes < status.db_size_bytes
            assert not lease.is_lost
            assert client.lease_time_to_live(lease.lease_id) is not None
            lease.close()
    puts_ms, gets_ms = (
        [p99(times) * 1000 for times in pair]
        for pair in ((puts_before, puts), (gets_before, gets))
    )
    print(
        f"{LARGE_MIB} MiB in {took_s:.1f} s: put p99 {puts_ms[0]:.1f} ms before, {puts_ms[1]:.1f} ms "
        f"beside it; get {gets_ms[0]:.1f} and {gets_ms[1]:.1f} ms"
    )
    if IS_LONG:
        assert puts_ms[1] <= 2 * puts_ms[0]
        assert gets_ms[1] <= 2 * gets_ms[0]
