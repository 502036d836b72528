"""Clients with leases: they grant, keep alive for a while through any member, and then stop.

What they were promised goes to the checker: a lease whose keep-alive was answered lives at least
its whole time from the moment of asking on.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.replica.commands import encode_grant
from raftkv.replica.effects import Effects
from raftkv.replica.inputs import AskLeases, Propose
from raftkv.replica.leases import LeaseAnswer, LeaseAsks, LeaseQuestion
from tests.simulation.clusters.member import SimulatedMember
from tests.simulation.clusters.watching import Watching
from tests.simulation.clusters.world import SECOND, World


@dataclass
class LeaseCall:
    """A grant or a keep-alive; serves as its own token."""

    lease_id: int
    ttl_s: int
    asked: int
    is_grant: bool


class LeaseClients:
    """All lease clients of a run; each has one lease at a time."""

    def __init__(
        self, world: World, watching: Watching, members: dict[int, SimulatedMember]
    ) -> None:
        self._world = world
        self._watching = watching
        self._members = members
        self._next_id = 0
        self.answers_count = 0
        self.is_open = True

    def start(self, count: int) -> None:
        for _ in range(count):
            self._world.after(self._world.below(SECOND), self._begin)

    def _choose(self) -> SimulatedMember | None:
        running = [m for m in self._members.values() if m.is_running]
        if not running:
            return None
        chosen: SimulatedMember = self._world.choose(running)
        return chosen

    def _begin(self) -> None:
        if not self.is_open:
            return
        world = self._world
        self._next_id += 1
        ttl_s = world.between(1, 3)
        member = self._choose()
        if member is not None:
            call = LeaseCall(self._next_id, ttl_s, world.now, is_grant=True)
            member.submit(Propose((encode_grant(call.lease_id, ttl_s),), (call,)))
        world.after(world.below(SECOND // 4), self._keep_alive, self._next_id, ttl_s)

    def _keep_alive(self, lease_id: int, ttl_s: int) -> None:
        world = self._world
        if not self.is_open:
            return
        if world.happens(0.1):  # enough of this one
            world.after(world.below(SECOND), self._begin)
            return
        member = self._choose()
        if member is not None:
            call = LeaseCall(lease_id, ttl_s, world.now, is_grant=False)
            member.submit(AskLeases((LeaseQuestion(LeaseAsks.KEEP_ALIVE, lease_id, call),)))
        # Sometimes late: perhaps it is over, perhaps a new leader has given it more time.
        gap = ttl_s * SECOND
        gap = (
            world.between(gap, 2 * gap)
            if world.happens(0.2)
            else world.between(gap // 8, gap // 2)
        )
        world.after(gap, self._keep_alive, lease_id, ttl_s)

    def on_effects(self, _member: SimulatedMember, effects: Effects) -> None:
        """Take the answers of one step."""
        for tokens, results in effects.replies:
            for token, result in zip(tokens, results, strict=True):
                if isinstance(token, LeaseCall) and isinstance(result, tuple):
                    self._promise(token)
        for token, answer in effects.lease_answers:
            assert isinstance(token, LeaseCall)
            assert isinstance(answer, LeaseAnswer)
            if answer.left_s:
                self._promise(token)

    def _promise(self, call: LeaseCall) -> None:
        self.answers_count += 1
        until = call.asked + call.ttl_s * SECOND
        self._watching.leases.on_promised(call.lease_id, until)
