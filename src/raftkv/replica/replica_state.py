"""The replica's own replicated state, as it lies in the backend and in snapshots.

``format u8 │ table length u32 │ membership table │ session rows``
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from raftkv.raft.errors import InvariantViolated
from raftkv.replica.batch import decode_commands
from raftkv.replica.membership import MembershipTable, bootstrap_entries, decode_change
from raftkv.replica.sessions import Sessions
from raftkv.values import Index, Member, Term

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


def founding_state(members: Iterable[Member]) -> tuple[Index, Term, bytes]:
    """(index, term, state) right after the first entries of a new cluster.

    A directory restored from a snapshot starts here *with an empty log behind it*: a member that
    joins then needs a snapshot and cannot miss the restored rows, which no log entry ever wrote.
    """
    table = MembershipTable()
    entries = bootstrap_entries(members)
    for entry in entries:
        (command,) = decode_commands(entry.data, 1)
        table.apply(decode_change(command))
    last = entries[-1]
    return last.index, last.term, encode_state(table, Sessions())
