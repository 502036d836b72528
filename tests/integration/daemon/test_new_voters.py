"""Row 15: a member that is added as a voter counts only once it holds the log."""

from __future__ import annotations

from pathlib import Path

from kvclient import Client, Member
from tests.kit.servers import Cluster, Process, free_ports
from tests.kit.waiting import wait_for


def nobodys_url() -> str:
    (port,) = free_ports(1)
    return f"http://127.0.0.1:{port}"


def is_level_2(cluster: Cluster) -> bool:
    """Whether new voters wait: a new cluster agrees on it a moment after it serves."""
    return cluster.members[0].cluster_level() == 2


def find(client: Client, member_id: int) -> Member | None:
    return next((one for one in client.member_list() if one.member_id == member_id), None)


def test_row_15_a_wrong_address_on_a_cluster_of_one_stops_no_write(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        wait_for(lambda: is_level_2(cluster), 10, "level 2")
        added = client.member_add([nobodys_url()], is_learner=False)
        assert added.is_learner
        client.put(b"a", b"goes on")

        def trouble() -> str:
            row = find(client, added.member_id)
            return row.unreachable if row is not None else ""

        wait_for(lambda: "refused" in trouble(), 10, "the list says why nobody is there")
        assert added.peer_urls[0] in trouble()
        client.member_remove(added.member_id)
        assert find(client, added.member_id) is None
        client.put(b"a", b"still")


def test_row_15_a_member_that_never_came_is_dropped(tmp_path: Path) -> None:
    flags = ["--new-voter-timeout=2s"]
    with Cluster("raftkv", tmp_path, flags=flags) as cluster, Client(cluster.endpoints) as client:
        wait_for(lambda: is_level_2(cluster), 10, "level 2")
        added = client.member_add([nobodys_url()], is_learner=False)
        wait_for(lambda: find(client, added.member_id) is None, 15, "nobody came")
        client.put(b"a", b"x")


def test_row_15_a_new_voter_gets_its_vote_by_itself(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        for number in range(200):
            client.put(b"k%d" % number, b"v")
        wait_for(lambda: is_level_2(cluster), 10, "level 2")
        (founder,) = cluster.members
        joiner_client, joiner_peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        added = client.member_add([joiner_peer], is_learner=False)
        joiner = Process(
            "joiner", list(founder.arguments), joiner_client, joiner_peer, tmp_path / "joiner.log"
        )
        for flag, value in {
            "--name": "joiner",
            "--data-dir": str(tmp_path / "joiner"),
            "--listen-client-urls": joiner_client,
            "--advertise-client-urls": joiner_client,
            "--listen-peer-urls": joiner_peer,
            "--initial-advertise-peer-urls": joiner_peer,
            "--initial-cluster": f"m0={founder.peer_url},joiner={joiner_peer}",
        }.items():
            joiner.arguments[joiner.arguments.index(flag) + 1] = value
        joiner.arguments.append("--initial-cluster-state=existing")
        joiner.start()
        try:

            def votes() -> bool:
                row = find(client, added.member_id)
                return row is not None and not row.is_learner

            wait_for(votes, 20, "the newcomer votes")
            with Client([joiner_client]) as there:
                wait_for(lambda: there.get(b"k199") == b"v", 10, "it serves")
            client.member_remove(added.member_id)
        finally:
            joiner.kill()


def test_row_15_a_flag_gives_etcds_way_back(tmp_path: Path) -> None:
    flags = ["--new-voters-wait=false"]
    with Cluster("raftkv", tmp_path, flags=flags) as cluster, Client(cluster.endpoints) as client:
        wait_for(lambda: is_level_2(cluster), 10, "level 2")
        added = client.member_add([nobodys_url()], is_learner=False)
        assert not added.is_learner
