"""The v2 tree: what the conformance cases cannot see (expiry, reloading)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdwire.json_v2 import NodeView
from raftkv.store.errors_v2 import KEY_NOT_FOUND, V2Error
from raftkv.store.tree_v2 import TreeV2


def flat(node: NodeView) -> dict[str, tuple[object, ...]]:
    out: dict[str, tuple[object, ...]] = {}
    stack = [node]
    while stack:
        current = stack.pop()
        out[current.key] = current[1:7]
        stack.extend(current.nodes or ())
    return out


def listed(tree: TreeV2) -> dict[str, tuple[object, ...]]:
    return flat(tree.get("/", 0, recursive=True, is_sorted=True).node)


def test_expiry_is_an_event_in_order_of_time() -> None:
    tree = TreeV2()
    tree.set("/b", "2", 2000, 0, is_dir=False)
    tree.set("/a", "1", 1000, 0, is_dir=False)
    tree.set("/c", "3", 3000, 0, is_dir=False)
    assert tree.next_expiry_ms == 1000
    assert tree.expire(999) == []
    events = tree.expire(2500)
    assert [(e.action, e.node.key, e.store_index) for e in events] == [
        ("expire", "/a", 7),
        ("expire", "/b", 8),
    ]
    assert events[0].previous is not None
    assert events[0].previous.value == "1"
    with pytest.raises(V2Error) as caught:
        tree.get("/a", 0, recursive=False, is_sorted=False)
    assert caught.value.number == KEY_NOT_FOUND
    assert tree.next_expiry_ms == 3000


def test_a_renewed_ttl_voids_the_old_one() -> None:
    tree = TreeV2()
    tree.set("/a", "1", 1000, 0, is_dir=False)
    tree.update("/a", "", 5000, 0, refresh=True)
    assert tree.expire(2000) == []
    tree.set("/a", "1", 0, 0, is_dir=False)
    assert tree.expire(9000) == []


def test_an_expiring_directory_takes_all_below_with_it() -> None:
    tree = TreeV2()
    tree.set("/d", "", 1000, 0, is_dir=True)
    tree.set("/d/x/y", "1", 0, 0, is_dir=False)
    (event,) = tree.expire(1000)
    assert event.node.key == "/d"
    assert set(event.deleted_paths) == {"/d/x", "/d/x/y"}


def test_a_failed_write_leaves_nothing_behind() -> None:
    tree = TreeV2()
    tree.set("/f", "1", 0, 0, is_dir=False)
    tree.writes.clear()
    before = (tree.index, listed(tree))
    with pytest.raises(V2Error):
        tree.set("/f/new/deep", "x", 0, 0, is_dir=False)
    assert (tree.index, listed(tree)) == before
    assert not tree.writes


PATHS = st.sampled_from(["/a", "/a/b", "/a/b/c", "/d", "/_h", "/a/x"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), PATHS, st.text(max_size=4), st.integers(0, 3)),
        st.tuples(st.just("mkdir"), PATHS, st.just(""), st.integers(0, 3)),
        st.tuples(st.just("rm"), PATHS, st.just(""), st.just(0)),
        st.tuples(st.just("expire"), PATHS, st.just(""), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_reloading_the_written_rows_gives_the_same_tree(
    steps: list[tuple[str, str, str, int]],
) -> None:
    tree, rows = TreeV2(), {}
    for kind, path, value, time in steps:
        try:
            if kind == "set":
                tree.set(path, value, time * 1000, 0, is_dir=False)
            elif kind == "mkdir":
                tree.create(path, "", time * 1000, 0, is_dir=True)
            elif kind == "rm":
                tree.delete(path, 0, is_dir=True, recursive=True)
            else:
                tree.expire(time * 1000)
        except V2Error:
            pass
        for number, row in tree.writes.items():
            if row is None:
                rows.pop(number, None)
            else:
                rows[number] = row
        tree.writes.clear()
    again = TreeV2.load(rows.items(), tree.index)
    assert listed(again) == listed(tree)
    assert again.next_expiry_ms == tree.next_expiry_ms
    assert [e.node for e in again.expire(10_000)] == [e.node for e in tree.expire(10_000)]


def test_a_set_that_refreshes_keeps_the_value_and_is_silent() -> None:
    tree = TreeV2()
    tree.set("/a", "1", 5000, 0, is_dir=False)
    event = tree.set("/a", "", 9000, 0, is_dir=False, refresh=True)
    assert (event.action, event.node.value, event.refresh) == ("set", "1", True)
    assert tree.get("/a", 0, recursive=False, is_sorted=False).node.value == "1"
    with pytest.raises(V2Error, match="Key not found"):
        tree.set("/b", "", 9000, 0, is_dir=False, refresh=True)
