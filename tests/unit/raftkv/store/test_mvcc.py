"""The v3 store against a dictionary, with flushes and reloads at any moment."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdwire.errors import RequestError
from etcdwire.messages import KeyValue, RangeRequest, RangeResponse
from etcdwire.protobuf import decode
from raftkv.store.key_order import KeyOrder
from raftkv.store.mvcc import KeyValueStore, main_revision
from raftkv.store.ranges import answer_range
from tests.kit.rows import DictRows

KEYS = st.sampled_from([b"a", b"a/1", b"a/2", b"b", b"\x00", b"\xff\xff", b"zz" * 100])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=5)),
        st.tuples(st.just("delete"), KEYS, st.sampled_from([b"", b"\0", b"b", b"zzz"])),
        st.tuples(st.just("flush")),
        st.tuples(st.just("compact"), st.integers(1, 40)),
        st.tuples(st.just("reload")),
    ),
    max_size=40,
)


def in_range(key: bytes, start: bytes, end: bytes) -> bool:
    if not end:
        return key == start
    return key >= start and (end == b"\0" or key < end)


class Model:
    """What a key/value store with history is, said plainly."""

    def __init__(self) -> None:
        self.history: list[dict[bytes, tuple[bytes, int, int, int]]] = [{}, {}]

    @property
    def revision(self) -> int:
        return len(self.history) - 1

    def put(self, key: bytes, value: bytes) -> None:
        state = dict(self.history[-1])
        revision = self.revision + 1
        old = state.get(key)
        state[key] = (value, old[1] if old else revision, revision, old[3] + 1 if old else 1)
        self.history.append(state)

    def delete(self, key: bytes, end: bytes) -> int:
        state = {k: v for k, v in self.history[-1].items() if not in_range(k, key, end)}
        gone = len(self.history[-1]) - len(state)
        if gone:
            self.history.append(state)
        return gone


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_equals_a_dictionary_with_history(steps: list[tuple[Any, ...]]) -> None:
    rows = DictRows()
    store, model = KeyValueStore(rows), Model()
    for step in steps:
        if step[0] == "put":
            store.begin()
            store.put(step[1], step[2], 0)
            store.commit()
            model.put(step[1], step[2])
        elif step[0] == "delete":
            store.begin()
            deleted = store.delete_range(step[1], step[2])
            store.commit()
            assert len(deleted) == model.delete(step[1], step[2])
        elif step[0] == "compact":
            if store.compact_revision < step[1] <= store.revision:
                store.compact(step[1])
        else:
            flushed = [change.row_id for change in store.changes]
            rows.rows.update({change.row_id: change.row for change in store.changes})
            store.changes = []
            store.forget_flushed(flushed)
            for row_id in store.forget_slice(3):
                del rows.rows[row_id]
            if step[0] == "reload":
                store = KeyValueStore.load(rows, store.revision, store.compact_revision)
    assert store.revision == model.revision
    for revision in range(max(1, store.compact_revision), model.revision + 1):
        response = decode(
            RangeResponse,
            answer_range(store, RangeRequest(b"\0", b"\0", revision=revision)),
        )
        got = {
            kv.key: (kv.value, kv.create_revision, kv.mod_revision, kv.version)
            for kv in response.kvs
        }
        assert got == model.history[revision]
        assert [kv.key for kv in response.kvs] == sorted(model.history[revision])


def test_history_names_every_change_once_across_a_flush() -> None:
    rows = DictRows()
    store = KeyValueStore(rows)
    for i in range(10):
        store.begin()
        store.put(b"k", b"%d" % i, 0)
        store.commit()
        if i == 5:
            rows.rows.update({c.row_id: c.row for c in store.changes})
            store.forget_flushed([c.row_id for c in store.changes[:3]])
    got = [(main_revision(i), decode(KeyValue, row).value) for i, row in store.history(4)]
    assert got == [(r, b"%d" % (r - 2)) for r in range(4, 12)]


def test_future_and_compacted_revisions_are_refused() -> None:
    store = KeyValueStore(DictRows())
    store.compact_revision = 5
    store.revision = 9
    with pytest.raises(RequestError, match="future revision"):
        store.check_revision(10)
    with pytest.raises(RequestError, match="compacted"):
        store.check_revision(4)
    store.check_revision(5)
    store.check_revision(0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4000)), max_size=3000))
@settings(max_examples=30, deadline=None)
def test_key_order_equals_a_sorted_set(steps: list[tuple[bool, int]]) -> None:
    order, model = KeyOrder(), set()
    for add, number in steps:
        key = b"%06d" % number
        if add and key not in model:
            order.add(key)
            model.add(key)
        elif not add and key in model:
            order.remove(key)
            model.discard(key)
    assert list(order.scan(b"", None)) == sorted(model)
    assert list(order.scan(b"001000", b"003000")) == sorted(
        k for k in model if b"001000" <= k < b"003000"
    )


def test_key_order_over_many_blocks() -> None:
    order = KeyOrder()
    keys = [b"%06d" % (i * 7919 % 20011) for i in range(20011)]
    for key in keys:
        order.add(key)
    assert list(order.scan(b"", None)) == sorted(keys)
    for key in keys[::2]:
        order.remove(key)
    assert list(order.scan(b"000500", b"010000")) == sorted(
        k for k in keys[1::2] if b"000500" <= k < b"010000"
    )


def test_compaction_leaves_one_row_per_living_key_and_none_of_the_dead() -> None:
    rows = DictRows()
    store = KeyValueStore(rows)
    for i in range(50):
        store.begin()
        store.put(b"k%d" % (i % 5), b"x", 0)
        store.commit()
    store.begin()
    store.delete_range(b"k0", b"")
    store.commit()
    rows.rows.update({c.row_id: c.row for c in store.changes})
    store.forget_flushed([c.row_id for c in store.changes])
    store.compact(store.revision)
    while store.has_garbage:
        for row_id in store.forget_slice(2):
            del rows.rows[row_id]
    assert len(rows.rows) == 4
    assert store.keys_count == 4
    again = KeyValueStore.load(rows, store.revision, store.compact_revision)
    for other in (store, again):
        got = decode(RangeResponse, answer_range(other, RangeRequest(b"\0", b"\0")))
        assert [(kv.key, kv.version) for kv in got.kvs] == [
            (b"k1", 10),
            (b"k2", 10),
            (b"k3", 10),
            (b"k4", 10),
        ]


def test_a_store_is_loaded_as_it_was() -> None:
    chance = random.Random(11)
    view = DictRows()
    store = KeyValueStore(view)
    keys = [b"a", b"b" * 127, b"c" * 128, b"\x10" * 300, b"d\x10\x10"]
    for _ in range(3000):
        key = chance.choice([*keys, b"once%d" % chance.randrange(5000)])
        store.begin()
        if chance.random() < 0.2:
            store.delete_range(key, b"")
        else:
            store.put(key, chance.randbytes(chance.randrange(4)), 0)
        store.commit()
    view.rows.update({change.row_id: change.row for change in store.changes})
    loaded = KeyValueStore.load(view, store.revision, 0)
    assert loaded._index == store._index
    assert loaded.revision == store.revision
    for key in keys:  # what is written next goes on from the right version
        for one in (store, loaded):
            one.begin()
            one.put(key, b"next", 0)
            one.commit()
        assert loaded.latest(key) == store.latest(key)


def test_a_key_with_a_long_history_is_forgotten_in_slices_too() -> None:
    rows = DictRows()
    store = KeyValueStore(rows)
    for _ in range(100):
        store.begin()
        store.put(b"hot", b"x", 0)
        store.commit()
    rows.rows.update({c.row_id: c.row for c in store.changes})
    store.forget_flushed([c.row_id for c in store.changes])
    store.compact(store.revision - 10)
    slices: list[list[int]] = []
    while store.has_garbage:
        slices.append(store.forget_slice(7))
        for row_id in slices[-1]:
            del rows.rows[row_id]
        store = KeyValueStore.load(rows, store.revision, store.compact_revision)
        assert store.latest(b"hot") is not None
        if not slices[-1]:
            break
    assert max(map(len, slices)) == 7
    gone = [row_id for one in slices for row_id in one]
    assert len(gone) == 89, "ten newer ones stay, and the newest at the compaction"
    assert sorted(gone) == gone, "the oldest first"
