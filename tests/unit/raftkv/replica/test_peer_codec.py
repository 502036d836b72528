"""Frames between members: whole, byte by byte, with trailing bytes, damaged."""

from __future__ import annotations

import typing

import pytest

from raftkv.raft import messages
from raftkv.raft.messages import (
    Append,
    AppendRejected,
    AppendReply,
    Commit,
    Diverged,
    Forward,
    ForwardRefused,
    Heartbeat,
    HeartbeatReply,
    LeaseAsk,
    LeaseReply,
    Mark,
    Message,
    PreVote,
    PreVoteReply,
    ReadIndex,
    ReadIndexReply,
    RowsMark,
    Snapshot,
    StaleTerm,
    TimeoutNow,
    TransferRequest,
    Vote,
    VoteReply,
)
from raftkv.replica.peer_codec import FrameReader, PeerProtocolError, encode_frame
from raftkv.values import Entry, EntryKind, Index, MemberId, Term

_BIG = (1 << 64) - 1
TERM, INDEX = Term(_BIG), Index(_BIG - 9)
ENTRIES = (
    Entry(Term(3), Index(_BIG - 8), EntryKind.COMMANDS, b""),
    Entry(Term(3), Index(_BIG - 7), EntryKind.MEMBERSHIP, b"change"),
    Entry(Term(4), Index(_BIG - 6), EntryKind.COMMANDS, bytes(range(256)) * 3),
)
MESSAGES: list[Message] = [
    Append(TERM, INDEX, Term(3), Index(5), ENTRIES),
    Append(Term(1), Index(0), Term(0), Index(0), ()),
    AppendReply(TERM, INDEX),
    AppendRejected(TERM, INDEX, Index(3), Term(2)),
    Heartbeat(TERM, INDEX, 77),
    HeartbeatReply(TERM, 77),
    Commit(TERM, INDEX),
    PreVote(TERM, INDEX, Term(2)),
    PreVoteReply(TERM, is_granted=True),
    PreVoteReply(TERM, is_granted=False),
    Vote(TERM, INDEX, Term(2), is_transfer=True),
    VoteReply(TERM, is_granted=True),
    StaleTerm(TERM),
    TimeoutNow(TERM),
    Forward(EntryKind.MEMBERSHIP, b"batch"),
    Forward(EntryKind.COMMANDS, b""),
    ForwardRefused(1, 2, "INVALID_CHANGE", "Grund: größer"),
    ForwardRefused(1, 2, "", ""),
    ReadIndex(_BIG),
    ReadIndexReply(_BIG, INDEX),
    TransferRequest(MemberId(_BIG)),
    Snapshot(TERM, INDEX, Term(8)),
    LeaseAsk(_BIG, ((1, -(1 << 63)), (2, (1 << 63) - 1))),
    LeaseAsk(1, ()),
    Mark(_BIG, _BIG, 7),
    Diverged(_BIG),
    RowsMark(_BIG, 0, 0xFFFFFFFF),
    LeaseReply(_BIG, ((0, 0), (-5, (1 << 63) - 1))),
]


def test_every_kind_of_message_is_tried() -> None:
    assert {type(m) for m in MESSAGES} == set(typing.get_args(messages.Message))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back(message: Message) -> None:
    assert FrameReader().feed(encode_frame(message)) == [message]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_comes_back_byte_by_byte(message: Message) -> None:
    reader = FrameReader()
    frame = encode_frame(message)
    got = [m for byte in frame for m in reader.feed(bytes([byte]))]
    assert got == [message]


def test_many_frames_in_pieces_of_every_size() -> None:
    stream = b"".join(encode_frame(m) for m in MESSAGES)
    for size in (1, 2, 3, 7, 11, 64, 1000, len(stream)):
        reader = FrameReader()
        got = [
            m
            for start in range(0, len(stream), size)
            for m in reader.feed(stream[start : start + size])
        ]
        assert got == MESSAGES


def test_any_flipped_bit_after_the_length_is_an_error() -> None:
    for message in MESSAGES:
        frame = encode_frame(message)
        for position in range(4, len(frame)):
            damaged = bytearray(frame)
            damaged[position] ^= 0x40
            if position == 5:
                continue  # The kind: see below.
            with pytest.raises(PeerProtocolError):
                FrameReader().feed(bytes(damaged))


def test_an_unknown_kind_is_an_error() -> None:
    frame = bytearray(encode_frame(StaleTerm(TERM)))
    frame[5] = 200
    with pytest.raises(PeerProtocolError):
        FrameReader().feed(bytes(frame))


def test_a_body_of_the_wrong_size_is_an_error() -> None:
    for message in MESSAGES:
        frame = encode_frame(message)
        for kind in range(1, 19):
            changed = bytearray(frame)
            changed[5] = kind
            try:
                (got,) = FrameReader().feed(bytes(changed))
            except PeerProtocolError:
                continue
            assert len(encode_frame(got)) == len(frame)


def test_a_huge_frame_is_refused_before_it_is_buffered() -> None:
    with pytest.raises(PeerProtocolError, match="frame of"):
        FrameReader(frame_bytes_max=100).feed(
            encode_frame(Forward(EntryKind.COMMANDS, bytes(200)))
        )


def test_the_version_is_checked() -> None:
    frame = bytearray(encode_frame(StaleTerm(TERM)))
    frame[4] = 9
    with pytest.raises(PeerProtocolError, match="version"):
        FrameReader().feed(bytes(frame))


def test_checksums_travel_with_the_entries() -> None:
    (got,) = FrameReader().feed(encode_frame(MESSAGES[0]))
    assert isinstance(got, Append)
    assert all(entry.checksum is not None for entry in got.entries)
