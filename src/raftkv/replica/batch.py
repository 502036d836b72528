"""The data of a log entry: one batch of one member's commands, or one membership change.

Layout, little endian::

    0        1             9                  17             25          29
    ┌────────┬─────────────┬──────────────────┬──────────────┬───────────┬───────────┬──────────┐
    │ format │ origin u64  │ incarnation u64  │ sequence u64 │ count u32 │ countxu32 │ commands │
    └────────┴─────────────┴──────────────────┴──────────────┴───────────┴───────────┴──────────┘

The origin encodes it once; the same bytes go to the leader, to every log and to every follower.
(origin, incarnation, sequence) never repeats: it is what keeps a duplicated or delayed batch from
being applied twice. Origin 0 marks entries that no member proposed (bootstrap).

An entry with no data at all is the empty entry that opens a leader's term.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from raftkv.raft.errors import InvariantViolated

BATCH_FORMAT = 1
_HEADER = struct.Struct("<BQQQI")
HEADER_BYTES = _HEADER.size
_unpack_header = _HEADER.unpack_from
_pack_header = _HEADER.pack
_LENGTHS = [struct.Struct(f"<{count}I") for count in range(65)]
"""Ready-made formats for usual batch sizes; larger ones are compiled (and cached) by struct."""


def encode_batch(origin: int, incarnation: int, sequence: int, commands: Sequence[bytes]) -> bytes:
    """Return the entry data for these commands."""
    count = len(commands)
    lengths = _LENGTHS[count] if count < 65 else struct.Struct(f"<{count}I")
    return b"".join(
        (
            _pack_header(BATCH_FORMAT, origin, incarnation, sequence, count),
            lengths.pack(*map(len, commands)),
            *commands,
        )
    )


def decode_header(data: bytes) -> tuple[int, int, int, int]:
    """Return (origin, incarnation, sequence, count).

    Raises:
        InvariantViolated: the data is no batch; checksums rule out damage on the way.
    """
    try:
        batch_format, origin, incarnation, sequence, count = _unpack_header(data)
    except struct.error as error:
        raise InvariantViolated(f"entry data of {len(data)} bytes has no header") from error
    if batch_format != BATCH_FORMAT:
        raise InvariantViolated(f"entry data has format {batch_format}")
    return origin, incarnation, sequence, count


def decode_commands(data: bytes, count: int) -> list[bytes]:
    """Return the commands of a batch whose header says ``count``."""
    lengths = _LENGTHS[count] if count < 65 else struct.Struct(f"<{count}I")
    start = HEADER_BYTES + 4 * count
    commands: list[bytes] = []
    for length in lengths.unpack_from(data, HEADER_BYTES):
        end = start + length
        commands.append(data[start:end])
        start = end
    if start != len(data):
        raise InvariantViolated(f"batch of {len(data)} bytes names {start}")
    return commands
