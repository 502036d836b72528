"""Messages between members as bytes: frames, without knowing what carries them.

A frame is little endian::

    0            4         5      6         10
    ┌────────────┬─────────┬──────┬─────────┬──────────────────────────┐
    │ length u32 │ version │ kind │ crc u32 │ body (length - 6 bytes)  │
    └────────────┴─────────┴──────┴─────────┴──────────────────────────┘

``length`` counts what follows it. ``crc`` is the CRC-32 of the body; in an Append it covers the
fixed part and the entry heads, while each entry's data has its own checksum: the leader computed
it once per entry, the follower checks it once, and both logs reuse it. So a batch is checksummed
once per member and its bytes are copied once per frame.

An Append's body: term u64, prev index u64, prev term u64, commit u64, count u32,
count x (term u64, kind u8, checksum u32, length u32), then the data of all entries.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

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
from raftkv.values import Entry, EntryKind, Index, MemberId, Term

PEER_VERSION: Final = 1
FRAME_BYTES_MAX: Final = 1 << 30
"""Above any entry a client may propose plus a full append; a greater length is an attack or
garbage, and is refused before memory is spent."""

_HEADER = struct.Struct("<IBBI")
_HEADER_BYTES: Final = _HEADER.size
_AFTER_LENGTH: Final = 6
_APPEND = struct.Struct("<QQQQI")
_ENTRY_HEAD = struct.Struct("<QBII")
_Q = struct.Struct("<Q")
_QB = struct.Struct("<Q?")
_QQ = struct.Struct("<QQ")
_QQQ = struct.Struct("<QQQ")
_QQQB = struct.Struct("<QQQ?")
_QQQQ = struct.Struct("<QQQQ")
_REFUSED = struct.Struct("<QQHH")
_ASK = struct.Struct("<Bq")
_ANSWER = struct.Struct("<qq")
_FORWARD = struct.Struct("<B")
_crc32 = zlib.crc32
_ENTRY_KINDS: Final = {int(kind): kind for kind in EntryKind}
"""A dictionary instead of the enum's call: this is once per entry."""

_KINDS: Final[dict[type, int]] = {
    Append: 1,
    AppendReply: 2,
    AppendRejected: 3,
    Heartbeat: 4,
    HeartbeatReply: 5,
    PreVote: 6,
    PreVoteReply: 7,
    Vote: 8,
    VoteReply: 9,
    StaleTerm: 10,
    TimeoutNow: 11,
    Forward: 12,
    ForwardRefused: 13,
    ReadIndex: 14,
    ReadIndexReply: 15,
    TransferRequest: 16,
    Snapshot: 17,
    Commit: 18,
    LeaseAsk: 19,
    LeaseReply: 20,
    Mark: 21,
    Diverged: 22,
    RowsMark: 23,  # from level 2 on
}
_APPEND_KIND: Final = 1


class PeerProtocolError(Exception):
    """A peer's bytes break a rule of this protocol: close the connection."""


def encode_frame(message: Message) -> bytes:
    """Return the frame of one message; the same message may go to several peers."""
    kind = _KINDS[type(message)]
    if kind == _APPEND_KIND:
        assert isinstance(message, Append)
        return _encode_append(message)
    body = _encode_body(message)
    return _HEADER.pack(_AFTER_LENGTH + len(body), PEER_VERSION, kind, _crc32(body)) + body


def _encode_append(message: Append) -> bytes:
    entries = message.entries
    fixed = _APPEND.pack(
        message.term, message.prev_index, message.prev_term, message.commit, len(entries)
    )
    if not entries:
        length = _AFTER_LENGTH + len(fixed)
        return _HEADER.pack(length, PEER_VERSION, _APPEND_KIND, _crc32(fixed)) + fixed
    heads = [fixed]
    datas = []
    length = _AFTER_LENGTH
    for entry in entries:
        data = entry.data
        checksum = entry.checksum
        if checksum is None:
            checksum = _crc32(data)
        heads.append(_ENTRY_HEAD.pack(entry.term, entry.kind, checksum, len(data)))
        datas.append(data)
        length += len(data)
    head = b"".join(heads)
    length += len(head)
    prefix = _HEADER.pack(length, PEER_VERSION, _APPEND_KIND, _crc32(head))
    return b"".join((prefix, head, *datas))


