"""A range in steps says what a range at once says, whatever is written in between."""

from __future__ import annotations

import random

import pytest

from etcdwire.messages import RangeRequest, SortOrder, SortTarget
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.range_walk import walk
from raftkv.store.ranges import LargeAnswerError, answer_range
from tests.kit.one_member import NoRows
from tests.kit.rows import DictRows


def write(store: KeyValueStore, chance: random.Random, count: int) -> None:
    for _ in range(count):
        key = b"k%04d" % chance.randrange(3000)
        store.begin()
        if chance.random() < 0.2:
            store.delete_range(key, b"")
        else:
            head = b"same" * 16 * (chance.random() < 0.5)
            store.put(key, head + chance.randbytes(chance.randrange(50)), 0)
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
    RangeRequest(b"k", b"l", min_mod_revision=1000, max_mod_revision=3000),
    RangeRequest(b"k", b"l", 9, min_create_revision=500, max_create_revision=3500),
    RangeRequest(b"k", b"l", count_only=True, min_mod_revision=1000),
    RangeRequest(b"k", b"l", min_mod_revision=100_000),
    *(
        RangeRequest(b"k", b"l", limit, sort_order=order, sort_target=target)
        for limit in (0, 5)
        for order in SortOrder
        for target in SortTarget
    ),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=repr)
def test_walked_is_answered(request_: RangeRequest) -> None:
    chance = random.Random(7)
    store = KeyValueStore(NoRows())
    write(store, chance, 4000)
    wanted = answer_range(store, request_)
    walked = walk(store, request_)
    while not walked.measure(97, 2000):
        write(store, chance, 5)
    pieces = []
    for piece in walked.pieces(20, 1000):
        write(store, chance, 5)
        pieces.append(piece)
    assert b"".join(pieces) + walked.tail == wanted
    assert sum(map(len, pieces)) == walked.size_bytes
    walked.close()


def test_equal_long_values_are_not_read_to_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    store = KeyValueStore(NoRows())
    for number in range(2000):
        store.begin()
        store.put(b"k%04d" % (number * 7 % 2000), bytes(300), 0)
        store.commit()
    reads: list[int] = []
    read = store.row
    monkeypatch.setattr(KeyValueStore, "row", lambda _, i: reads.append(i) or read(i))
    walked = walk(store, RangeRequest(b"k", b"l", sort_target=SortTarget.VALUE))
    while not walked.measure(100, 1 << 20):
        pass
    assert len(reads) == 2 * 2000, "once to be looked at, once to be measured"


def test_nothing_is_forgotten_under_a_walker() -> None:
    store = KeyValueStore(NoRows())
    write(store, random.Random(1), 500)
    walked = walk(store, RangeRequest(b"k", b"l"))
    store.compact(store.revision)
    assert store.has_garbage
    assert not store.may_forget
    walked.close()
    walked.close()
    assert store.may_forget


def test_rows_are_the_same_wherever_they_are() -> None:
    view = DictRows()
    store = KeyValueStore(view)
    write(store, random.Random(5), 2000)
    request = RangeRequest(b"k", b"l")
    expected = answer_range(store, request)
    for row_id in sorted(store._overlay)[::3]:
        view.rows[row_id] = store.row(row_id)
    store.forget_flushed(list(view.rows))
    assert answer_range(store, request) == expected
    assert answer_range(store, request, 1 << 30) == expected
    for row_id in sorted(store._overlay):
        view.rows[row_id] = store.row(row_id)
    store.forget_flushed(list(view.rows))
    assert answer_range(store, request, 1 << 30) == expected


def test_a_row_that_is_missing_is_named() -> None:
    store = KeyValueStore(DictRows())
    write(store, random.Random(5), 10)
    store.forget_flushed(list(store._overlay))
    with pytest.raises(LookupError, match="in the index but not in the backend"):
        answer_range(store, RangeRequest(b"k", b"l"))


def test_too_many_bytes_are_noticed_before_they_are_put_together() -> None:
    store = KeyValueStore(NoRows())
    for number in range(100):
        store.begin()
        store.put(b"k%d" % number, bytes(1000 if number < 50 else 100_000), 0)
        store.commit()
    answer_range(store, RangeRequest(b"k", b"l", 50, revision=51), 1 << 20)
    with pytest.raises(LargeAnswerError):
        answer_range(store, RangeRequest(b"k", b"l"), 1 << 20)
    with pytest.raises(LargeAnswerError):
        answer_range(store, RangeRequest(b"k", b"l", sort_target=SortTarget.MOD), 1 << 20)


@pytest.mark.parametrize(
    ("first", "end"),
    [(b"", None), (b"k0100", b"k2000"), (b"k5", None), (b"k1", b"k1"), (b"x", b"a")],
)
def test_keys_of_a_range_are_counted_or_more(first: bytes, end: bytes | None) -> None:
    store = KeyValueStore(NoRows())
    write(store, random.Random(6), 4000)
    order = store._order
    names = [k for k in order.scan(b"", None) if first <= k and (end is None or k < end)]
    assert order.count_at_most(first, end) == len(names)
