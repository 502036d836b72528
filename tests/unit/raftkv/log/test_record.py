"""Records, byte by byte."""

from __future__ import annotations

import pytest

from raftkv.log.record import (
    RecordError,
    RecordKind,
    RecordWriter,
    SegmentHead,
    decode_entry,
    decode_hard_state,
    decode_head,
    decode_position,
    decode_record,
)
from raftkv.values import Entry, EntryKind, HardState, Index, MemberId, Term

ENTRY = Entry(Term(3), Index(9), EntryKind.MEMBERSHIP, b"data of the entry")


def _records() -> list[bytes]:
    writer = RecordWriter()
    parts = []
    writer.add_head(SegmentHead(1, 2, 3, 4))
    parts.append(writer.take())
    writer.add_position(RecordKind.START, 8, 2, ends_write=False)
    parts.append(writer.take())
    writer.add_hard_state(HardState(Term(3), MemberId(5), Index(7)), ends_write=True)
    parts.append(writer.take())
    writer.add_entry(ENTRY, ends_write=True)
    parts.append(writer.take())
    return parts


def test_each_record_comes_back() -> None:
    data = b"".join(_records())
    found = []
    offset = 0
    while (record := decode_record(data, offset)) is not None:
        found.append(record)
        offset = record.end
    assert decode_head(found[0].body) == SegmentHead(1, 2, 3, 4)
    assert decode_position(found[1].body) == (8, 2)
    assert decode_hard_state(found[2].body) == HardState(Term(3), MemberId(5), Index(7))
    assert decode_entry(found[3].body) == ENTRY
    assert [record.ends_write for record in found] == [False, False, True, True]
    assert [record.previous for record in found] == [0, *(record.crc for record in found[:-1])]


def test_a_record_cut_anywhere_is_an_error() -> None:
    for whole in _records():
        for cut in range(1, len(whole)):
            if whole[:cut].count(0) == cut:
                continue
            with pytest.raises(RecordError):
                decode_record(whole[:cut], 0)


def test_any_flipped_bit_is_an_error() -> None:
    for whole in _records():
        for position in range(len(whole)):
            for bit in range(8):
                damaged = bytearray(whole)
                damaged[position] ^= 1 << bit
                with pytest.raises(RecordError):
                    decode_record(bytes(damaged), 0)


def test_trailing_bytes_do_not_matter() -> None:
    for whole in _records():
        record = decode_record(whole + b"\xff" * 40, 0)
        assert record is not None
        assert record.end == len(whole)


def test_zeros_end_a_segment() -> None:
    assert decode_record(bytes(100), 0) is None
    assert decode_record(b"", 0) is None


def test_the_size_is_known_before_the_bytes_are_joined() -> None:
    writer = RecordWriter()
    writer.add_entry(ENTRY, ends_write=True)
    writer.add_hard_state(HardState(), ends_write=True)
    size = writer.size_bytes
    assert len(writer.take()) == size
    assert writer.take() == b""
