"""Which batches were applied already: replicated state, one row per member.

Proposals travel over a network that may duplicate, delay or reorder them, so the log may hold a
batch twice. Every member keeps, per origin, the (incarnation, sequence) applied last and skips
what is not strictly greater. Skipped for good are also batches that were overtaken; their origin
notices and reports them as lost. Rows of removed members go away: their ids never come back, and
batches of non-members are not applied at all.
"""

from __future__ import annotations

import struct

_ROW = struct.Struct("<QQQ")


class Sessions:
    """The table. Deterministic: changed by applied entries only."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, int]] = {}

    def accept(self, origin: int, incarnation: int, sequence: int) -> bool:
        """Note a batch; False when it must be skipped."""
        number = (incarnation, sequence)
        last = self.rows.get(origin)
        if last is not None and number <= last:
            return False
        self.rows[origin] = number
        return True

    def forget(self, origin: int) -> None:
        """The member was removed."""
        self.rows.pop(origin, None)

    def encode(self) -> bytes:
        """Return all rows, sorted, 24 bytes each."""
        return b"".join(_ROW.pack(origin, *number) for origin, number in sorted(self.rows.items()))

    def load(self, data: bytes) -> None:
        """Replace the table by encoded rows."""
        self.rows = {
            origin: (incarnation, sequence)
            for origin, incarnation, sequence in _ROW.iter_unpack(data)
        }
