"""Entry data: batches of every size come back, damage is noticed."""

from __future__ import annotations

import pytest

from raftkv.raft.errors import InvariantViolated
from raftkv.replica.batch import HEADER_BYTES, decode_commands, decode_header, encode_batch


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 66, 1000])
def test_a_batch_comes_back(count: int) -> None:
    commands = [bytes([i % 256]) * (i % 7) for i in range(count)]
    data = encode_batch(1 << 63, 5, 9, commands)
    assert decode_header(data) == (1 << 63, 5, 9, count)
    assert decode_commands(data, count) == commands


def test_a_batch_cut_short_is_noticed() -> None:
    data = encode_batch(1, 1, 1, [b"one", b"two"])
    for cut in range(HEADER_BYTES):
        with pytest.raises(InvariantViolated):
            decode_header(data[:cut])
    with pytest.raises(InvariantViolated):
        decode_commands(data[:-1], 2)


def test_the_format_is_checked() -> None:
    data = encode_batch(1, 1, 1, [])
    with pytest.raises(InvariantViolated, match="format"):
        decode_header(b"\x09" + data[1:])


def test_the_layout_is_frozen() -> None:
    data = encode_batch(1, 2, 3, [b"ab", b"c"])
    assert data.hex() == (
        "01010000000000000002000000000000000300000000000000020000000200000001000000616263"
    )
