from __future__ import annotations

import json

import pytest

from etcdwire.hot import encode_key_value, encode_tombstone
from raftkv.lease.lessor import Lessor
from raftkv.snapshot.etcd_form import (
    ForeignRowError,
    decode_number,
    encode_revision,
    export_leases,
    export_members,
    export_rows,
    import_leases,
    import_row,
)
from raftkv.values import Member, MemberId, Membership

ROW = encode_key_value(b"k", 2, 5, 3, b"value", 0)
LONG = b"x" * 300


def ours(main: int, sub: int, *, deleted: bool = False) -> bytes:
    return ((main << 20 | sub) << 1 | deleted).to_bytes(8, "big")


@pytest.mark.parametrize("key", [b"k", LONG, b"\n\x01k"])
def test_rows_go_there_and_back(key: bytes) -> None:
    rows = [
        (ours(5, 0), encode_key_value(key, 2, 5, 3, b"v", 7)),
        (ours(5, 1, deleted=True), encode_tombstone(key, 5)),
        (ours(1 << 40, 9), ROW),
    ]
    theirs = list(export_rows(rows))
    assert theirs[0][0] == encode_revision(5)
    assert theirs[1][0] == encode_revision(5, 1) + b"t"
    assert [import_row(*row) for row in theirs] == rows


def test_etcds_deletions_hold_the_key_alone() -> None:
    ((_, row),) = export_rows([(ours(5, 0, deleted=True), encode_tombstone(b"k", 5))])
    assert row == b"\n\x01k"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (b"short", ROW, "is no revision"),
        (encode_revision(5).replace(b"_", b"-"), ROW, "is no revision"),
        (encode_revision(5) + b"x", ROW, "is no revision"),
        (encode_revision(0), ROW, "is no revision"),
        (encode_revision(1 << 43), ROW, "is no revision"),
        (encode_revision(5, 1 << 20), ROW, "more than 1048576 changes"),
        (encode_revision(5), b"", "no key with a value"),
        (encode_revision(5), b"\x12\x01k", "no key with a value"),
    ],
)
def test_what_no_etcd_writes_is_refused(key: bytes, value: bytes, text: str) -> None:
    with pytest.raises(ForeignRowError, match=text):
        import_row(key, value)


def test_members_in_etcds_words() -> None:
    members = {
        MemberId(0xAB): Member(MemberId(0xAB), "a", ("http://p",), ("http://c",)),
        MemberId(0xC): Member(MemberId(0xC), "", ("http://q",), (), is_learner=True),
    }
    rows, removed = export_members(Membership(members, frozenset({MemberId(1)})))
    assert [key for key, _ in rows] == [b"ab", b"c"]
    assert json.loads(rows[1][1]) == {"id": 12, "peerURLs": ["http://q"], "isLearner": True}
    assert removed == [(b"1", b"removed")]


def test_leases_go_there_and_back() -> None:
    lessor = Lessor()
    lessor.grant(7, 100)
    lessor.grant(8, 100)
    lessor.checkpoint(8, 40)
    found = import_leases(value for _, value in export_leases(lessor))
    assert {i: (x.granted_s, x.remaining_s) for i, x in found.leases.items()} == {
        7: (100, 100),
        8: (100, 40),
    }


@pytest.mark.parametrize("value", [b"\x08", b"", b"\x08\x07", b"\x08\x07\x10\x00"])
def test_what_is_no_lease(value: bytes) -> None:
    with pytest.raises(ForeignRowError, match="lease"):
        import_leases([value])


def test_numbers_have_eight_bytes() -> None:
    assert decode_number(bytes(7) + b"\x09", "x") == 9
    with pytest.raises(ForeignRowError, match="the index has 3 bytes"):
        decode_number(b"abc", "the index")
