"""Watchers and waiters: who is told what, once."""

from __future__ import annotations

import pytest

from etcdwire.messages import PutRequest, WatchResponse
from etcdwire.protobuf import decode, encode
from raftkv.replica.commands import (
    CommandKind,
    CommandV2,
    MethodV2,
    decode_v2,
    encode_expire,
    encode_v2,
)
from raftkv.replica.machine import Machine
from raftkv.store.errors_v2 import V2Error
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.tree_v2 import TreeV2
from raftkv.values import Index, Term
from raftkv.watch.history_v2 import (
    EVENTS_MAX,
    ROWS_MAX,
    HistoryV2,
    Waiter,
    decode_row,
    encode_rows,
)
from raftkv.watch.hub import Watcher
from tests.kit.rows import DictRows


def machine() -> Machine:
    return Machine(KeyValueStore(DictRows()), TreeV2())


def put(target: Machine, key: bytes, value: bytes = b"v") -> None:
    command = bytes((CommandKind.PUT,)) + encode(PutRequest(key, value))
    target.apply(Index(1), Term(1), [command], True)


def delete(target: Machine, key: bytes, end: bytes = b"") -> None:
    from etcdwire.messages import DeleteRangeRequest  # noqa: PLC0415 - only here

    command = bytes((CommandKind.DELETE_RANGE,)) + encode(DeleteRangeRequest(key, end))
    target.apply(Index(1), Term(1), [command], True)


def set_v2(target: Machine, path: str, value: str = "v", **more: object) -> None:
    command = encode_v2(CommandV2(MethodV2.SET, path, value, **more))  # type: ignore[arg-type]
    target.apply(Index(1), Term(1), [command], True)


def events(target: Machine) -> list[tuple[int, int, list[tuple[int, bytes]]]]:
    """(watch id, revision, [(type, key)]) of what is owed."""
    out = []
    for delivery in target.hub.deliveries:
        response = decode(WatchResponse, b"".join(delivery.events))
        seen = [(e.type, e.kv.key if e.kv else b"") for e in response.events]
        out.append((delivery.watcher.watch_id, delivery.revision, seen))
    target.hub.deliveries = []
    return out


def test_key_range_and_open_end() -> None:
    target = machine()
    for watch_id, key, end in ((1, b"a", b""), (2, b"a", b"c"), (3, b"b", b"\0")):
        target.hub.add(Watcher("s", watch_id, key, end, 2))
    put(target, b"a")
    put(target, b"b")
    put(target, b"zzz")
    assert events(target) == [
        (1, 2, [(0, b"a")]),
        (2, 2, [(0, b"a")]),
        (2, 3, [(0, b"b")]),
        (3, 3, [(0, b"b")]),
        (3, 4, [(0, b"zzz")]),
    ]


def test_changes_of_one_revision_come_together() -> None:
    target = machine()
    put(target, b"a")
    put(target, b"b")
    target.hub.add(Watcher("s", 1, b"a", b"z", 4))
    delete(target, b"a", b"z")
    assert events(target) == [(1, 4, [(1, b"a"), (1, b"b")])]


def test_filters_and_previous_values() -> None:
    target = machine()
    put(target, b"a", b"old")
    target.hub.add(Watcher("s", 1, b"a", b"", 3, wants_previous=True, no_delete=True))
    put(target, b"a", b"new")
    delete(target, b"a")
    (delivery,) = target.hub.deliveries
    (event,) = decode(WatchResponse, b"".join(delivery.events)).events
    assert event.prev_kv is not None
    assert event.prev_kv.value == b"old"


def test_a_future_watch_waits_for_its_revision() -> None:
    target = machine()
    target.hub.add(Watcher("s", 1, b"a", b"", 4))
    for _ in range(4):
        put(target, b"a")
    assert [revision for _, revision, _ in events(target)] == [4, 5]


def test_a_removed_watcher_hears_nothing() -> None:
    target = machine()
    watcher = Watcher("s", 1, b"a", b"", 2)
    target.hub.add(watcher)
    target.hub.remove(watcher)
    target.hub.remove(watcher)
    put(target, b"a")
    assert events(target) == []
    assert target.hub.is_idle


def owed(target: Machine) -> list[tuple[object, str, str]]:
    out = [(w.call, e.action, e.node.key) for w, e in target.history_v2.deliveries]
    target.history_v2.deliveries = []
    return out


def wait(
    target: Machine, call: str, path: str, *, recursive: bool = False, stream: bool = False
) -> None:
    target.history_v2.add(Waiter(call, path, recursive, stream, 0))


def test_v2_waiters_by_path_and_below() -> None:
    target = machine()
    wait(target, "exact", "/a/b")
    wait(target, "above", "/a")
    wait(target, "recursive", "/a", recursive=True)
    wait(target, "root", "/", recursive=True)
    set_v2(target, "/a/b")
    assert {call for call, _, _ in owed(target)} == {"exact", "recursive", "root"}
    assert target.history_v2.waiters_count == 1


def test_v2_hidden_keys_reach_only_those_who_name_them() -> None:
    target = machine()
    wait(target, "root", "/", recursive=True)
    wait(target, "named", "/_h", recursive=True)
    set_v2(target, "/_h/x")
    assert {call for call, _, _ in owed(target)} == {"named"}


