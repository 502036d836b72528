"""Leadership transfers asked of this member: done when the wanted leader leads."""

from __future__ import annotations

from raftkv.values import MemberId


class Transfers:
    """Tokens by wanted leader, each with the tick after which it has failed."""

    __slots__ = ("_pending", "_timeout_ticks")

    def __init__(self, timeout_ticks: int) -> None:
        self._pending: list[tuple[MemberId, object, int]] = []
        self._timeout_ticks = timeout_ticks

    def add(self, to: MemberId, token: object, tick: int) -> None:
        """Wait for ``to`` to lead."""
        self._pending.append((to, token, tick + self._timeout_ticks))

    def take_reached(self, leader: MemberId) -> list[object]:
        """Return the tokens that wanted this leader."""
        reached = [token for to, token, _ in self._pending if to == leader]
        if reached:
            self._pending = [pending for pending in self._pending if pending[0] != leader]
        return reached

    def expire(self, tick: int) -> list[object]:
        """Return the tokens that waited too long."""
        if not self._pending:
            return []
        failed = [token for _, token, deadline in self._pending if deadline <= tick]
        self._pending = [pending for pending in self._pending if pending[2] > tick]
        return failed
