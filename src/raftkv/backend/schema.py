"""What stands where in the backend. Keys are numbers, never a user's key or path.

LMDB keys hold at most 511 bytes; a user's key may hold a megabyte. So every table is keyed by a
fixed-size number and the user's key is part of the value.

| table | key | value |
| --- | --- | --- |
| ``rows`` | row id, 8 bytes big-endian | mvccpb.KeyValue as on the wire |
| ``v2`` | node id, 8 bytes big-endian | one node of the v2 tree (``store.tree_v2``) |
| ``meta`` | a name below | see there |
| ``auth`` | see ``auth.state`` | users, roles, flags |
| ``leases`` | lease id, 8 bytes big-endian | see ``lease.lessor`` |
| ``alarms`` | member id, 8 bytes big-endian, and kind u8 | empty |

Format 1 had ``meta``, ``rows`` and ``v2`` only; it is read as one without the others.
"""

from __future__ import annotations

import enum
from typing import Final

FORMAT_VERSION: Final = 2
"""Raised when the meaning of rows changes; a newer directory is refused."""


class Table(enum.IntEnum):
    """The tables; the values are part of the snapshot format."""

    META = 0
    ROWS = 1
    V2 = 2
    AUTH = 3
    LEASES = 4
    ALARMS = 5


TABLE_NAMES: Final = {table: table.name.lower().encode() for table in Table}

META_FORMAT: Final = b"format_version"
META_CLUSTER_ID: Final = b"cluster_id"
META_MEMBER_ID: Final = b"member_id"
META_APPLIED_INDEX: Final = b"applied_index"
META_APPLIED_TERM: Final = b"applied_term"
META_REPLICA_STATE: Final = b"replica_state"
"""``Replica.encode_state()`` at the applied index: membership and proposal sessions."""
META_COMPACT_REVISION: Final = b"compact_revision"
META_REVISION: Final = b"revision"
META_V2_INDEX: Final = b"v2_index"
META_V2_EVENTS: Final = b"v2_events/"
"""With the place in a ring of rows, in four bytes (``watch.history_v2``)."""
META_CHAIN: Final = b"chain"
"""Checksum over everything applied, and the index where it began (``replica.divergence``)."""

LOCAL_META: Final = frozenset({META_CLUSTER_ID, META_MEMBER_ID})
"""Facts about this directory, not about the replicated state: never part of a snapshot."""


def encode_number(value: int) -> bytes:
    """Eight bytes, big-endian, so that numbers sort."""
    return value.to_bytes(8, "big")


def decode_number(raw: bytes | None) -> int:
    """The number, 0 for an absent row."""
    return int.from_bytes(raw, "big") if raw else 0
