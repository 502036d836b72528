"""Alarms of the members: replicated, so that every member refuses the same commands.

| alarm | raised | refused while it is on |
| --- | --- | --- |
| NOSPACE | by a member that uses more bytes than its quota | what adds data, v2 included |
| CORRUPT | by whoever found a member's data wrong | every write and compaction of the v3 key space |
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from etcdwire.messages import AlarmType

_KEY: Final = struct.Struct(">QB")


class Alarms:
    """Which member has which alarm."""

    __slots__ = ("active", "is_corrupt", "is_full", "writes")

    def __init__(self, active: Iterable[tuple[int, int]] = ()) -> None:
        self.active: set[tuple[int, int]] = set(active)
        """(member id, kind)."""
        self.writes: dict[bytes, bytes | None] = {}
        self.is_full = False
        self.is_corrupt = False
        self._note()

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> Alarms:
        """What the backend holds."""
        return cls(_KEY.unpack(key) for key, _ in rows)

    def _note(self) -> None:
        kinds = {kind for _, kind in self.active}
        self.is_full = AlarmType.NOSPACE in kinds
        self.is_corrupt = AlarmType.CORRUPT in kinds

    def activate(self, member: int, kind: int) -> bool:
        """Raise an alarm; whether it was not there before."""
        if (member, kind) in self.active:
            return False
        self.active.add((member, kind))
        self.writes[_KEY.pack(member, kind)] = b""
        self._note()
        return True

    def deactivate(self, member: int, kind: int) -> bool:
        """End an alarm; whether it was there."""
        if (member, kind) not in self.active:
            return False
        self.active.remove((member, kind))
        self.writes[_KEY.pack(member, kind)] = None
        self._note()
        return True

    def forget_member(self, member: int) -> None:
        """The member is gone, and its alarms with it."""
        for found in [row for row in self.active if row[0] == member]:
            self.deactivate(*found)
