from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdwire import hot
from etcdwire import messages as m
from etcdwire.protobuf import DecodeError, decode, decode_varint, encode, encode_varint


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_varint_there_and_back(value: int) -> None:
    data = encode_varint(value)
    assert decode_varint(data, 0) == (value, len(data))


def test_varint_longer_than_ten_bytes_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_varint(b"\xff" * 11, 0)


def test_negative_number_takes_ten_bytes() -> None:
    assert encode(m.WatchResponse(watch_id=-1)) == b"\x10" + b"\xff" * 9 + b"\x01"
    assert decode(m.WatchResponse, b"\x10" + b"\xff" * 9 + b"\x01").watch_id == -1


def test_every_prefix_of_a_message_is_refused_or_a_message() -> None:
    whole = encode(
        m.TxnRequest(
            compare=[m.Compare(1, 2, b"key", mod_revision=7)],
            success=[m.RequestOp(request_put=m.PutRequest(b"a" * 200, b"b"))],
            failure=[m.RequestOp(request_range=m.RangeRequest(b"c", limit=3))],
        )
    )
    for end in range(len(whole)):
        try:
            decode(m.TxnRequest, whole[:end])
        except DecodeError:
            continue


def test_unknown_fields_are_skipped() -> None:
    data = b"\x0a\x01k" + b"\xfa\x01\x03abc" + b"\xf8\x01\x05" + b"\x12\x01v"
    assert decode(m.PutRequest, data) == m.PutRequest(b"k", b"v")


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x0a", b"\x00\x01", b"\x0b", b"\x08\x01"])
def test_damaged_messages_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(m.PutRequest, data)


def test_packed_and_unpacked_enums_read_the_same() -> None:
    assert decode(m.WatchCreateRequest, b"\x2a\x02\x00\x01").filters == [0, 1]
    assert decode(m.WatchCreateRequest, b"\x28\x00\x28\x01").filters == [0, 1]


def test_oneof_zero_is_written() -> None:
    data = encode(m.Compare(key=b"k", create_revision=0))
    assert decode(m.Compare, data).create_revision == 0
    assert decode(m.Compare, data).version is None


@given(
    st.binary(max_size=300),
    st.binary(max_size=20000),
    st.integers(0, 1 << 40),
    st.booleans(),
)
def test_hot_put_agrees_with_the_table(key: bytes, value: bytes, lease: int, prev: bool) -> None:
    request = m.PutRequest(key, value, lease, prev)
    assert hot.decode_put(encode(request)) == request


@given(st.binary(max_size=60))
def test_hot_put_agrees_with_the_table_on_any_bytes(data: bytes) -> None:
    try:
        expected = decode(m.PutRequest, data)
    except DecodeError:
        with pytest.raises(DecodeError):
            hot.decode_put(data)
        return
    assert hot.decode_put(data) == expected


@given(st.binary(min_size=1, max_size=200), st.booleans(), st.integers(0, 3))
def test_hot_range_agrees_with_the_table(key: bytes, serializable: bool, limit: int) -> None:
    request = m.RangeRequest(key, limit=limit, serializable=serializable)
    assert hot.decode_range(encode(request)) == request


@given(
    st.binary(min_size=1, max_size=300),
    st.binary(max_size=300),
    st.integers(1, 1 << 50),
    st.integers(0, 1 << 50),
)
def test_hot_key_value_is_what_the_table_reads(
    key: bytes, value: bytes, revision: int, lease: int
) -> None:
    row = hot.encode_key_value(key, revision, revision + 1, 3, value, lease)
    expected = m.KeyValue(key, revision, revision + 1, 3, value, lease)
    assert decode(m.KeyValue, row) == expected
    assert encode(expected) == row


def test_header_encoder_matches_the_table() -> None:
    encoder = hot.HeaderEncoder(14443903163313418560, 5)
    for revision, term in ((1, 2), (1, 2), (300, 2), (300, 9), (0, 0)):
        expected = m.PutResponse(m.ResponseHeader(14443903163313418560, 5, revision, term))
        assert encoder.encode(revision, term) == encode(expected)
