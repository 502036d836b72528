"""Members of different versions are one cluster, which uses what all of them understand.

``daemon-of-level-1.tar.xz`` is the daemon's code from before there was a second level (see
``raftkv.replica.levels``). It is never made anew.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from kvclient import Client
from tests.kit.servers import SOURCES, Cluster, Process
from tests.kit.waiting import wait_for

FIRST_DAEMON = Path(__file__).resolve().parents[2] / "fixtures" / "daemon-of-level-1.tar.xz"


def hash_at(member: Process, revision: int) -> int:
    with Client([member.client_url]) as client:
        client.get(b"k")  # behind a read round: this member has applied what was written before
        return client.hash_kv(revision).hash


def upgrade(cluster: Cluster, member: Process) -> None:
    member.stop()
    member.sources = SOURCES
    member.start()
    cluster.wait_healthy()


def write_and_compare(cluster: Cluster, values: dict[bytes, bytes]) -> None:
    number = len(values)
    key, value = b"k%d" % number, b"v%d" % number
    with Client(cluster.endpoints) as client:
        lease = client.lease_grant(60)
        revision = client.put(key, value, lease=lease.lease_id)
        values[key] = value
    for member in cluster.members:
        with Client([member.client_url]) as client:
            assert dict(client.get_prefix(b"k")) == values
    assert len({hash_at(member, revision) for member in cluster.members}) == 1


def test_a_cluster_is_upgraded_member_by_member(tmp_path: Path) -> None:
    old = tmp_path / "first"
    with tarfile.open(FIRST_DAEMON) as archive:
        archive.extractall(old)
    values: dict[bytes, bytes] = {}
    with Cluster("raftkv", tmp_path, size=3, sources=str(old), may_fail=True) as cluster:
        first, second, third = cluster.members
        write_and_compare(cluster, values)
        upgrade(cluster, first)
        for leader in (
            first,
            second,
        ):  # one that knows more than its followers, one that knows less
            cluster.lead(leader)
            write_and_compare(cluster, values)
        upgrade(cluster, second)
        cluster.lead(first)
        write_and_compare(cluster, values)
        assert first.cluster_level() == 1
        upgrade(cluster, third)
        for member in cluster.members:
            wait_for(lambda m=member: m.cluster_level() == 2, 20, "all members understand level 2")
        write_and_compare(cluster, values)

        second.stop()
        second.sources = str(old)
        second.start()
        assert second.process is not None
        assert second.process.wait(30) != 0, "a version that knows less must not go on"
        second.sources = SOURCES
        second.start()
        cluster.wait_healthy()
        write_and_compare(cluster, values)
