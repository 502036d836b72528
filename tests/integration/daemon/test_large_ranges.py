"""Row 13: ranges over many keys, in each form in which they can be asked for."""

from __future__ import annotations

import base64
import json
import random
import urllib.request
from collections.abc import Iterator

import pytest

from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from kvclient import Client
from tests.kit.servers import Cluster

KEYS = [b"big/%05d" % number for number in range(6000)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a member with all these keys, written in another order."""
    shuffled = random.Random(3).sample(KEYS, len(KEYS))
    with Cluster("raftkv", tmp_path_factory.mktemp("large"), 1) as cluster:
        with Client(cluster.endpoints) as client:
            for start in range(0, len(shuffled), 100):
                puts = [
                    m.RequestOp(request_put=m.PutRequest(key, key[::-1] * 30))
                    for key in shuffled[start : start + 100]
                ]
                client.txn(m.TxnRequest([], puts))
        yield cluster.endpoints[0]


def ask(endpoint: str, request: m.RangeRequest) -> m.RangeResponse:
    with Client([endpoint], timeout_s=20) as client:
        return client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)


def test_row_13_as_one_message_and_as_many(endpoint: str) -> None:
    request = m.RangeRequest(b"big/", b"big0")
    assert [kv.key for kv in ask(endpoint, request).kvs] == KEYS
    with Client([endpoint]) as client:
        connection = client._connect(endpoint)
        seen: list[bytes] = []
        for body in connection.stream(b"/etcdserverpb.KV/RangeStream", encode(request), 10):
            at = 1
            while body[at] & 0x80:
                at += 1
            seen += [kv.key for kv in decode(m.RangeResponse, body[at + 1 :]).kvs]
        assert seen == KEYS


def test_row_13_sorted(endpoint: str) -> None:
    by_value = m.RangeRequest(b"big/", b"big0", sort_target=m.SortTarget.VALUE)
    assert [kv.key for kv in ask(endpoint, by_value).kvs] == sorted(KEYS, key=lambda k: k[::-1])
    last = m.RangeRequest(
        b"big/", b"big0", 3, sort_order=m.SortOrder.DESCEND, sort_target=m.SortTarget.KEY
    )
    found = ask(endpoint, last)
    assert [kv.key for kv in found.kvs] == KEYS[:-4:-1]
    assert (found.more, found.count) == (True, len(KEYS))


@pytest.mark.parametrize("more", [{}, {"limit": "5000"}, {"sort_target": "MOD"}, {"limit": "1"}])
def test_row_13_as_json(endpoint: str, more: dict[str, str]) -> None:
    question = {"key": to_text(b"big/"), "range_end": to_text(b"big0"), **more}
    call = urllib.request.Request(f"{endpoint}/v3/kv/range", json.dumps(question).encode())
    with urllib.request.urlopen(call, timeout=20) as answer:
        document = json.load(answer)
    target = m.SortTarget[more.get("sort_target", "KEY")]
    request = m.RangeRequest(b"big/", b"big0", int(more.get("limit", 0)), sort_target=target)
    expected = ask(endpoint, request)
    assert list(document) == ["header", "kvs", *(["more"] if expected.more else []), "count"]
    assert document["header"]["revision"] == str(
        expected.header.revision if expected.header else 0
    )
    assert document["count"] == str(len(KEYS))
    assert document["kvs"] == [
        {
            "key": to_text(kv.key),
            "create_revision": str(kv.create_revision),
            "mod_revision": str(kv.mod_revision),
            "version": "1",
            "value": to_text(kv.value),
        }
        for kv in expected.kvs
    ]


def to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
