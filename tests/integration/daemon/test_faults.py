"""Real processes and real faults: nothing acknowledged is lost, the cluster goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvclient import Client, RequestError
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter


def leader_of(cluster: Cluster) -> int:
    """Position of the leader among the cluster's members."""
    with Client(cluster.endpoints, timeout_s=5) as client:
        leader = client.status().leader_id
        names = {member.member_id: member.name for member in client.member_list()}
    return int(names[leader][1:])


def test_killed_leader_under_writes(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        writer = ContinuousWriter(cluster.endpoints)
        writer.start()
        for _ in range(3):
            writer.wait_acknowledged(50, timeout_s=20)
            victim = cluster.members[leader_of(cluster)]
            victim.kill()
            writer.wait_acknowledged(50, timeout_s=20)
            victim.start()
            cluster.wait_healthy()
        writer.stop()
        assert writer.lost(cluster.endpoints) == []


def test_all_killed_at_once(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        writer = ContinuousWriter(cluster.endpoints)
        writer.start()
        writer.wait_acknowledged(100, timeout_s=20)
        for member in cluster.members:
            member.kill()
        writer.stop()
        for member in cluster.members:
            member.start()
        cluster.wait_healthy()
        assert writer.lost(cluster.endpoints) == []


def test_one_member_killed_and_restarted(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        writer = ContinuousWriter(cluster.endpoints)
        writer.start()
        writer.wait_acknowledged(100, timeout_s=20)
        cluster.members[0].kill()
        cluster.members[0].start()
        cluster.wait_healthy()
        writer.wait_acknowledged(20, timeout_s=20)
        writer.stop()
        assert writer.lost(cluster.endpoints) == []


def test_planned_stop_of_the_leader_hands_over(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        before = leader_of(cluster)
        assert cluster.members[before].stop() == 0
        assert "leader" in cluster.members[before].log.read_text()
        rest = [m.client_url for i, m in enumerate(cluster.members) if i != before]
        with Client(rest, timeout_s=5) as client:
            client.put(b"after", b"stop")
            assert client.status().leader_id


def test_follower_far_behind_gets_a_snapshot(tmp_path: Path) -> None:
    """More writes than the log keeps while one member is away."""
    flags = ["--snapshot-count=1000"]
    with Cluster("raftkv", tmp_path, size=3, flags=flags) as cluster:
        away = (leader_of(cluster) + 1) % 3
        cluster.members[away].kill()
        leader = cluster.members[leader_of(cluster)]
        rest = [m.client_url for i, m in enumerate(cluster.members) if i != away]
        with Client(rest, timeout_s=10) as client:
            lacks = client.status().raft_applied_index + 1

            def is_trimmed() -> bool:
                for number in range(2500):
                    client.put(b"fill/%05d" % number, b"x" * 100)
                return leader.read_metric("raftkv_log_start_index") >= lacks

            wait_for(is_trimmed, 60, "what it lacks is no longer in the log")
        cluster.members[away].start()
        cluster.wait_healthy()
        with Client([cluster.members[away].client_url], timeout_s=10) as client:
            assert len(client.get_prefix(b"fill/")) == 2500
            assert client.get(b"fill/02499", serializable=True) == b"x" * 100


def test_two_of_three_away_means_no_write_and_no_linearizable_read(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        with Client(cluster.endpoints, timeout_s=5) as client:
            client.put(b"k", b"v")
        left = leader_of(cluster)
        for position, member in enumerate(cluster.members):
            if position != left:
                member.kill()
        with Client([cluster.members[left].client_url], timeout_s=3) as client:
            assert client.get(b"k", serializable=True) == b"v"
            with pytest.raises(Exception, match=r"no leader|timed out|no answer"):
                client.put(b"k", b"w")
            with pytest.raises(Exception, match=r"no leader|timed out|no answer"):
                client.get(b"k")


def test_leadership_moves_only_where_it_may(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        leader = leader_of(cluster)
        with Client(cluster.endpoints, timeout_s=5) as client:
            ids = {member.name: member.member_id for member in client.member_list()}
        target = f"m{(leader + 1) % 3}"
        with Client([cluster.members[leader].client_url], timeout_s=5) as client:
            with pytest.raises(RequestError, match="bad leader transferee"):
                client.move_leader(12345)
            client.move_leader(ids[target])
            assert client.status().leader_id == ids[target]
            with pytest.raises(RequestError, match="not leader"):
                client.move_leader(ids[target])
