"""The replica's own replicated state, as it lies in the backend and in snapshots.

``format u8 │ table length u32 │ membership table │ session rows``
"""

from __future__ import annotations

import struct

from raftkv.raft.errors import InvariantViolated
from raftkv.replica.membership import MembershipTable
from raftkv.replica.sessions import Sessions

STATE_FORMAT = 1
_HEADER = struct.Struct("<BI")


def encode_state(membership: MembershipTable, sessions: Sessions) -> bytes:
    """Return both tables as bytes; equal states give equal bytes."""
    table = membership.encode()
    return _HEADER.pack(STATE_FORMAT, len(table)) + table + sessions.encode()


def decode_state(data: bytes, membership: MembershipTable, sessions: Sessions) -> None:
    """Replace both tables by what :func:`encode_state` gave."""
    state_format, length = _HEADER.unpack_from(data)
    if state_format != STATE_FORMAT:
        raise InvariantViolated(f"replica state has format {state_format}")
    start = _HEADER.size
    membership.load(data[start : start + length])
    sessions.load(data[start + length :])
