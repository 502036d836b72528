"""Leases on real processes: kept alive through any member and over the loss of leaders."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from kvclient import Client, KeptLease, RequestError, Unavailable
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

FLAGS = ("--election-timeout", "500", "--heartbeat-interval", "50")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("leases"), 3, FLAGS) as made:
        yield made


def leader_of(cluster: Cluster) -> int:
    """The position of the leader among the members that run."""
    for position, member in enumerate(cluster.members):
        if member.process is None:
            continue
        with Client([member.client_url]) as client:
            status = client.status()
            if status.leader_id == status.member_id:
                return position
    return -1


def test_a_lease_takes_its_keys_along_in_time(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        lease = client.lease_grant(1)
        client.put(b"gone", b"x", lease=lease.lease_id)
        client.put(b"stays", b"x")
        asked = time.monotonic()
        wait_for(lambda: client.get(b"gone") is None, 10, "expiry")
        assert time.monotonic() - asked > lease.ttl_s - 1
        assert client.get(b"stays") == b"x"
        assert client.lease_time_to_live(lease.lease_id) is None
        with pytest.raises(RequestError, match="lease not found"):
            client.lease_keep_alive(lease.lease_id)
        with pytest.raises(RequestError, match="lease not found"):
            client.put(b"gone", b"x", lease=lease.lease_id)


def test_any_member_answers_for_the_leader(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        lease = client.lease_grant(60)
        client.put(b"held", b"x", lease=lease.lease_id)
        for endpoint in cluster.endpoints:
            with Client([endpoint]) as one:
                assert one.lease_keep_alive(lease.lease_id) == 60
                found = one.lease_time_to_live(lease.lease_id, keys=True)
                assert found is not None
                assert 57 <= found.left_s <= 60
                assert found.keys == (b"held",)
                assert lease.lease_id in one.lease_list()
        client.lease_revoke(lease.lease_id)
        assert client.get(b"held") is None


def test_a_kept_lease_outlives_leaders_and_an_abandoned_one_does_not(cluster: Cluster) -> None:
    with Client(cluster.endpoints, timeout_s=10) as client:
        abandoned = client.lease_grant(3)
        client.put(b"abandoned", b"x", lease=abandoned.lease_id)
        with KeptLease(client, 3) as kept:
            client.put(b"kept", b"x", lease=kept.lease_id)
            for _ in range(2):
                position = leader_of(cluster)
                victim = cluster.members[position]
                victim.kill()
                wait_for(lambda: is_led(cluster), 15, "another leader")
                victim.start()
                cluster.wait_healthy()
            wait_for(lambda: client.get(b"abandoned") is None, 15, "expiry under a new leader")
            assert not kept.is_lost
            assert client.get(b"kept") == b"x"
        assert client.get(b"kept") is None


def is_led(cluster: Cluster) -> bool:
    try:
        return leader_of(cluster) >= 0
    except (Unavailable, RequestError):
        return False


def test_leases_survive_a_restart_of_all(cluster: Cluster) -> None:
    with Client(cluster.endpoints, timeout_s=10) as client:
        lease = client.lease_grant(100)
        client.put(b"durable", b"x", lease=lease.lease_id)
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start()
        cluster.wait_healthy()
        found = client.lease_time_to_live(lease.lease_id, keys=True)
        assert found is not None
        assert found.keys == (b"durable",)
        client.lease_revoke(lease.lease_id)
        assert client.get(b"durable") is None


def test_keep_alives_share_a_stream(cluster: Cluster) -> None:
    """As Go's client sends them: one call, many messages, answers as they come."""
    with Client(cluster.endpoints) as client:
        leases = [client.lease_grant(60).lease_id for _ in range(3)]
        host = cluster.endpoints[1]
        with Client([host]) as one:
            connection = one._connect(host, 5.0)
            first = encode(m.LeaseKeepAliveRequest(leases[0]))
            path = b"/etcdserverpb.Lease/LeaseKeepAlive"
            stream_id, stream = connection.open(path, first, end=False, timeout_s=5)
            for lease_id in leases[1:]:
                connection.send(stream_id, encode(m.LeaseKeepAliveRequest(lease_id)))
            answers = connection.messages(stream, 5)
            found = [decode(m.LeaseKeepAliveResponse, next(answers)) for _ in leases]
            assert {answer.ID for answer in found} == set(leases)
            assert all(answer.TTL == 60 for answer in found)
