"""Row 32: a member far behind gets one snapshot, at its own pace, and nobody else feels it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kvclient import Client
from tests.integration.daemon.test_restore import put_v2, read_v2
from tests.integration.daemon.test_versions import hash_at
from tests.kit.servers import Cluster, Process
from tests.kit.waiting import wait_for

MIB = 1 << 20
ENTRIES_KEPT = 1000
OVERWRITTEN = 60
"""Times 2 MB: beyond 256 MiB the log is not held for a member that fetches, it begins anew."""


def write(client: Client, count: int, size_bytes: int) -> None:
    for number in range(count):
        client.put(b"k%d" % number, bytes(size_bytes))


@contextmanager
def one_behind(
    tmp_path: Path, size_mib: int, rate_bytes: int
) -> Iterator[tuple[Cluster, Process]]:
    """Three members, of which one lacks more than the log holds and is about to come back."""
    flags = [f"--snapshot-count={ENTRIES_KEPT}", f"--snapshot-rate={rate_bytes}"]
    with Cluster("raftkv", tmp_path, size=3, flags=flags) as cluster:
        leader, _, behind = cluster.members
        cluster.lead(leader)
        behind.kill()
        with Client(cluster.endpoints[:2]) as client:
            lacks = client.status().raft_applied_index + 1
            write(client, size_mib, MIB)

            def is_trimmed() -> bool:
                write(client, ENTRIES_KEPT, 1)
                return leader.read_metric("raftkv_log_start_index") >= lacks

            # The leader holds its log for a member from which it has just heard.
            wait_for(is_trimmed, 30, "what it lacks is no longer in the log")
        yield cluster, behind


def incoming(cluster: Cluster, member: Process) -> list[Path]:
    return list((cluster.directory / member.name / "member").glob("incoming-*"))


def received_bytes(cluster: Cluster, member: Process) -> int:
    return sum(path.stat().st_size for path in incoming(cluster, member))


def test_row_32_a_transfer_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    with one_behind(tmp_path, 24, 4 * MIB) as (cluster, behind):
        behind.start()
        wait_for(lambda: received_bytes(cluster, behind) > 4 * MIB, 30, "some of it has come")
        behind.kill()
        behind.start()
        cluster.wait_healthy()
        log = (tmp_path / "m0.log").read_text()
        went_on = [int(number) for number in re.findall(r"going on with byte (\d+)", log)]
        assert went_on
        assert went_on[0] >= 4 * MIB
        with Client(cluster.endpoints) as client:
            revision = client.put(b"k1", b"after")
        assert len({hash_at(member, revision) for member in cluster.members}) == 1
        assert not incoming(cluster, behind)
        assert not list((tmp_path / "m0" / "member").glob("spool-*"))


def test_row_32_a_slow_transfer_does_not_make_the_file_grow(tmp_path: Path) -> None:
    with one_behind(tmp_path, 48, 4 * MIB) as (cluster, behind):
        leader = cluster.members[0]
        store = tmp_path / "m0" / "member" / "store" / "data.mdb"
        written = 0

        def overwrite() -> None:
            nonlocal written
            written += 1
            for number in range(100):
                put_v2(leader, f"n{number}", value=f"{written}{'x' * 20_000}")

        def is_steady() -> bool:
            before = store.stat().st_size
            for _ in range(5):
                overwrite()
            return store.stat().st_size == before

        wait_for(is_steady, 60, "overwriting needs no new room")
        before, warm = store.stat().st_size, written
        behind.start()
        wait_for(lambda: received_bytes(cluster, behind) > 0, 30, "it has begun")
        while incoming(cluster, behind) and written < warm + OVERWRITTEN:
            overwrite()
        assert written > warm + 5, "the transfer was too short to tell anything"
        wait_for(lambda: not incoming(cluster, behind), 60, "all of it has come")
        cluster.wait_healthy()
        assert store.stat().st_size <= before * 1.1
        assert read_v2(behind, "n1")