def _decode_append(data: bytes, start: int, end: int, crc: int) -> Append:
    term, prev_index, prev_term, commit, count = _APPEND.unpack_from(data, start)
    offset = start + _APPEND.size
    data_start = offset + count * _ENTRY_HEAD.size
    if data_start > end:
        raise PeerProtocolError(f"append names {count} entries in {end - start} bytes")
    if _crc32(data[start:data_start]) != crc:
        raise PeerProtocolError("frame checksum does not match")
    if not count:
        return Append(term, prev_index, prev_term, commit, ())
    entries = []
    index = prev_index
    for entry_term, kind, checksum, length in _ENTRY_HEAD.iter_unpack(data[offset:data_start]):
        index += 1
        data_end = data_start + length
        entry_data = data[data_start:data_end]
        if _crc32(entry_data) != checksum:
            raise PeerProtocolError(f"checksum of entry {index} does not match")
        entries.append(Entry(entry_term, index, _ENTRY_KINDS[kind], entry_data, checksum))
        data_start = data_end
    if data_start != end:
        raise PeerProtocolError("append does not fill its frame")
    return Append(term, prev_index, prev_term, commit, tuple(entries))


def _encode_body(message: Message) -> bytes:
    if isinstance(message, AppendReply):
        return _QQ.pack(message.term, message.match)
    if isinstance(message, Commit):
        return _QQ.pack(message.term, message.commit)
    if isinstance(message, Heartbeat):
        return _QQQ.pack(message.term, message.commit, message.round_id)
    if isinstance(message, HeartbeatReply):
        return _QQ.pack(message.term, message.round_id)
    if isinstance(message, Forward):
        return _FORWARD.pack(message.kind) + message.data
    if isinstance(message, ReadIndex):
        return _Q.pack(message.context)
    if isinstance(message, ReadIndexReply):
        return _QQ.pack(message.context, message.index)
    if isinstance(message, AppendRejected):
        return _QQQQ.pack(message.term, message.prev_index, message.hint_index, message.hint_term)
    if isinstance(message, PreVote):
        return _QQQ.pack(message.term, message.last_index, message.last_term)
    if isinstance(message, (PreVoteReply, VoteReply)):
        return _QB.pack(message.term, message.is_granted)
    if isinstance(message, Vote):
        return _QQQB.pack(message.term, message.last_index, message.last_term, message.is_transfer)
    if isinstance(message, (StaleTerm, TimeoutNow)):
        return _Q.pack(message.term)
    if isinstance(message, Mark):
        return _QQQ.pack(message.index, message.origin, message.chain)
    if isinstance(message, RowsMark):
        return _QQQ.pack(message.index, message.compacted, message.digest)
    if isinstance(message, Diverged):
        return _Q.pack(message.index)
    if isinstance(message, TransferRequest):
        return _Q.pack(message.target)
    if isinstance(message, Snapshot):
        return _QQQ.pack(message.term, message.index, message.snapshot_term)
    if isinstance(message, LeaseAsk):
        return _Q.pack(message.sequence) + b"".join(_ASK.pack(*row) for row in message.rows)
    if isinstance(message, LeaseReply):
        return _Q.pack(message.sequence) + b"".join(_ANSWER.pack(*row) for row in message.rows)
    assert isinstance(message, ForwardRefused)
    reason, detail = message.reason.encode(), message.detail.encode()
    head = _REFUSED.pack(message.incarnation, message.sequence, len(reason), len(detail))
    return head + reason + detail


def _decode_forward(body: bytes) -> Forward:
    return Forward(EntryKind(body[0]), body[1:])


def _decode_refused(body: bytes) -> ForwardRefused:
    incarnation, sequence, reason_bytes, detail_bytes = _REFUSED.unpack_from(body)
    start = _REFUSED.size
    middle = start + reason_bytes
    if middle + detail_bytes != len(body):
        raise PeerProtocolError("refusal does not fill its frame")
    reason, detail = body[start:middle].decode(), body[middle:].decode()
    return ForwardRefused(incarnation, sequence, reason, detail)


