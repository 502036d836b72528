"""Records of the write-ahead log: bytes only, no files.

Every record is little endian::

    0         4            8              12            16     17
    ┌─────────┬────────────┬──────────────┬─────────────┬──────┬─────────────────────────┐
    │ crc u32 │ length u32 │ previous u32 │ synced u32  │ kind │ body (``length`` bytes) │
    └─────────┴────────────┴──────────────┴─────────────┴──────┴─────────────────────────┘

``crc``: CRC-32 of everything after it up to the end of the body, except an entry's data, which
has its own checksum in the body (computed once per entry by the leader that proposed it).
``previous``: the crc of the record before: the chain shows a missing or foreign record.
``synced``: how many bytes of this segment were known to be on disk when the record was written.
It tells damage from a torn tail: damage *before* the synced mark of any later record hit bytes
that were promised; damage after it is an unfinished write (see ``segment.read_segment``).

Bodies::

    SEGMENT     format u16, cluster id u64, member id u64, segment number u64
    START       index u64, term u64        the log begins after this entry
    RESET       index u64, term u64        as START, and everything before is void
    HARD_STATE  term u64, vote u64, commit u64
    ENTRY       term u64, index u64, kind u8, data crc u32, data

The highest bit of the kind marks the last record of one write. A write whose last record is
missing counts as never begun: a hard state whose commit index came with entries must not survive
without them, or the entries that they replaced would pass for committed ones.

A zero length ends a segment: files are preallocated with zeros, and no body is empty.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from raftkv.values import Entry, EntryKind, HardState, Index, MemberId, Term

LOG_FORMAT: Final = 1
RECORD_BYTES_MAX: Final = 1 << 30
"""No record is longer; a greater length is damage."""

_PREFIX = struct.Struct("<IIIIB")
_CHECKED = struct.Struct("<IIIB")
_ENTRY = struct.Struct("<QQBI")
_ENTRY_CHECKED = struct.Struct("<IIIBQQBI")
_CRC = struct.Struct("<I")
_SEGMENT = struct.Struct("<HQQQ")
_POSITION = struct.Struct("<QQ")
_HARD_STATE = struct.Struct("<QQQ")
PREFIX_BYTES: Final = _PREFIX.size
ENDS_WRITE: Final = 0x80
"""Flag in the kind byte, see the module's text."""
_crc32 = zlib.crc32


