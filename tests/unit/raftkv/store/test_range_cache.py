"""A kept answer is what would be put together now, whatever was written since."""

from __future__ import annotations

import random

from etcdwire.messages import RangeRequest
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.range_cache import TOTAL_BYTES_MAX, RangeCache
from raftkv.store.ranges import answer_range
from tests.kit.one_member import NoRows

REQUESTS = [
    RangeRequest(b"a/", b"a0"),
    RangeRequest(b"b/", b"b0"),
    RangeRequest(b"b/", b"b0", 60),
    RangeRequest(b"a/", b"\0"),
    RangeRequest(b"b/", b"b0", revision=40),
]


def put(store: KeyValueStore, key: bytes, size: int = 400) -> None:
    store.begin()
    store.put(key, bytes(size), 0)
    store.commit()
    store.changes = []


def ask(cache: RangeCache, store: KeyValueStore, request: RangeRequest) -> tuple[bytes, bool]:
    """(answer, whether it was kept)."""
    body = cache.find(store, request)
    if body is not None:
        return body, True
    body = answer_range(store, request)
    cache.keep(request, body)
    return body, False


def test_kept_answers_are_true_and_serve() -> None:
    chance = random.Random(3)
    store, cache = KeyValueStore(NoRows()), RangeCache()
    for number in range(100):
        put(store, b"a/%d" % number)
        put(store, b"b/%d" % number)
    kept = 0
    for _ in range(2000):
        if chance.random() < 0.1:
            store.begin()
            store.delete_range(b"a/%d" % chance.randrange(100), b"")
            store.commit()
        elif chance.random() < 0.3:
            for _ in range(chance.choice([1, 1, 2000])):
                put(store, b"%c/%d" % (chance.choice(b"abcd"), chance.randrange(100)))
        request = chance.choice(REQUESTS)
        body, was_kept = ask(cache, store, request)
        assert body == answer_range(store, request)
        kept += was_kept
    assert kept > 200


def test_changes_elsewhere_keep_an_answer() -> None:
    store, cache = KeyValueStore(NoRows()), RangeCache()
    for number in range(100):
        put(store, b"a/%d" % number)
    ask(cache, store, REQUESTS[0])
    for number in range(1000):
        put(store, b"z%d" % number, 1)
        assert ask(cache, store, REQUESTS[0])[1]
    put(store, b"a/7")
    assert not ask(cache, store, REQUESTS[0])[1]


def test_another_store_begins_anew() -> None:
    cache = RangeCache()
    for size in (400, 500):
        store = KeyValueStore(NoRows())
        for number in range(100):
            put(store, b"a/%d" % number, size)
        assert not ask(cache, store, REQUESTS[0])[1]
        assert ask(cache, store, REQUESTS[0])[1]


def test_memory_is_bounded() -> None:
    store, cache = KeyValueStore(NoRows()), RangeCache()
    for number in range(100):
        put(store, b"a/%02d" % number, 10_000)
    for first in range(90):
        ask(cache, store, RangeRequest(b"a/%02d" % first, b"a0"))
    assert cache._size_bytes <= TOTAL_BYTES_MAX
    assert cache._size_bytes == sum(len(body) for _, body in cache._bodies.values())
    assert ask(cache, store, RangeRequest(b"a/89", b"a0"))[1]
    assert not ask(cache, store, RangeRequest(b"a/00", b"a0"))[1]
