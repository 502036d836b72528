"""Disks that hang, are slow or fail: ``strace`` injects it into one member's syncs."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import pytest

from kvclient import Client, KvClientError
from tests.integration.daemon.test_faults import leader_of
from tests.kit.servers import Cluster, Process
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
GIVEN_AWAY_S = 3.0 if IS_LONG else 20.0
SLOW_S = 600.0 if IS_LONG else 0.0
ELECTION = ["--heartbeat-interval=100", "--election-timeout=1000"]


@contextmanager
def syncs_with(fault: str, member: Process, log: Path) -> Iterator[None]:
    """Every sync of a running member has a fault, in the words of ``strace --inject``."""
    assert member.process is not None
    tracer = subprocess.Popen(
        [
            "strace", "-f", "-qq", "-e", "trace=fdatasync", "-o", str(log),
            "-e", f"inject=fdatasync:{fault}",
            "-p", str(member.process.pid),
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process, traced = member.process, f"TracerPid:\t{tracer.pid}\n"
    status = Path(f"/proc/{process.pid}/status")
    try:
        wait_for(
            lambda: process.poll() is not None or traced in status.read_text(),
            10,
            "strace is attached, or its fault has done its work already",
        )
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.wait(5)
        except subprocess.TimeoutExpired:
            tracer.kill()
            tracer.wait()
    assert "fdatasync(" in log.read_text(), "nothing was held back"


def leads(cluster: Cluster, others: list[str], position: int) -> bool:
    try:
        with Client(others, timeout_s=2) as client:
            leader = client.status().leader_id
            return leader not in {
                0,
                *(m.member_id for m in client.member_list() if m.name == f"m{position}"),
            }
    except KvClientError:
        return False


@pytest.mark.parametrize("size", [3, 5])
def test_row_5_a_leader_whose_disk_hangs_gives_leadership_away(tmp_path: Path, size: int) -> None:
    with Cluster("raftkv", tmp_path, size=size, flags=ELECTION) as cluster:
        position = leader_of(cluster)
        others = [url for number, url in enumerate(cluster.endpoints) if number != position]
        with Client(others) as client:
            kept = client.lease_grant(10).lease_id
            client.put(b"kept", b"v", lease=kept)
        writer = ContinuousWriter(others)
        writer.start()
        writer.wait_acknowledged(50, timeout_s=20)
        with syncs_with("delay_enter=60s", cluster.members[position], tmp_path / "strace.log"):
            began = time.monotonic()
            wait_for(lambda: leads(cluster, others, position), GIVEN_AWAY_S, "another one leads")
            writer.wait_acknowledged(50, timeout_s=20)
            print(f"{size} members: {time.monotonic() - began:.1f} s")
            with Client(others) as client:
                assert client.lease_keep_alive(kept) == 10
                assert client.get(b"kept") == b"v"
        wait_for(lambda: leader_of(cluster) != position, 20, "it follows again")
        cluster.wait_healthy()
        writer.wait_acknowledged(50, timeout_s=20)
        writer.stop()
        assert writer.lost(cluster.endpoints) == []


def p99_s(writer: ContinuousWriter, since: int) -> float:
    """Between acknowledged writes: one writer, one at a time."""
    times = [when for when, _ in writer.acknowledged[since:]]
    return quantiles([b - a for a, b in itertools.pairwise(times)], n=100)[98]


def test_row_11_one_slow_disk_moves_no_term_and_slows_nobody(tmp_path: Path) -> None:
    """A follower's syncs take two seconds: the others are a majority without it."""
    with Cluster("raftkv", tmp_path, size=3, flags=ELECTION) as cluster:
        slow = (leader_of(cluster) + 1) % 3
        others = [url for number, url in enumerate(cluster.endpoints) if number != slow]
        with Client(others) as client:
            term = client.status().raft_term
        writer = ContinuousWriter(others)
        writer.start()
        writer.wait_acknowledged(3000, timeout_s=60)
        fast_s, since = p99_s(writer, 0), len(writer.acknowledged)
        with syncs_with("delay_enter=2s", cluster.members[slow], tmp_path / "strace.log"):
            writer.wait_acknowledged(3000, timeout_s=60)
            until = time.monotonic() + SLOW_S
            wait_for(lambda: time.monotonic() >= until, SLOW_S + 1, "as long as the row says")
            with Client(others) as client:
                assert client.status().raft_term == term
        slow_s = p99_s(writer, since)
        print(f"p99 with three fast disks {fast_s * 1000:.1f} ms, with two {slow_s * 1000:.1f} ms")
        if IS_LONG:
            assert slow_s <= 1.5 * fast_s
        writer.stop()
        assert writer.lost(others) == []


def test_row_11_leadership_moves_off_the_slowest_disk(tmp_path: Path) -> None:
    flags = ["--heartbeat-interval=50", "--election-timeout=500"]
    with Cluster("raftkv", tmp_path, size=3, flags=flags) as cluster:
        position = leader_of(cluster)
        others = [url for number, url in enumerate(cluster.endpoints) if number != position]
        writer = ContinuousWriter(others)
        writer.start()
        slow = cluster.members[position]
        with syncs_with("delay_enter=200ms", slow, tmp_path / "strace.log"):
            wait_for(lambda: leads(cluster, others, position), 60, "another one leads")
            writer.wait_acknowledged(200, timeout_s=20)
            assert leads(cluster, others, position)
        assert "it shall lead" in slow.log.read_text()
        writer.stop()
        assert writer.lost(cluster.endpoints) == []


def test_a_member_whose_sync_fails_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    """What reached the disk is unknown then; only reading it back can tell."""
    with Cluster("raftkv", tmp_path, size=3, flags=ELECTION) as cluster:
        victim = cluster.members[leader_of(cluster)]
        process = victim.process
        assert process is not None
        writer = ContinuousWriter(cluster.endpoints)
        writer.start()
        writer.wait_acknowledged(50, timeout_s=20)
        with syncs_with("error=EIO", victim, tmp_path / "strace.log"):
            assert process.wait(20) == 1
        assert "files are kept as they are" in victim.log.read_text()
        writer.wait_acknowledged(50, timeout_s=20)
        victim.start()
        cluster.wait_healthy()
        writer.stop()
        assert writer.lost(cluster.endpoints) == []