class RecordKind(enum.IntEnum):
    """See the module's layout."""

    SEGMENT = 1
    START = 2
    RESET = 3
    HARD_STATE = 4
    ENTRY = 5


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """The first record of every segment."""

    log_format: int
    cluster_id: int
    member_id: int
    number: int


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record that checked out."""

    kind: RecordKind
    body: bytes
    crc: int
    previous: int
    synced: int
    end: int
    """Offset after the record."""
    ends_write: bool


class RecordError(Exception):
    """The bytes at an offset are no record."""


class RecordWriter:
    """Encodes records into a list of parts, keeping the chain.

    Reuse one writer per segment; :meth:`take` gives the parts since the last call.
    """

    __slots__ = ("_parts", "_size", "chain", "synced")

    def __init__(self, chain: int = 0, synced: int = 0) -> None:
        self.chain = chain
        self.synced = synced
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def size_bytes(self) -> int:
        """Bytes encoded since the last :meth:`take`."""
        return self._size

    def add(self, kind: RecordKind, body: bytes, *, ends_write: bool) -> None:
        """Encode a record with this body."""
        flagged = kind | ENDS_WRITE if ends_write else kind
        checked = _CHECKED.pack(len(body), self.chain, self.synced, flagged) + body
        self.chain = _crc32(checked)
        self._parts.append(_CRC.pack(self.chain) + checked)
        self._size += 4 + len(checked)

    def add_entry(self, entry: Entry, *, ends_write: bool) -> None:
        """Encode an entry; its data is not copied here."""
        data = entry.data
        checksum = entry.checksum
        if checksum is None:
            checksum = _crc32(data)
        checked = _ENTRY_CHECKED.pack(
            _ENTRY.size + len(data),
            self.chain,
            self.synced,
            0x85 if ends_write else 5,  # RecordKind.ENTRY; literals save lookups per entry
            entry.term,
            entry.index,
            entry.kind,
            checksum,
        )
        self.chain = _crc32(checked)
        self._parts += (_CRC.pack(self.chain), checked, data)
        self._size += 4 + len(checked) + len(data)

    def add_head(self, head: SegmentHead) -> None:
        """Encode the first record of a segment."""
        self.add(
            RecordKind.SEGMENT,
            _SEGMENT.pack(head.log_format, head.cluster_id, head.member_id, head.number),
            ends_write=False,
        )

    def add_position(self, kind: RecordKind, index: int, term: int, *, ends_write: bool) -> None:
        """Encode START or RESET."""
        self.add(kind, _POSITION.pack(index, term), ends_write=ends_write)

    def add_hard_state(self, state: HardState, *, ends_write: bool) -> None:
        """Encode term, vote and commit index."""
        body = _HARD_STATE.pack(state.term, state.vote, state.commit)
        self.add(RecordKind.HARD_STATE, body, ends_write=ends_write)

    def take(self) -> bytes:
        """Return what was encoded since the last call, joined once."""
        data = b"".join(self._parts)
        self._parts = []
        self._size = 0
        return data


def decode_record(data: bytes, offset: int) -> RawRecord | None:
    """Decode the record at ``offset``; None where a zero length ends the segment.

    The chain is not checked here: each record stands on its own, so that damage can be told
    from a torn tail.

    Raises:
        RecordError: cut short, unknown, or a checksum does not match.
    """
    if len(data) - offset < PREFIX_BYTES:
        if data.count(0, offset) == len(data) - offset:
            return None
        raise RecordError("record header cut short")
    crc, length, previous, synced, flagged = _PREFIX.unpack_from(data, offset)
    ends_write = bool(flagged & ENDS_WRITE)
    kind = flagged & ~ENDS_WRITE
    if length == 0:
        if data.count(0, offset, offset + PREFIX_BYTES) == PREFIX_BYTES:
            return None
        raise RecordError("record header damaged")
    body_start = offset + PREFIX_BYTES
    end = body_start + length
    if length > RECORD_BYTES_MAX or end > len(data):
        raise RecordError(f"record of {length} bytes does not fit")
    if kind != RecordKind.ENTRY:
        if _crc32(data[offset + 4 : end]) != crc:
            raise RecordError("record checksum does not match")
        try:
            known = RecordKind(kind)
        except ValueError as error:
            raise RecordError(f"record kind {kind} is unknown") from error
        return RawRecord(known, data[body_start:end], crc, previous, synced, end, ends_write)
    data_start = body_start + _ENTRY.size
    if data_start > end or _crc32(data[offset + 4 : data_start]) != crc:
        raise RecordError("entry record checksum does not match")
    (checksum,) = _CRC.unpack_from(data, data_start - 4)
    if _crc32(data[data_start:end]) != checksum:
        raise RecordError("entry data checksum does not match")
    body = data[body_start:end]
    return RawRecord(RecordKind.ENTRY, body, crc, previous, synced, end, ends_write)


def decode_chained(data: bytes, offset: int, chain: int) -> RawRecord | None:
    """As :func:`decode_record`, and the record must follow on the one with crc ``chain``."""
    record = decode_record(data, offset)
    if record is not None and record.previous != chain:
        raise RecordError("record does not follow on the one before it")
    return record


def decode_entry(body: bytes) -> Entry:
    """Return the entry in the body of an ENTRY record."""
    term, index, kind, checksum = _ENTRY.unpack_from(body)
    return Entry(Term(term), Index(index), EntryKind(kind), body[_ENTRY.size :], checksum)


def decode_head(body: bytes) -> SegmentHead:
    """Return the body of a SEGMENT record."""
    return SegmentHead(*_SEGMENT.unpack(body))


def decode_position(body: bytes) -> tuple[Index, Term]:
    """Return the (index, term) of a START or RESET record."""
    index, term = _POSITION.unpack(body)
    return Index(index), Term(term)


def decode_hard_state(body: bytes) -> HardState:
    """Return the body of a HARD_STATE record."""
    term, vote, commit = _HARD_STATE.unpack(body)
    return HardState(Term(term), MemberId(vote), Index(commit))
