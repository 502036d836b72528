"""Faults: what goes wrong, how often, and how it heals.

Rates are far above life's, so that rare meetings of two faults happen in every second seed.
"""

from __future__ import annotations

from collections.abc import Callable

from raftkv.replica.inputs import Gone
from raftkv.replica.levels import LEVEL
from raftkv.values import MemberId
from tests.simulation.clusters.member import SimulatedMember
from tests.simulation.clusters.network import CALM, Network, Weather
from tests.simulation.clusters.operations import Operations
from tests.simulation.clusters.world import MILLISECOND, SECOND, World


class Faults:
    """Draws a fault every so often until told to stop, then heals everything."""

    def __init__(
        self,
        world: World,
        network: Network,
        members: dict[int, SimulatedMember],
        operations: Operations,
    ) -> None:
        self._world = world
        self._network = network
        self._members = members
        self._operations = operations
        self.is_active = True
        self.count = 0
        self._ambushes = 0
        self._has_change_ambush = False
        pairs: list[tuple[int, Callable[[], None]]] = [
            (5, self._crash_one),
            (3, self._crash_leader),
            (1, self._crash_all),
            (2, self._stall_then_crash),
            (3, self._split),
            (3, self._isolate_leader),
            (2, self._cut_one_way),
            (3, self._worsen_weather),
            (3, self._stall_disk),
            (2, self._pause),
            (2, self._spread_rumour),
            (3, operations.transfer),
            (6, operations.change),
            (4, self._set_ambush),
            (4, self._set_change_ambush),
        ]
        self._table = [action for weight, action in pairs for _ in range(weight)]

    def start(self, gap_max: int) -> None:
        """Begin; ``gap_max`` is the longest time between two faults."""
        self._world.after(self._world.between(SECOND, 2 * SECOND), self._strike, gap_max)

    def _strike(self, gap_max: int) -> None:
        if not self.is_active:
            return
        self.count += 1
        action: Callable[[], None] = self._world.choose(self._table)
        action()
        self._world.after(self._world.between(50 * MILLISECOND, gap_max), self._strike, gap_max)

    def heal(self) -> None:
        """End everything that is wrong."""
        self.is_active = False
        self._network.cut.clear()
        self._network.weather = CALM
        for member in self._members.values():
            member.disk.stalled_until = 0
            member.paused_until = 0
            if not member.is_running and not member.is_removed:
                member.start()
        self._world.tell("all faults heal")

    # ---- processes -------------------------------------------------------------------

    def _running(self) -> list[SimulatedMember]:
        return [member for member in self._members.values() if member.is_running]

    def _crash(self, member: SimulatedMember, down_max: int) -> None:
        member.crash()
        if self._world.happens(0.5):
            self._tell_gone(member)
        delay = self._world.between(20 * MILLISECOND, down_max)
        self._world.after(delay, self._restart, member)

    def _restart(self, member: SimulatedMember) -> None:
        if not member.is_running and not member.is_removed and self.is_active:
            if self._world.happens(0.5):
                member.level = LEVEL  # an upgrade
            member.start()

    def _crash_one(self) -> None:
        running = self._running()
        if running:
            self._crash(self._world.choose(running), 4 * SECOND)

    def _crash_leader(self) -> None:
        for member in self._running():
            if member.leads:
                self._crash(member, 3 * SECOND)

    def _crash_all(self) -> None:
        for member in self._running():
            self._crash(member, SECOND)

    def _stall_then_crash(self) -> None:
        """Disks stop answering, then the power fails: all that was not synced is gone."""
        running = self._running()
        victims = [member for member in running if self._world.happens(0.7)]
        for member in victims:
            member.disk.stalled_until = self._world.now + 2 * SECOND
        self._world.tell(f"disks of {[m.member_id for m in victims]} stall before a crash")
        delay = self._world.between(20 * MILLISECOND, 500 * MILLISECOND)
        self._world.after(delay, self._crash_many, victims)

    def _crash_many(self, victims: list[SimulatedMember]) -> None:
        for member in victims:
            if member.is_running and self.is_active:
                member.disk.stalled_until = 0
                self._crash(member, SECOND)

    def _pause(self) -> None:
        running = self._running()
        if running:
            member: SimulatedMember = self._world.choose(running)
            member.paused_until = self._world.now + self._world.between(
                100 * MILLISECOND, 3 * SECOND
            )
            self._world.tell(f"member {member.member_id} is paused")

    def _tell_gone(self, member: SimulatedMember) -> None:
        """Some of the others see that a process has ended, some later than it is back."""
        for other in self._running():
            if other is not member and self._world.happens(0.8):
                delay = self._world.between(MILLISECOND, 300 * MILLISECOND)
                gone = Gone(MemberId(member.member_id))
                self._world.after(delay, other.submit, gone)

    def _spread_rumour(self) -> None:
        """A process is said to have ended that lives; a leader's, if there is one."""
        running = self._running()
        concerned = [member for member in running if member.leads] or running
        if concerned:
            member: SimulatedMember = self._world.choose(concerned)
            self._world.tell(f"member {member.member_id} is said to be gone")
            self._tell_gone(member)

    def _stall_disk(self) -> None:
        running = self._running()
        leading = [member for member in running if member.leads]
        if leading and self._world.happens(0.5):
            running = leading
        if running:
            member: SimulatedMember = self._world.choose(running)
            length = self._world.between(100 * MILLISECOND, 3 * SECOND)
            member.disk.stalled_until = self._world.now + length
            self._world.tell(f"disk of member {member.member_id} stalls for {length} us")

    def _set_ambush(self) -> None:
        """The next leaders fall right after their election, around their first entries.

        That is the window of the paper's figure 8: entries of an older term are on a majority,
        none of the new term is.
        """
        self._ambushes = self._world.between(1, 4)

    def _set_change_ambush(self) -> None:
        """The next leader that applies a change is cut off, with whoever is new, from the rest.

        The others hold the change and do not know that it is committed: two configurations are
        in use at once, which is what single steps must survive.
        """
        self._has_change_ambush = True
        for _ in range(2):
            self._operations.change(to_leader=True)

    def on_membership_changed(self, member: SimulatedMember) -> None:
        """Spring the change ambush."""
        if not (self._has_change_ambush and self.is_active and member.leads):
            return
        self._has_change_ambush = False
        ids = sorted(self._members)
        fresh = ids[-1 - self._world.below(3) :]
        one_side = {member.member_id, *fresh}
        self._cut({(a, b) for a in ids for b in ids if (a in one_side) != (b in one_side)})

    def on_replacing_write(self, member_id: int) -> None:
        """Cut off a write that replaces what another leader had sent, before it is synced."""
        if self.is_active and self._world.happens(0.5):
            delay = self._world.below(200)
            self._world.after(delay, self._crash_many, [self._members[member_id]])

    def on_new_leader(self, member_id: int) -> None:
        """Spring the ambush."""
        if self._ambushes and self.is_active:
            self._ambushes -= 1
            delay = self._world.between(0, 60 * MILLISECOND)
            self._world.after(delay, self._fell, self._members[member_id])

    def _fell(self, member: SimulatedMember) -> None:
        if not member.is_running or not self.is_active:
            return
        if self._world.happens(0.5):
            self._crash(member, 2 * SECOND)
        else:
            self._isolate(member)

    # ---- network ---------------------------------------------------------------------

    def _cut(self, pairs: set[tuple[int, int]]) -> None:
        self._network.cut |= pairs
        self._world.tell(f"network cuts {sorted(pairs)}")
        self._world.after(self._world.between(200 * MILLISECOND, 5 * SECOND), self._mend, pairs)

    def _mend(self, pairs: set[tuple[int, int]]) -> None:
        self._network.cut -= pairs

    def _split(self) -> None:
        ids = sorted(self._members)
        one_side = {i for i in ids if self._world.happens(0.5)}
        self._cut({(a, b) for a in ids for b in ids if (a in one_side) != (b in one_side)})

    def _isolate_leader(self) -> None:
        for member in self._running():
            if member.leads:
                self._isolate(member)

    def _isolate(self, member: SimulatedMember) -> None:
        own = member.member_id
        others = [i for i in sorted(self._members) if i != own]
        self._cut({(own, i) for i in others} | {(i, own) for i in others})

    def _cut_one_way(self) -> None:
        ids = sorted(self._members)
        own = self._world.choose(ids)
        if self._world.happens(0.5):
            self._cut({(own, i) for i in ids if i != own})
        else:
            self._cut({(i, own) for i in ids if i != own})

    def _worsen_weather(self) -> None:
        world = self._world
        self._network.weather = Weather(
            drop=world.below(30) / 100,
            duplicate=world.below(50) / 100,
            late=world.below(50) / 100,
            late_max=world.between(20 * MILLISECOND, 3 * SECOND),
        )
        world.tell(f"network: {self._network.weather}")
        world.after(world.between(300 * MILLISECOND, 4 * SECOND), self._calm)

    def _calm(self) -> None:
        self._network.weather = CALM
