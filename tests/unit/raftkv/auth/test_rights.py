"""Merged ranges against the plain definition, and etcd's special ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdwire.messages_auth import Permission, PermissionType
from raftkv.auth.rights import RangeSet, Rights, range_of

KEYS = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(b % 4 + 97 for b in raw))
ENDS = st.one_of(st.just(b""), st.just(b"\0"), KEYS)


@pytest.mark.parametrize(
    ("key", "end", "wanted"),
    [
        (b"a", b"", (b"a", b"a\0")),
        (b"a", b"b", (b"a", b"b")),
        (b"a", b"\0", (b"a", None)),
        (b"b", b"a", None),
        (b"a", b"a", None),
    ],
)
def test_the_range_that_key_and_end_mean(key: bytes, end: bytes, wanted: object) -> None:
    assert range_of(key, end) == wanted


def is_in(point: bytes, start: bytes, end: bytes | None) -> bool:
    return start <= point and (end is None or point < end)


@given(st.lists(st.tuples(KEYS, ENDS), max_size=6), KEYS, ENDS)
def test_covered_is_what_every_point_says(
    granted: list[tuple[bytes, bytes]], key: bytes, end: bytes
) -> None:
    ranges = [found for row in granted if (found := range_of(*row)) is not None]
    wanted = range_of(key, end)
    if wanted is None:
        return
    points = {p for r in [*ranges, wanted] for edge in r if edge for p in (edge, edge + b"\0")}
    points |= {b"zzzz"}
    inside = [p for p in points if is_in(p, *wanted)]
    expected = all(any(is_in(p, *r) for r in ranges) for p in inside)
    assert RangeSet(ranges).covers(key, end) == expected


def test_one_key_is_no_open_end() -> None:
    rights = Rights([Permission(PermissionType.READ, b"k")], is_root=False)
    assert rights.may_read(b"k")
    assert not rights.may_read(b"k", b"\0")
    assert not rights.may_read(b"k", b"l")
    assert not rights.may_write(b"k")


def test_all_keys() -> None:
    every = Permission(PermissionType.READWRITE, b"\0", b"\0")
    assert Rights([every], is_root=False).has_all_keys
    empty_start = Permission(PermissionType.READWRITE, b"", b"\0")
    assert Rights([empty_start], is_root=False).has_all_keys
    halves = [Permission(2, b"\0", b"m"), Permission(2, b"m", b"\0")]
    assert Rights(halves, is_root=False).has_all_keys
    assert not Rights([Permission(2, b"a", b"\0")], is_root=False).has_all_keys
    assert not Rights([Permission(0, b"\0", b"\0")], is_root=False).has_all_keys
    assert Rights([], is_root=True).has_all_keys


def test_an_unknown_kind_grants_nothing() -> None:
    rights = Rights([Permission(7, b"k")], is_root=False)
    assert not rights.may_read(b"k")
    assert not rights.may_write(b"k")
