"""A range in steps says what a range at once says, whatever is written in between."""

from __future__ import annotations

import random

import pytest

from etcdwire.messages import RangeRequest
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.range_walk import RangeWalk
from raftkv.store.ranges import answer_range
from tests.kit.one_member import NoRows


def write(store: KeyValueStore, chance: random.Random, count: int) -> None:
    for _ in range(count):
        key = b"k%04d" % chance.randrange(3000)
        store.begin()
        if chance.random() < 0.2:
            store.delete_range(key, b"")
        else:
            store.put(key, chance.randbytes(chance.randrange(50)), 0)
        store.commit()
    store.changes = []


REQUESTS = [
    RangeRequest(b"k", b"l"),
    RangeRequest(b"k1", b"k2"),
    RangeRequest(b"\0", b"\0"),
    RangeRequest(b"k0500", b"\0", 7),
    RangeRequest(b"k", b"l", 100000),
    RangeRequest(b"k", b"l", keys_only=True),
    RangeRequest(b"k", b"l", count_only=True),
    RangeRequest(b"k", b"l", 3, count_only=True),
    RangeRequest(b"k", b"l", revision=2000),
    RangeRequest(b"z", b"\0"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_walked_is_answered(request_: RangeRequest) -> None:
    chance = random.Random(7)
    store = KeyValueStore(NoRows())
    write(store, chance, 4000)
    wanted = answer_range(store, request_)
    walk = RangeWalk(store, request_)
    while not walk.measure(97, 2000):
        write(store, chance, 5)
    pieces = []
    for piece in walk.pieces(1000):
        write(store, chance, 5)
        pieces.append(piece)
    assert b"".join(pieces) + walk.tail == wanted
    assert sum(map(len, pieces)) == walk.size_bytes
    walk.close()


def test_nothing_is_forgotten_under_a_walker() -> None:
    store = KeyValueStore(NoRows())
    write(store, random.Random(1), 500)
    walk = RangeWalk(store, RangeRequest(b"k", b"l"))
    store.compact(store.revision)
    assert store.has_garbage
    assert not store.may_forget
    walk.close()
    walk.close()
    assert store.may_forget
