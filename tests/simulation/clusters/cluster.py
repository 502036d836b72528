"""One run: a cluster, its clients, its operator and its faults, from bootstrap to convergence."""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.raft.messages import Message
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import Effects, Persist, SendSnapshot
from raftkv.replica.inputs import PeerLevel
from raftkv.replica.levels import LEVEL
from raftkv.replica.membership import bootstrap_entries, bootstrap_hard_state
from raftkv.values import Member, MemberId
from tests.simulation.clusters.clients import Clients
from tests.simulation.clusters.disk import BackendState, Disk
from tests.simulation.clusters.faults import Faults
from tests.simulation.clusters.lease_clients import LeaseClients
from tests.simulation.clusters.member import SimulatedMember
from tests.simulation.clusters.network import Network
from tests.simulation.clusters.operations import Operations
from tests.simulation.clusters.watching import Watching
from tests.simulation.clusters.world import MILLISECOND, SECOND, Violation, World

RUN = 30 * SECOND
"""Least simulated time under faults (docs: a seed is at least 30 s, 200 operations, 5 faults)."""
OPERATIONS_MIN = 200
FAULTS_MIN = 5
CONVERGE_WITHIN = 120 * SECOND
"""Long, because limits may be so small that each entry takes a round trip of its own (seed 805211)."""
LEASES_END_WITHIN = 20 * SECOND
NEWCOMERS_END_WITHIN = 20 * SECOND


@dataclass(frozen=True)
class SeedReport:
    """What one seed did."""

    seed: int
    trace_hash: str
    simulated_s: float
    operations_count: int
    completed_count: int
    faults_count: int
    elections_count: int
    snapshots_count: int
    changes_count: int


