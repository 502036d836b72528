"""Lease safety: no lease ends before the time that its holder was promised is over."""

from __future__ import annotations

from tests.simulation.clusters.world import SECOND, Violation


class LeaseChecker:
    """Promises, and the first moment at which any member applied a lease's end."""

    def __init__(self) -> None:
        self._promised: dict[int, int] = {}
        self._ended: dict[int, int] = {}

    def on_promised(self, lease_id: int, until: int) -> None:
        """A grant or keep-alive was answered; times are virtual microseconds."""
        self._promised[lease_id] = max(until, self._promised.get(lease_id, 0))
        self._check(lease_id)

    def on_ended(self, lease_id: int, now: int) -> None:
        """A member applied the end of a lease."""
        if lease_id not in self._ended:
            self._ended[lease_id] = now
            self._check(lease_id)

    def _check(self, lease_id: int) -> None:
        ended, until = self._ended.get(lease_id), self._promised.get(lease_id, 0)
        if ended is not None and ended < until:
            raise Violation(
                f"lease safety: lease {lease_id} ended {(until - ended) / SECOND:.3f} s before "
                "the time that its holder was promised"
            )

    @property
    def ended_count(self) -> int:
        """Leases that ended."""
        return len(self._ended)