def test_v2_a_stream_goes_on() -> None:
    target = machine()
    wait(target, "stream", "/a", stream=True)
    set_v2(target, "/a")
    set_v2(target, "/a")
    assert len(owed(target)) == 2


def test_v2_removing_a_directory_tells_those_inside() -> None:
    target = machine()
    set_v2(target, "/d/x")
    wait(target, "inside", "/d/x")
    command = encode_v2(CommandV2(MethodV2.DELETE, "/d", recursive=True))
    target.apply(Index(1), Term(1), [command], True)
    assert owed(target) == [("inside", "delete", "/d")]


def test_v2_expiry_is_replicated_and_heard() -> None:
    target = machine()
    set_v2(target, "/a", expires_ms=1000)
    wait(target, "waiter", "/a")
    target.apply(Index(1), Term(1), [encode_expire(999)], False)
    assert owed(target) == []
    target.apply(Index(1), Term(1), [encode_expire(1000)], False)
    assert owed(target) == [("waiter", "expire", "/a")]


def test_v2_history_answers_what_was_missed_and_says_when_it_cannot() -> None:
    target = machine()
    for i in range(EVENTS_MAX + 10):
        set_v2(target, f"/k{i % 7}")
    history, index = target.history_v2, target.tree.index
    found = history.find("/k3", index - 20, index, recursive=False)
    assert found is not None
    assert found.node.key == "/k3"
    assert history.find("/k3", index + 1, index, recursive=False) is None
    with pytest.raises(V2Error) as caught:
        history.find("/k3", 5, index, recursive=False)
    assert caught.value.number == 401


def test_v2_commands_there_and_back() -> None:
    command = CommandV2(
        MethodV2.COMPARE_AND_SWAP, "/p\u00e9", "v\u20ac", "old", 7, 123, 99, True, True, True
    )
    assert decode_v2(encode_v2(command)) == command


def save(target: Machine, ring: dict[int, bytes]) -> int:
    """Write what is new to a ring; how many rows that were."""
    rows = encode_rows(target.history_v2.take_unsaved())
    ring.update(rows)
    return len(rows)


def load(ring: dict[int, bytes], index: int) -> HistoryV2:
    again = HistoryV2()
    rows = reversed(ring.values())
    again.load((event for row in rows for event in decode_row(row)), index)
    return again


def test_v2_events_go_on_over_a_restart() -> None:
    target = machine()
    for number in range(3):
        set_v2(target, "/a", f"<{number}>\udc80")
    ring: dict[int, bytes] = {}
    assert save(target, ring) == 1
    assert save(target, ring) == 0
    set_v2(target, "/b")
    assert save(target, ring) == 1
    index = target.tree.index
    again = load(ring, index)
    for since in range(index - 3, index + 1):
        expected = target.history_v2.find("/", since, index, recursive=True)
        assert again.find("/", since, index, recursive=True) == expected
        assert expected is not None
    with pytest.raises(V2Error, match="cleared"):
        again.find("/a", index - 4, index, recursive=False)


@pytest.mark.parametrize(("missing", "kept"), [(3, 0), (1, 2), (0, 3)])
def test_v2_events_before_a_gap_are_left(missing: int, kept: int) -> None:
    target = machine()
    for _ in range(4):
        set_v2(target, "/a")
    ring: dict[int, bytes] = {}
    save(target, ring)
    (events,) = (decode_row(row) for row in ring.values())
    del events[missing]
    again = HistoryV2()
    again.load(events, target.tree.index)
    assert len(again._events) == kept


@pytest.mark.parametrize("step", [1, 7, 50, 333, EVENTS_MAX + 5])
def test_v2_events_that_are_still_held_are_saved_whenever_that_is_done(step: int) -> None:
    target, ring = machine(), dict[int, bytes]()
    for number in range(2 * EVENTS_MAX + 30):
        set_v2(target, "/a", f"{number}")
        if number % step == 0:
            save(target, ring)
    save(target, ring)
    assert len(ring) <= ROWS_MAX
    again = load(ring, target.tree.index)
    assert list(again._events) == list(target.history_v2._events)


def test_v2_waiters_go_on_over_an_installed_snapshot() -> None:
    behind, ahead = machine(), machine()
    set_v2(behind, "/a")
    once = Waiter("once", "/a", recursive=False, stream=False, since_index=0)
    always = Waiter("always", "/", recursive=True, stream=True, since_index=0)
    elsewhere = Waiter("elsewhere", "/b", recursive=False, stream=False, since_index=0)
    for waiter in (once, always, elsewhere):
        behind.history_v2.add(waiter)
    for value in "123":
        set_v2(ahead, "/a", value)
    behind.replace(ahead)
    told = [(w.call, event.node.value) for w, event in behind.history_v2.deliveries]
    assert told == [("once", "2"), ("always", "2"), ("always", "3")]
    set_v2(behind, "/b")
    assert behind.history_v2.deliveries[-2][0] is elsewhere or (
        behind.history_v2.deliveries[-1][0] is elsewhere
    )
    assert behind.history_v2.waiters_count == 1
