"""Which leases there are and which keys hang on them: replicated, without a clock.

``remaining_s`` is what a new leader would give a lease: its whole time, unless a leader has noted
(by an entry, a checkpoint) that less is left. Rows of the backend, by lease id:

    format u8 | granted i64 | remaining i64 | whether it is ending u8        big-endian, seconds

Which keys hang on a lease stands in the keys' own rows; ``attach_all`` reads it from there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from etcdwire.errors import LEASE_EXISTS, LEASE_NOT_FOUND

KEYS_PER_REVISION: Final = 1000
TTL_MAX_S: Final = 9_000_000_000
"""etcd's limit."""
_FORMAT: Final = 1
_ROW: Final = struct.Struct(">BqqB")


@dataclass(slots=True)
class Lease:
    """One lease."""

    lease_id: int
    """A positive number of 63 bits; clients choose or the server draws."""
    granted_s: int
    remaining_s: int
    is_ending: bool = False
    """Expired with so many keys that they go in several revisions: nothing may be added."""
    keys: dict[bytes, None] = field(default_factory=dict)


class Lessor:
    """All leases of the cluster."""

    __slots__ = ("changed", "key_lease", "leases", "writes")

    def __init__(self) -> None:
        self.leases: dict[int, Lease] = {}
        self.key_lease: dict[bytes, int] = {}
        """Key to the lease that it hangs on; empty while no key hangs on any."""
        self.writes: dict[int, bytes | None] = {}
        self.changed: list[int] = []
        """Leases granted, ended or checkpointed since the leader's clock last looked."""

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> Lessor:
        """What the backend holds, without keys."""
        lessor = cls()
        for key, row in rows:
            _, granted_s, remaining_s, is_ending = _ROW.unpack(row)
            lease_id = int.from_bytes(key, "big", signed=True)
            lessor.leases[lease_id] = Lease(lease_id, granted_s, remaining_s, bool(is_ending))
        return lessor

    def attach_all(self, pairs: Iterable[tuple[bytes, int]]) -> None:
        """Hang keys on the leases that their rows name."""
        for key, lease_id in pairs:
            lease = self.leases.get(lease_id)
            if lease is not None:
                lease.keys[key] = None
                self.key_lease[key] = lease_id

    # --- changes ----------------------------------------------------------------------------

    def grant(self, lease_id: int, ttl_s: int) -> None:
        """Make a lease.

        Raises:
            RequestError: there is one with that id.
        """
        if lease_id in self.leases:
            raise LEASE_EXISTS
        self._write(Lease(lease_id, ttl_s, ttl_s))

    def require(self, lease_id: int) -> Lease:
        """A lease that keys may be hung on.

        Raises:
            RequestError: there is none, or it is ending.
        """
        lease = self.leases.get(lease_id)
        if lease is None or lease.is_ending:
            raise LEASE_NOT_FOUND
        return lease

    def checkpoint(self, lease_id: int, remaining_s: int) -> bool:
        """Note how much is left of a lease; whether there is such a lease."""
        lease = self.leases.get(lease_id)
        if lease is None:
            return False
        lease.remaining_s = min(max(remaining_s, 1), lease.granted_s)
        self._write(lease)
        return True

    def begin_end(self, lease: Lease) -> None:
        """The lease has expired, and its keys will take several revisions to go."""
        lease.is_ending = True
        self._write(lease)

    def remove(self, lease: Lease) -> None:
        """The lease is gone; its keys have been deleted."""
        for key in lease.keys:
            del self.key_lease[key]
        lease.keys.clear()
        del self.leases[lease.lease_id]
        self.writes[lease.lease_id] = None
        self.changed.append(lease.lease_id)

    def _write(self, lease: Lease) -> None:
        self.leases[lease.lease_id] = lease
        self.writes[lease.lease_id] = _ROW.pack(
            _FORMAT, lease.granted_s, lease.remaining_s, lease.is_ending
        )
        self.changed.append(lease.lease_id)

    def expire(self, lease_ids: Iterable[int], delete: Callable[[list[bytes]], None]) -> None:
        """End leases whose time is over; ``delete`` deletes keys as one revision.

        A lease with more than ``KEYS_PER_REVISION`` keys loses them in several revisions, each by
        an entry of its own, so that nobody else waits for all of them.
        """
        for lease_id in lease_ids:
            lease = self.leases.get(lease_id)
            if lease is None:
                continue
            if len(lease.keys) > KEYS_PER_REVISION:
                delete(sorted(lease.keys)[:KEYS_PER_REVISION])
                self.begin_end(lease)
            else:
                delete(sorted(lease.keys))
                self.remove(lease)

    def is_void(self, proposed_in: int, applied_in: int) -> bool:
        """Whether an entry that rests on a leader's clock is that of a leader of before.

        Since then another leader may have kept the lease alive.
        """
        return proposed_in != applied_in

    # --- keys (mvcc.Attachments) -------------------------------------------------------------

    def attach(self, key: bytes, lease_id: int) -> None:
        """A key was written with this lease; 0 takes it off whatever it hung on."""
        before = self.key_lease.get(key, 0)
        if before == lease_id:
            return
        if before:
            del self.leases[before].keys[key]
            del self.key_lease[key]
        if lease_id:
            self.leases[lease_id].keys[key] = None
            self.key_lease[key] = lease_id
