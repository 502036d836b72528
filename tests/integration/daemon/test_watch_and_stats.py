"""Progress notices, watches that need a leader, and the statistics of v2."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from kvclient import Client, Unavailable
from kvclient.connection import Connection
from tests.conformance.api.runner import Server
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

FLAGS = ("--experimental-watch-progress-notify-interval", "500ms")
WATCH = b"/etcdserverpb.Watch/Watch"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("watch"), 3, FLAGS) as made:
        yield made


def watch(
    client: Client, key: bytes, *metadata: tuple[bytes, bytes], wants_progress: bool = True
) -> Iterator[m.WatchResponse]:
    connection = client._connect(client.endpoints[0], 5.0)
    create = m.WatchCreateRequest(key, progress_notify=wants_progress)
    body = encode(m.WatchRequest(create_request=create))
    _, stream = connection.open(WATCH, body, end=False, timeout_s=10, metadata=metadata)
    return (decode(m.WatchResponse, answer) for answer in connection.messages(stream, 10))


def test_row_8_a_quiet_watch_learns_how_far_it_is_and_never_too_far(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client, Client(cluster.endpoints) as writer:
        answers = watch(client, b"quiet")
        assert next(answers).created
        other = writer.put(b"other", b"x")
        seen = 0
        while seen < other:
            answer = next(answers)
            assert not answer.events
            assert answer.header is not None
            assert answer.header.revision >= seen
            seen = answer.header.revision
        mine = writer.put(b"quiet", b"x")
        answer = next(answers)
        while not answer.events:
            assert answer.header is not None
            assert answer.header.revision < mine
            answer = next(answers)
        assert [event.kv.mod_revision for event in answer.events if event.kv] == [mine]


def test_statistics_of_the_store(cluster: Cluster) -> None:
    server = Server(cluster.endpoints[0])

    def stats() -> dict[str, Any]:
        found = json.loads(server.ask("GET", "/v2/stats/store", b"", "")[2])
        assert isinstance(found, dict)
        return found

    before = stats()
    server.ask("PUT", "/v2/keys/s", b"value=1", FORM)
    server.ask("PUT", "/v2/keys/s?prevValue=2", b"value=3", FORM)
    server.ask("GET", "/v2/keys/s", b"", "")
    server.ask("GET", "/v2/keys/missing", b"", "")
    server.ask("DELETE", "/v2/keys/s", b"", "")
    after = stats()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    assert changed == {
        "setsSuccess": 1,
        "compareAndSwapFail": 1,
        "getsSuccess": 1,
        "getsFail": 1,
        "deleteSuccess": 1,
    }


def leader_stats(cluster: Cluster) -> dict[str, Any]:
    for endpoint in cluster.endpoints:
        status, _, body = Server(endpoint).ask("GET", "/v2/stats/leader", b"", "")
        if status == 200:
            found = json.loads(body)
            assert isinstance(found, dict)
            return found
        assert (status, json.loads(body)) == (403, {"message": "not current leader"})
    return {}


def test_the_leader_tells_how_far_away_each_follower_is(cluster: Cluster) -> None:
    def followers() -> list[dict[str, Any]]:
        return list(leader_stats(cluster).get("followers", {}).values())

    wait_for(
        lambda: len(followers()) == 2 and all(f["counts"]["success"] > 3 for f in followers()),
        20,
        "round trips",
    )
    for follower in followers():
        latency = follower["latency"]
        assert 0 < latency["minimum"] <= latency["average"] <= latency["maximum"]
        assert latency["current"] > 0
    own = json.loads(Server(cluster.endpoints[0]).ask("GET", "/v2/stats/self", b"", "")[2])
    assert own["leaderInfo"]["leader"] == leader_stats(cluster)["leader"]
    assert own["startTime"].endswith("Z")


def test_row_6_a_watch_that_needs_a_leader_ends_without_one(cluster: Cluster) -> None:
    with Client([cluster.endpoints[0]]) as client, Client([cluster.endpoints[0]]) as patient:
        answers = watch(client, b"k", (b"hasleader", b"true"), wants_progress=False)
        still = watch(patient, b"k", wants_progress=False)
        assert next(answers).created
        assert next(still).created
        for member in cluster.members[1:]:
            member.kill()
        with pytest.raises(Unavailable, match="no leader"):
            next(answers)
        serializable = encode(m.RangeRequest(b"k", serializable=True))
        asked = Connection(cluster.endpoints[0], ssl.create_default_context, 5)
        assert asked.unary(b"/etcdserverpb.KV/Range", serializable, 5)
        with pytest.raises(Unavailable, match="no leader"):
            asked.unary(b"/etcdserverpb.KV/Range", serializable, 5, ((b"hasleader", b"true"),))
        asked.close()
        for member in cluster.members[1:]:
            member.start()
        cluster.wait_healthy()
        with patient.clone() as writer:
            writer.put(b"k", b"v")
        assert next(still).events


def test_v2_events_are_there_after_a_member_was_killed(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        member = cluster.members[0]
        server = Server(member.client_url)
        for number in range(5):
            server.ask("PUT", "/v2/keys/kept", b"value=%d" % number, FORM)
        first = json.loads(server.ask("GET", "/v2/keys/kept", b"", "")[2])["node"]["createdIndex"]
        member.kill()
        member.start()
        cluster.wait_healthy()
        for number in range(5):
            path = f"/v2/keys/kept?wait=true&waitIndex={first - 4 + number}"
            event = json.loads(Server(member.client_url).ask("GET", path, b"", "")[2])
            assert (event["action"], event["node"]["value"]) == ("set", str(number))


def test_rates_of_appends(cluster: Cluster) -> None:
    def stats(endpoint: str) -> dict[str, Any]:
        found = json.loads(Server(endpoint).ask("GET", "/v2/stats/self", b"", "")[2])
        assert isinstance(found, dict)
        return found

    with Client(cluster.endpoints) as client:

        def are_there() -> bool:
            for number in range(20):
                client.put(b"rate", b"%d" % number)
            told = [stats(endpoint) for endpoint in cluster.endpoints]
            leads = [one for one in told if one["state"] == "StateLeader"]
            follows = [one for one in told if one["state"] == "StateFollower"]
            return (
                len(leads) == 1
                and leads[0].get("sendPkgRate", 0) > 0
                and leads[0].get("sendBandwidthRate", 0) > 0
                and leads[0]["sendAppendRequestCnt"] >= 20
                and all(one.get("recvPkgRate", 0) > 0 for one in follows)
                and all(one["recvAppendRequestCnt"] > 0 for one in follows)
            )

        wait_for(are_there, 20, "rates of both directions")
