"""When leases end: the leader's view of time, which no entry depends on.

Only a leader keeps it. A new leader gives every lease its remaining time anew, and one election
time-out more, because clients could reach nobody while there was no leader. Time is what this
member was able to serve: of a gap between two ticks (a stopped process, a hung machine, a clock
that jumped) no more than one election time-out counts, for in a longer gap nobody could keep a
lease alive here.

An expired lease is only *proposed* for its end; its deadline is put off for a while, so that a lost
proposal is repeated.
"""

from __future__ import annotations

import heapq
from typing import Final

from raftkv.lease.lessor import Lease, Lessor

EXPIRE_PER_TICK: Final = 500
EXPIRE_KEYS_PER_TICK: Final = 1000
"""Leases, and keys on them, proposed at once: some ten milliseconds of applying, so that a storm of
expiry is spread and a lease with many keys goes in pieces.
"""
RETRY_MS: Final = 3_000
CHECKPOINT_EVERY_MS: Final = 300_000
"""A lease that nobody keeps alive has its remaining time noted this often, as in etcd."""
CHECKPOINTS_PER_TICK: Final = 100


class LeaseClock:
    """Deadlines of all leases while this member leads."""

    __slots__ = (
        "_checkpoints",
        "_deadlines",
        "_fresh",
        "_gap_max_ms",
        "_heap",
        "_known",
        "_last_ms",
        "_proposed",
        "now_ms",
    )

    def __init__(self, gap_max_ms: int) -> None:
        self._gap_max_ms = gap_max_ms
        self._last_ms = 0
        self.now_ms = 0
        """Time served; only grows."""
        self._deadlines: dict[int, int] = {}
        self._fresh: dict[int, int] = {}
        """Leases that got so many milliseconds since the last tick. They are counted from the next
        tick on: it is not known how long ago the last one was.
        """
        self._proposed: set[int] = set()
        """Leases whose end has been proposed: nothing keeps them alive any more."""
        self._known: dict[int, Lease] = {}
        """The lease that a deadline belongs to: an id may be given back and granted anew."""
        self._heap: list[tuple[int, int]] = []
        self._checkpoints: list[tuple[int, int]] = []

    def advance(self, clock_ms: int) -> None:
        """A tick came at this time of a clock that may jump."""
        passed = clock_ms - self._last_ms
        self._last_ms = clock_ms
        self.now_ms += min(max(passed, 0), self._gap_max_ms)
        if self._fresh:
            fresh, self._fresh = self._fresh, {}
            for lease_id, ttl_ms in fresh.items():
                self._set(lease_id, self.now_ms + ttl_ms)

    def start(self, lessor: Lessor, extra_ms: int) -> None:
        """This member leads: every lease gets its remaining time, and some more."""
        self._deadlines.clear()
        self._fresh.clear()
        self._proposed.clear()
        self._known = dict(lessor.leases)
        self._heap.clear()
        self._checkpoints.clear()
        lessor.changed.clear()
        for lease in lessor.leases.values():
            self._give(lease.lease_id, lease.remaining_s * 1000 + extra_ms)
            self._plan_checkpoint(lease.lease_id, lease.remaining_s)

    def follow(self, lessor: Lessor) -> None:
        """Take leases that were granted, checkpointed or ended since the last call."""
        if not lessor.changed:
            return
        changed, lessor.changed = lessor.changed, []
        for lease_id in changed:
            lease = lessor.leases.get(lease_id)
            if lease is None:
                self._deadlines.pop(lease_id, None)
                self._fresh.pop(lease_id, None)
                self._proposed.discard(lease_id)
                self._known.pop(lease_id, None)
            elif lease.is_ending:
                self._set(lease_id, self.now_ms)  # the next slice of its keys
            elif self._known.get(lease_id) is not lease:
                self._known[lease_id] = lease
                self._proposed.discard(lease_id)
                self._give(lease_id, lease.granted_s * 1000)
                self._plan_checkpoint(lease_id, lease.granted_s)

    def renew(self, lease_id: int, ttl_s: int) -> bool:
        """Give a lease its whole time; False when it is unknown, or its end has been proposed."""
        deadline = self._deadlines.get(lease_id)
        if deadline is None or deadline <= self.now_ms or lease_id in self._proposed:
            return False
        self._give(lease_id, ttl_s * 1000)
        return True

    def remaining_ms(self, lease_id: int) -> int | None:
        """How much is left; None when the lease is unknown."""
        deadline = self._deadlines.get(lease_id)
        if deadline is None or lease_id in self._proposed:
            return None
        return max(deadline - self.now_ms, 0)

    def _give(self, lease_id: int, ttl_ms: int) -> None:
        self._fresh[lease_id] = ttl_ms
        self._deadlines[lease_id] = self.now_ms + ttl_ms

    def _set(self, lease_id: int, deadline: int) -> None:
        self._deadlines[lease_id] = deadline
        heapq.heappush(self._heap, (deadline, lease_id))
        if len(self._heap) > 64 + 4 * len(self._deadlines):  # of old deadlines mostly
            self._heap = [(d, i) for i, d in self._deadlines.items()]
            heapq.heapify(self._heap)

    def _plan_checkpoint(self, lease_id: int, left_s: int) -> None:
        if left_s * 1000 > CHECKPOINT_EVERY_MS:
            heapq.heappush(self._checkpoints, (self.now_ms + CHECKPOINT_EVERY_MS, lease_id))

    def take_expired(self, lessor: Lessor) -> list[int]:
        """Leases whose time is over, not too many at once."""
        heap, now = self._heap, self.now_ms
        expired: list[int] = []
        keys_count = 0
        while heap and heap[0][0] <= now:
            if len(expired) >= EXPIRE_PER_TICK or keys_count >= EXPIRE_KEYS_PER_TICK:
                break
            deadline, lease_id = heapq.heappop(heap)
            lease = lessor.leases.get(lease_id)
            if self._deadlines.get(lease_id) != deadline or lease is None:
                continue
            expired.append(lease_id)
            keys_count += len(lease.keys)
        for lease_id in expired:
            self._proposed.add(lease_id)
            self._deadlines[lease_id] = now + RETRY_MS  # if the proposal gets lost
            heapq.heappush(heap, (now + RETRY_MS, lease_id))
        return expired

    def take_checkpoints(self, lessor: Lessor) -> list[tuple[int, int]]:
        """(lease, seconds left) of those whose remaining time should be noted now."""
        due: list[tuple[int, int]] = []
        heap = self._checkpoints
        while heap and heap[0][0] <= self.now_ms and len(due) < CHECKPOINTS_PER_TICK:
            _, lease_id = heapq.heappop(heap)
            deadline = self._deadlines.get(lease_id)
            lease = lessor.leases.get(lease_id)
            if deadline is None or lease is None or lease.is_ending:
                continue
            left_s = -(-(deadline - self.now_ms) // 1000)
            if left_s < lease.remaining_s - CHECKPOINT_EVERY_MS // 2000:
                due.append((lease_id, left_s))
            self._plan_checkpoint(lease_id, left_s)
        return due
