"""What a user may read and write: the ranges of all of a user's roles, merged.

A range is ``(start, end)`` with ``start <= key < end``; ``None`` as end means every key from
``start`` on. A request is allowed when *one* merged range covers it whole, so rights that only
touch each other (``[a, b)`` and ``[b, c)``) cover ``[a, c)`` together, as in etcd.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from etcdwire.messages_auth import Permission, PermissionType

Range = tuple[bytes, bytes | None]


def range_of(key: bytes, range_end: bytes) -> Range | None:
    """The range that an etcd key and end mean; None when it is empty.

    An empty end means the one key, an end of one zero byte every key from ``key`` on.
    """
    if not range_end:
        return key, key + b"\0"
    if range_end == b"\0":
        return key, None
    return (key, range_end) if key < range_end else None


class RangeSet:
    """Ranges, merged; immutable."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for start, end in sorted(ranges, key=lambda r: r[0]):
            if self._ends:
                last = self._ends[-1]
                if last is None:
                    break
                if start <= last:
                    self._ends[-1] = None if end is None else max(last, end)
                    continue
            self._starts.append(start)
            self._ends.append(end)

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Whether all of ``[key, range_end)`` lies inside; an empty range needs its first key."""
        wanted = range_of(key, range_end) or (key, key + b"\0")
        at = bisect_right(self._starts, wanted[0]) - 1
        if at < 0:
            return False
        end = self._ends[at]
        if end is None:
            return True
        return wanted[1] is not None and wanted[1] <= end

    @property
    def is_everything(self) -> bool:
        """Whether every key that can exist is covered."""
        return bool(self._starts) and self._starts[0] <= b"\0" and self._ends[0] is None


class Rights:
    """One user's rights at one auth revision; immutable, so it may be kept for as long."""

    __slots__ = ("is_root", "read", "write")

    def __init__(self, permissions: Iterable[Permission], *, is_root: bool) -> None:
        rows = list(permissions)
        self.is_root = is_root
        self.read: Final = RangeSet(_ranges(rows, PermissionType.READ))
        self.write: Final = RangeSet(_ranges(rows, PermissionType.WRITE))

    def may_read(self, key: bytes, range_end: bytes = b"") -> bool:
        """Whether the range may be read."""
        return self.is_root or self.read.covers(key, range_end)

    def may_write(self, key: bytes, range_end: bytes = b"") -> bool:
        """Whether the range may be written or deleted."""
        return self.is_root or self.write.covers(key, range_end)

    @property
    def has_all_keys(self) -> bool:
        """Whether every key may be read and written."""
        return self.is_root or (self.read.is_everything and self.write.is_everything)

    @property
    def may_read_all(self) -> bool:
        """Whether every key may be read."""
        return self.is_root or self.read.is_everything


def _ranges(permissions: list[Permission], kind: PermissionType) -> Iterable[Range]:
    for permission in permissions:
        if permission.permType not in (kind, PermissionType.READWRITE):
            continue
        found = range_of(permission.key, permission.range_end)
        if found is not None:
            yield found