class Cluster:
    """Everything of one run."""

    def __init__(self, world: World, *, disk_forgets: frozenset[str] = frozenset()) -> None:
        self.world = world
        self.watching = Watching()
        self.watching.on_send_snapshot = self._send_snapshot
        self.members: dict[int, SimulatedMember] = {}
        self.network = Network(world, self._deliver)
        self.clients = Clients(world, self.watching, self.members)
        self.lease_clients = LeaseClients(world, self.watching, self.members)
        self.operations = Operations(world, self.members)
        self.faults = Faults(world, self.network, self.members, self.operations)
        self.watching.on_new_leader = self.faults.on_new_leader
        self.watching.on_replacing_write = self.faults.on_replacing_write
        self._disk_forgets = disk_forgets
        self._settings = self._draw_settings()

    def _draw_settings(self) -> RaftSettings:
        """Small limits make rare paths common: snapshots, full windows, split appends."""
        world = self.world
        return RaftSettings(
            election_ticks=world.between(4, 10),
            max_append_bytes=world.choose([1, 1, 300, 1 << 20]),
            max_inflight_messages=world.choose([1, 2, 8, 256]),
            max_inflight_bytes=world.choose([200, 1 << 20]),
            max_uncommitted_bytes=world.choose([300, 5000, 1 << 20]),
            max_pending_batches=world.choose([4, 1000]),
            retain_entries=world.choose([0, 2, 10, 50, 1000]),
            retain_bytes=world.choose([500, 1 << 20]),
            hold_entries=world.choose([5, 100, 1 << 20]),
            hold_bytes=world.choose([2000, 1 << 20]),
            proposal_ticks=world.between(15, 60),
            newcomer_ticks=world.choose([20, 200, 2000]),
        )

    # ---- running ---------------------------------------------------------------------

    def run(self) -> SeedReport:
        """Run to the end; raises ``Violation`` when something is wrong."""
        world = self.world
        self._bootstrap(world.choose([1, 2, 3, 3, 3, 3, 5, 5]))
        self.clients.start(world.between(2, 8), world.between(50, 700) * MILLISECOND)
        self.lease_clients.start(world.between(0, 3))
        self.faults.start(world.choose([500, 1000, 2500]) * MILLISECOND)
        end = RUN
        world.run_until(end)
        while (
            self.clients.operations_count < OPERATIONS_MIN or self.faults.count < FAULTS_MIN
        ) and end < 10 * RUN:
            end += RUN // 6
            world.run_until(end)
        self.faults.heal()
        self._converge()
        return SeedReport(
            world.seed,
            world.trace_hash(),
            world.now / SECOND,
            self.clients.operations_count,
            self.clients.completed_count,
            self.faults.count,
            len(self.watching.elections.leaders),
            self.watching.snapshots_count,
            self.operations.done_count,
        )

    def _converge(self) -> None:
        """Without faults, clients are served again, and all members end equal."""
        world = self.world
        completed = self.clients.completed_count
        give_up = world.now + CONVERGE_WITHIN
        while self.clients.completed_count < completed + 20:
            if world.now >= give_up:
                raise Violation("liveness: no progress after all faults healed")
            world.run_until(world.now + SECOND)
        self.clients.is_open = False
        self.lease_clients.is_open = False
        give_up = world.now + CONVERGE_WITHIN
        while not self._is_settled():
            if world.now >= give_up:
                break
            world.run_until(world.now + SECOND // 2)
        self.clients.check_answers()
        self._check_leases_end()
        self._check_newcomers_end()
        self.watching.durability.check_end(self._ends())

    def _check_leases_end(self) -> None:
        """What nobody keeps alive any more ends, on every member."""
        give_up = self.world.now + LEASES_END_WITHIN
        while any(m.machine.lessor.leases for m in self._current_members() if m.machine):
            if self.world.now >= give_up:
                raise Violation("liveness: leases that nobody keeps alive do not end")
            self.world.run_until(self.world.now + SECOND)

    def _check_newcomers_end(self) -> None:
        """Whoever waits for its vote gets it, or is dropped; the level is what all understand."""
        running = [m for m in self.members.values() if m.is_running]
        for number, member in enumerate(running):
            for other in running[:number]:
                self._exchange_levels(member, other)
        give_up = self.world.now + NEWCOMERS_END_WITHIN
        while not self._has_no_newcomers():
            if self.world.now >= give_up:
                raise Violation("liveness: a new voter waits for ever, or the level does not rise")
            self.world.run_until(self.world.now + SECOND)

    def _has_no_newcomers(self) -> bool:
        members = self._current_members()
        level = min(m.level for m in members)
        return all(
            m.replica is not None
            and m.replica.membership.level == level
            and not any(known.wants_vote for known in m.replica.membership.members.values())
            for m in members
        )

    def _current_members(self) -> list[SimulatedMember]:
        """Members of the newest membership that run; others may know less for ever."""
        newest = max(
            (m for m in self.members.values() if m.replica is not None),
            key=lambda m: m.replica.applied_index if m.replica else 0,
        )
        assert newest.replica is not None
        current = newest.replica.membership.members
        return [m for m in self.members.values() if m.member_id in current and m.is_running]

    def _ends(self) -> list[tuple[int, int, int]]:
        return [
            (m.member_id, m.replica.applied_index, m.machine.chain)
            for m in self._current_members()
            if m.replica is not None and m.machine is not None
        ]

    def _is_settled(self) -> bool:
        ends = {(applied, chain) for _, applied, chain in self._ends()}
        lasts = {m.replica.last_index for m in self._current_members() if m.replica is not None}
        return len(ends) == 1 and lasts == {applied for applied, _ in ends}

    # ---- members ---------------------------------------------------------------------

    def _bootstrap(self, count: int) -> None:
        members = [
            Member(MemberId(i), f"m{i}", (f"http://{i}:2380",)) for i in range(1, count + 1)
        ]
        entries = bootstrap_entries(members)
        hard_state = bootstrap_hard_state(len(entries))
        self.world.tell(f"seed {self.world.seed}: {count} members, {self._settings}")
        for member in members:
            disk = self._make_disk()
            disk.log.write(Persist(0, hard_state, entries, None, must_sync=True))
            self._add_member(member.member_id, disk, self.world.choose([LEVEL, LEVEL - 1]))

    def _start_new_member(self, member_id: int) -> None:
        self._add_member(member_id, self._make_disk())

    def _make_disk(self) -> Disk:
        disk = Disk(self.world, forgets=self._disk_forgets)
        disk.latency_max = self.world.choose([1, 5, 30]) * MILLISECOND
        return disk

    def _add_member(self, member_id: int, disk: Disk, level: int = LEVEL) -> None:
        member = SimulatedMember(
            self.world,
            self.network,
            self.watching,
            self,
            self._settings,
            member_id,
            disk,
            tick=self.world.between(45, 55) * MILLISECOND,
            level=level,
        )
        self.members[member_id] = member
        member.start()

    def on_effects(self, member: SimulatedMember, effects: Effects) -> None:
        """Pass outcomes on to those who wait for them."""
        self.clients.on_effects(member, effects)
        self.lease_clients.on_effects(member, effects)
        if effects.propose and self.faults.is_active and self.world.happens(0.2):
            # What a leader's clock says comes late, when another one leads.
            self.operations.transfer_from(member)
        self.operations.on_effects(member, effects)
        if effects.membership_changed and member.replica is not None:
            # The operator starts what the cluster says is a member, whoever answered or did not.
            for member_id in sorted(member.replica.membership.members):
                if member_id not in self.members:
                    self._start_new_member(member_id)
            self.faults.on_membership_changed(member)

    def on_start(self, member: SimulatedMember) -> None:
        """Connections come to stand, and both sides tell what they understand."""
        for other in list(self.members.values()):
            if other is not member and other.is_running and self.world.happens(0.8):
                self._exchange_levels(member, other)

    def _exchange_levels(self, member: SimulatedMember, other: SimulatedMember) -> None:
        for listener, teller in ((member, other), (other, member)):
            told = PeerLevel(MemberId(teller.member_id), teller.level)
            self.world.after(self.world.between(1, 50) * MILLISECOND, listener.submit, told)

    # ---- transport -------------------------------------------------------------------

    def _deliver(self, sender: int, to: int, message: Message) -> None:
        member = self.members.get(to)
        if member is None or member.replica is None:
            return
        if sender in member.replica.membership.removed:
            # The transport answers 410 to removed members; the sender learns of its removal.
            removed = self.members[sender]
            if removed.is_running:
                removed.stop_removed()
            return
        member.deliver(sender, message)

    def _send_snapshot(self, sender: SimulatedMember, wanted: SendSnapshot) -> None:
        """Stream what the backend holds durably at that moment."""
        state = sender.disk.backend
        if state.index < wanted.at_least:
            raise Violation(f"snapshot at {wanted.at_least} wanted, durable is {state.index}")
        self.watching.keep_snapshot(state)
        delay = self.world.between(5 * MILLISECOND, 800 * MILLISECOND)
        self.world.tell(
            f"member {sender.member_id} streams its state at {state.index} to {wanted.to}"
        )
        self.world.after(delay, self._arrive_snapshot, sender, sender.life, wanted, state)

    def _arrive_snapshot(
        self, sender: SimulatedMember, life: int, wanted: SendSnapshot, state: BackendState
    ) -> None:
        target = self.members.get(wanted.to)
        is_lost = (
            target is None
            or not target.is_running
            or self.world.happens(0.2)
            or self.network.is_cut(sender.member_id, wanted.to)
        )
        if not is_lost:
            assert target is not None
            target.receive_snapshot(sender.member_id, wanted.term, state)
        sender.report_snapshot(life, wanted.to, state.index, is_accepted=not is_lost)