def _decode_transfer(body: bytes) -> TransferRequest:
    return TransferRequest(MemberId(_Q.unpack(body)[0]))


def _decode_read_reply(body: bytes) -> ReadIndexReply:
    context, index = _QQ.unpack(body)
    return ReadIndexReply(context, Index(index))


def _decode_rows(body: bytes, row: struct.Struct) -> tuple[int, tuple[tuple[int, int], ...]]:
    (sequence,) = _Q.unpack_from(body)
    return sequence, tuple((first, second) for first, second in row.iter_unpack(body[8:]))


def _decode_snapshot(body: bytes) -> Snapshot:
    term, index, snapshot_term = _QQQ.unpack(body)
    return Snapshot(Term(term), Index(index), Term(snapshot_term))


_DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    2: lambda body: AppendReply(*_QQ.unpack(body)),
    3: lambda body: AppendRejected(*_QQQQ.unpack(body)),
    4: lambda body: Heartbeat(*_QQQ.unpack(body)),
    5: lambda body: HeartbeatReply(*_QQ.unpack(body)),
    6: lambda body: PreVote(*_QQQ.unpack(body)),
    7: lambda body: PreVoteReply(*_QB.unpack(body)),
    8: lambda body: Vote(*_QQQB.unpack(body)),
    9: lambda body: VoteReply(*_QB.unpack(body)),
    10: lambda body: StaleTerm(*_Q.unpack(body)),
    11: lambda body: TimeoutNow(*_Q.unpack(body)),
    12: _decode_forward,
    13: _decode_refused,
    14: lambda body: ReadIndex(*_Q.unpack(body)),
    15: _decode_read_reply,
    16: _decode_transfer,
    17: _decode_snapshot,
    18: lambda body: Commit(*_QQ.unpack(body)),
    19: lambda body: LeaseAsk(*_decode_rows(body, _ASK)),
    20: lambda body: LeaseReply(*_decode_rows(body, _ANSWER)),
    21: lambda body: Mark(*_QQQ.unpack(body)),
    22: lambda body: Diverged(*_Q.unpack(body)),
    23: lambda body: RowsMark(*_QQQ.unpack(body)),
}


class FrameReader:
    """Cuts a stream of bytes into messages. One per connection; after an error it is dead."""

    __slots__ = ("_chunks", "_frame_bytes_max", "_needed", "_size")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._needed = _HEADER_BYTES
        self._frame_bytes_max = frame_bytes_max

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes of the stream; return the messages that are complete now.

        Chunks are joined only when a frame is complete, so a large frame in many small reads
        costs two copies, not one per read.

        Raises:
            PeerProtocolError: the stream is unusable from here on.
        """
        self._chunks.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return []
        buffer = data if len(self._chunks) == 1 else b"".join(self._chunks)
        size = len(buffer)
        offset = 0
        needed = _HEADER_BYTES
        messages: list[Message] = []
        while size - offset >= _HEADER_BYTES:
            length, version, kind, crc = _HEADER.unpack_from(buffer, offset)
            if version != PEER_VERSION:
                raise PeerProtocolError(f"peer speaks version {version}, not {PEER_VERSION}")
            if not _AFTER_LENGTH <= length <= self._frame_bytes_max:
                raise PeerProtocolError(f"frame of {length} bytes")
            end = offset + 4 + length
            if end > size:
                needed = 4 + length
                break
            messages.append(_decode_frame(buffer, offset + _HEADER_BYTES, end, kind, crc))
            offset = end
        rest = buffer[offset:] if offset else buffer
        self._chunks = [rest] if rest else []
        self._size = size - offset
        self._needed = needed
        return messages


def _decode_frame(buffer: bytes, start: int, end: int, kind: int, crc: int) -> Message:
    try:
        if kind == _APPEND_KIND:
            return _decode_append(buffer, start, end, crc)
        body = buffer[start:end]
        if _crc32(body) != crc:
            raise PeerProtocolError("frame checksum does not match")
        return _DECODERS[kind](body)
    except (struct.error, KeyError, ValueError, IndexError) as error:
        raise PeerProtocolError(f"frame of kind {kind} is malformed") from error
