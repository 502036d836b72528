"""RFC 7541: the examples of its appendix C, and hostile blocks."""

from __future__ import annotations

import pytest

from etcdwire.hpack import (
    Decoder,
    HeaderListTooLargeError,
    HpackError,
    decode_huffman,
    decode_integer,
    encode_headers,
    encode_integer,
)


@pytest.mark.parametrize(
    ("value", "bits", "data"), [(10, 5, "0a"), (1337, 5, "1f9a0a"), (42, 8, "2a")]
)
def test_c_1_integers(value: int, bits: int, data: str) -> None:
    raw = bytes.fromhex(data)
    assert encode_integer(value, bits, 0) == raw
    assert decode_integer(raw, 0, bits) == (value, len(raw))


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
            (b"custom-key", b"custom-header"),
        ),
        ("040c2f73616d706c652f70617468", (b":path", b"/sample/path")),
        ("100870617373776f726406736563726574", (b"password", b"secret")),
        ("82", (b":method", b"GET")),
    ],
)
def test_c_2_single_fields(block: str, expected: tuple[bytes, bytes]) -> None:
    assert Decoder().decode(bytes.fromhex(block)).headers == (expected,)


REQUESTS = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"www.example.com"),
]


@pytest.mark.parametrize(
    "blocks",
    [
        [
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ],
        [
            "828684418cf1e3c2e5f23a6ba0ab90f4ff",
            "828684be5886a8eb10649cbf",
            "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        ],
    ],
    ids=["c.3-literal", "c.4-huffman"],
)
def test_c_3_and_c_4_requests_on_one_connection(blocks: list[str]) -> None:
    decoder = Decoder()
    first, second, third = (decoder.decode(bytes.fromhex(b)).headers for b in blocks)
    assert list(first) == REQUESTS
    assert list(second) == [*REQUESTS, (b"cache-control", b"no-cache")]
    assert third[2:] == (
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    )


def test_equal_blocks_give_the_same_object_until_the_table_changes() -> None:
    decoder = Decoder()
    block = bytes.fromhex("828684")
    first = decoder.decode(block)
    assert decoder.decode(block) is first
    decoder.decode(bytes.fromhex("400161" + "0162"))
    assert decoder.decode(block) is not first


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "be",  # index 62 of an empty table
        "ffffffffff7f",  # an index beyond all
        "40",  # literal without a name
        "4001",  # name shorter than announced
        "3fe21f",  # table size above what was announced
        "8220",  # table size update after a header
        "008161",  # wrong Huffman padding
        "000185" + "ffffffffff",  # EOS inside
    ],
)
def test_malformed_blocks_end_the_connection(block: str) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(bytes.fromhex(block))


def test_a_bomb_is_refused() -> None:
    decoder = Decoder(max_list_bytes=10_000)
    decoder.decode(
        b"\x40" + encode_integer(1, 7, 0) + b"a" + encode_integer(3000, 7, 0) + b"x" * 3000
    )
    with pytest.raises(HeaderListTooLargeError):
        decoder.decode(b"\xbe" * 100)


def test_eviction_follows_the_table_size() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x01b")
    decoder.decode(b"\x20")  # size 0: everything goes
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_huffman_of_all_bytes() -> None:
    assert decode_huffman(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"


def test_our_literals_read_back() -> None:
    headers = ((b":status", b"200"), (b"grpc-message", b"x" * 300))
    assert Decoder().decode(encode_headers(headers)).headers == headers
