"""``grpc-timeout`` is kept by the server; requests of the JSON gateway's watch are taken as they come."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator

import pytest

from etcdwire import messages as m
from etcdwire import messages_lock as ml
from etcdwire.errors import Code
from etcdwire.http2_client import ClientSession
from etcdwire.protobuf import encode
from kvclient import Client, Unavailable
from kvclient.connection import Connection
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("deadlines"), size=3) as made:
        yield made


def dial(cluster: Cluster, index: int = 0) -> Connection:
    def no_context() -> object:
        raise AssertionError

    return Connection(cluster.endpoints[index], no_context, 5.0)  # type: ignore[arg-type]


def ask(connection: Connection, path: bytes, body: bytes, timeout: bytes) -> str:
    """The error of a call with a time-out."""
    with pytest.raises(Unavailable) as found:
        connection.unary(path, body, 20.0, ((b"grpc-timeout", timeout),))
    return found.value.message


def test_a_call_that_waits_for_others_ends_in_time_and_waits_no_more(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        first = client.lease_grant(60).lease_id
        second = client.lease_grant(60).lease_id
        lock = b"/v3lockpb.Lock/Lock"
        held = client.call(lock, ml.LockRequest(b"dl", first), ml.LockResponse, is_write=True)
        connection = dial(cluster)
        body = encode(ml.LockRequest(b"dl", second))
        assert ask(connection, lock, body, b"200m") == "context deadline exceeded"
        # The connection goes on, and whoever gave up is not in the queue any more.
        connection.unary(b"/etcdserverpb.KV/Range", encode(m.RangeRequest(b"x")), 5.0)
        connection.close()
        unlock = ml.UnlockRequest(held.key)
        client.call(b"/v3lockpb.Lock/Unlock", unlock, ml.UnlockResponse, is_write=True)
        wait_for(lambda: client.get_prefix(b"dl/") == [], 5, "nobody waits")


def test_a_stream_ends_in_time(cluster: Cluster) -> None:
    connection = dial(cluster)
    request = m.WatchRequest(create_request=m.WatchCreateRequest(b"dl-watch"))
    _, stream = connection.open(
        b"/etcdserverpb.Watch/Watch", encode(request), end=False, timeout_s=5.0,
        metadata=((b"grpc-timeout", b"300000u"),),
    )  # fmt: skip
    with pytest.raises(Unavailable, match="context deadline exceeded"):
        list(connection.messages(stream, 10.0))
    assert stream.headers[b"grpc-status"] == b"%d" % Code.DEADLINE_EXCEEDED
    connection.close()


def test_what_cannot_be_committed_is_answered_in_time(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        leader = client.status().leader_id
        ids = {member.name: member.member_id for member in client.member_list()}
    leading = next(i for i, one in enumerate(cluster.members) if ids[one.name] == leader)
    connection = dial(cluster, leading)
    put = encode(m.PutRequest(b"dl-queued", b"1"))
    connection.unary(b"/etcdserverpb.KV/Put", put, 5.0, ((b"grpc-timeout", b"5S"),))
    others = [one for i, one in enumerate(cluster.members) if i != leading]
    for one in others:
        one.kill()
    try:
        assert ask(connection, b"/etcdserverpb.KV/Put", put, b"150m") == (
            "context deadline exceeded"
        )
    finally:
        for one in others:
            one.start()
        cluster.wait_healthy()
    # Its answer that came later went to nobody: the next call gets its own.
    range_ = encode(m.RangeRequest(b"dl-queued"))
    assert b"dl-queued" in connection.unary(b"/etcdserverpb.KV/Range", range_, 10.0)
    connection.close()


def create(key: bytes, watch_id: int) -> bytes:
    document = {"key": base64.b64encode(key).decode(), "watch_id": watch_id}
    return json.dumps({"create_request": document}).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def read_until(raw: socket.socket, wanted: bytes, seen: bytes = b"") -> bytes:
    while wanted not in seen:
        piece = raw.recv(65536)
        assert piece, seen
        seen += piece
    return seen


def test_watches_are_added_while_answers_come(cluster: Cluster) -> None:
    host, port = cluster.endpoints[0].removeprefix("http://").split(":")
    with (
        Client(cluster.endpoints) as client,
        socket.create_connection((host, int(port)), timeout=10) as raw,
    ):
        raw.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        first = create(b"gw/a", 7)
        raw.sendall(chunk(first[:20]))
        raw.sendall(chunk(first[20:] + b"\n"))
        seen = read_until(raw, b'"created":true')
        client.put(b"gw/a", b"1")
        seen = read_until(raw, base64.b64encode(b"gw/a"), seen)
        raw.sendall(chunk(create(b"gw/b", 8)))
        seen = read_until(raw, b'"watch_id":"8","created":true', seen)
        client.put(b"gw/b", b"2")
        seen = read_until(raw, base64.b64encode(b"gw/b"), seen)
        raw.sendall(chunk(b'{"cancel_request": {"watch_id": 8}}'))
        seen = read_until(raw, b'"watch_id":"8","canceled":true', seen)
        raw.sendall(chunk(b"]"))
        read_until(raw, b'"error"', seen)


def test_the_same_over_http2(cluster: Cluster) -> None:
    host, port = cluster.endpoints[0].removeprefix("http://").split(":")
    session = ClientSession()
    headers = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/v3/watch"),
               (b":authority", b"x"), (b"content-type", b"application/json"))  # fmt: skip
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        stream_id = session.request(headers, b"", end=False)
        stream = session.streams[stream_id]
        for watch_id in (1, 2):
            session.send(stream_id, create(b"gw2", watch_id))
            while stream.data.count(b"\n") < watch_id:
                raw.sendall(session.take_output())
                session.receive(raw.recv(65536))
        session.send(stream_id, b"", end=True)
        lines = [json.loads(line)["result"] for line in stream.data.splitlines()]
    assert [(line["watch_id"], line["created"]) for line in lines] == [("1", True), ("2", True)]
