"""Leases: keys that go when their holder does."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from etcdwire import messages as m
from etcdwire.errors import LEASE_EXISTS, Code
from kvclient.calls import Calls
from kvclient.errors import RequestError

_LEASE: Final = "/etcdserverpb.Lease/"


def is_repeated(error: RequestError) -> bool:
    """Whether a grant of an id of our own choice was refused because it had been carried out."""
    return error.message == LEASE_EXISTS.message


def choose_lease_id() -> int:
    """One that nobody else has: with it a grant may be sent again when its fate is not known."""
    return secrets.randbits(62) | 1 << 62


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as it was granted."""

    lease_id: int
    ttl_s: int
    """May be longer than asked for: there is a shortest time."""


@dataclass(frozen=True, slots=True)
class LeaseTime:
    """How long a lease has left, and what hangs on it."""

    left_s: int
    granted_s: int
    keys: tuple[bytes, ...] = ()


class LeaseCalls(Calls):
    """The Lease service, call by call; ``kept_lease.KeptLease`` keeps one alive by itself."""

    def lease_grant(self, ttl_s: int, lease_id: int = 0) -> Lease:
        """Make a lease; with id 0 one is chosen, and the call goes on at another endpoint like a read.

        Raises:
            RequestError: the given id is taken, or the time too long.
        """
        request = m.LeaseGrantRequest(ttl_s, lease_id or choose_lease_id())
        path = (_LEASE + "LeaseGrant").encode()
        try:
            answer = self.call(path, request, m.LeaseGrantResponse, is_write=bool(lease_id))
        except RequestError as error:
            if lease_id or not is_repeated(error):
                raise
            return Lease(request.ID, ttl_s)  # ours: an endpoint did it and could not say so
        return Lease(answer.ID, answer.TTL)

    def lease_revoke(self, lease_id: int) -> None:
        """End a lease and delete its keys, as one revision.

        Raises:
            RequestError: there is no such lease.
        """
        request = m.LeaseRevokeRequest(lease_id)
        path = (_LEASE + "LeaseRevoke").encode()
        self.call(path, request, m.LeaseRevokeResponse, is_write=True)

    def lease_keep_alive(self, lease_id: int) -> int:
        """Give a lease its whole time again; seconds from the moment of asking.

        Raises:
            RequestError: the lease is gone (NOT_FOUND).
        """
        request = m.LeaseKeepAliveRequest(lease_id)
        path = (_LEASE + "LeaseKeepAlive").encode()
        answer = self.call(path, request, m.LeaseKeepAliveResponse)
        if not answer.TTL:
            raise RequestError(Code.NOT_FOUND, "etcdserver: requested lease not found")
        return answer.TTL

    def lease_time_to_live(self, lease_id: int, *, keys: bool = False) -> LeaseTime | None:
        """How long a lease has left; None when there is none."""
        request = m.LeaseTimeToLiveRequest(lease_id, keys)
        path = (_LEASE + "LeaseTimeToLive").encode()
        answer = self.call(path, request, m.LeaseTimeToLiveResponse)
        if answer.TTL < 0:
            return None
        return LeaseTime(answer.TTL, answer.grantedTTL, tuple(answer.keys))

    def lease_list(self) -> tuple[int, ...]:
        """The ids of all leases."""
        path = (_LEASE + "LeaseLeases").encode()
        answer = self.call(path, m.LeaseLeasesRequest(), m.LeaseLeasesResponse)
        return tuple(row.ID for row in answer.leases)
