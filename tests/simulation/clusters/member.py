"""One simulated member: the loop of a driver around the production replica, in a hundred lines.

Inputs gather in an inbox; a turn of the loop hands them all to one ``step_many`` and carries the
effects out. A crash throws away everything but the disk.
"""

from __future__ import annotations

from typing import Protocol

from raftkv.lease.lessor import Lessor
from raftkv.raft.member_state import RoleName
from raftkv.raft.messages import Message, Snapshot
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import Effects, InstallSnapshot, Persist, SendSnapshot
from raftkv.replica.inputs import (
    Boot,
    Input,
    PeerMessage,
    Persisted,
    Propose,
    SnapshotInstalled,
    SnapshotSent,
    Synced,
    Tick,
)
from raftkv.replica.step import Replica
from raftkv.values import Index, MemberId, Term
from tests.simulation.clusters.disk import BackendState, Disk
from tests.simulation.clusters.machine import Registers
from tests.simulation.clusters.network import Network
from tests.simulation.clusters.watching import Watching
from tests.simulation.clusters.world import MILLISECOND, SECOND, Violation, World

FLUSH_INTERVAL = 300 * MILLISECOND


class Outcomes(Protocol):
    """Who hears about tokens: the clients and operators."""

    def on_effects(self, member: SimulatedMember, effects: Effects) -> None:
        """Results, rejections and finished reads of one step."""

    def on_start(self, member: SimulatedMember) -> None:
        """A member's process began."""


class SimulatedMember:
    """A process that can be started and crashed, and the disk that stays."""

    def __init__(
        self,
        world: World,
        network: Network,
        watching: Watching,
        outcomes: Outcomes,
        settings: RaftSettings,
        member_id: int,
        disk: Disk,
        *,
        tick: int,
        level: int,
    ) -> None:
        self.world = world
        self.network = network
        self.watching = watching
        self.outcomes = outcomes
        self.settings = settings
        self.member_id = member_id
        self.disk = disk
        self.tick = tick
        self.level = level
        """What its version understands."""
        self.replica: Replica | None = None
        self.machine: Registers | None = None
        self.life = 0
        """Counts starts; events of an earlier life find that it is over."""
        self.is_removed = False
        self.paused_until = 0
        self._inbox: list[Input] = []
        self._turn_is_due = False
        self._staged: BackendState | None = None
        self._is_syncing = False
        self._last_told: tuple[object, ...] = ()
        self._clock_offset = 0
        """Members' clocks agree on nothing but their speed."""

    # ---- life ------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self.replica is not None

    def start(self) -> None:
        """Start on what the disk holds."""
        disk = self.disk
        disk.incarnation += 1
        self.life += 1
        backend = disk.backend
        self.machine = Registers(
            self.member_id,
            self.watching.applied,
            dict(backend.values),
            backend.leases,
            self._lease_ended,
        )
        self.machine.chain = backend.chain
        log = disk.log
        hard = log.hard_state
        boot = Boot(
            MemberId(self.member_id),
            disk.incarnation,
            (hard.term, hard.vote, hard.commit),
            log.start,
            log.start_term,
            tuple(log.entries),
            backend.index,
            backend.term,
            backend.replica_state,
        )
        seed = self.world.between(1, 1 << 30)
        self._clock_offset = self.world.below(1 << 40)
        extra_ms = self.settings.election_ticks * self.tick // MILLISECOND
        self.replica = Replica(self.settings, boot, self.machine, seed, extra_ms, self.level)
        self._inbox = []
        self._turn_is_due = False
        self._staged = None
        self._is_syncing = False
        self._last_told = ()
        self.world.tell(
            f"member {self.member_id} starts (life {self.life}, level {self.level}): "
            f"term {hard.term}, log "
            f"{log.start}+{len(log.entries)}, applied {backend.index}"
        )
        self.world.after(self.world.below(self.tick), self._tick, self.life)
        self.world.after(FLUSH_INTERVAL, self._flush, self.life)
        self.outcomes.on_start(self)

    def crash(self) -> None:
        """Stop at once; the disk keeps what it has."""
        self.world.tell(f"member {self.member_id} crashes")
        self.replica = None
        self.machine = None
        self.life += 1
        self.disk.crash()

    def submit(self, happened: Input) -> None:
        """Put something into the inbox of the next turn."""
        if self.replica is None:
            return
        self._inbox.append(happened)
        if not self._turn_is_due:
            self._turn_is_due = True
            delay = max(0, self.paused_until - self.world.now) + self.world.below(500)
            self.world.after(delay, self._turn, self.life)

    def _turn(self, life: int) -> None:
        if life != self.life or self.replica is None:
            return
        self._turn_is_due = False
        inputs, self._inbox = self._inbox, []
        replica = self.replica
        self._carry_out(replica.step_many(inputs, may_put_off=True))
        if replica.has_put_off and self.replica is replica:
            self._carry_out(replica.step_many(()))

    def _tick(self, life: int) -> None:
        if life == self.life:
            self.submit(Tick((self.world.now + self._clock_offset) // MILLISECOND))
            self.world.after(self.tick, self._tick, life)

    # ---- effects ---------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        replica = self.replica
        assert replica is not None
        world = self.world
        self.watching.on_step(self.member_id, replica, effects)
        world.note(self.member_id, replica.term, replica.commit_index, replica.last_index)
        if world.is_talking:
            self._tell(replica)
        for persist in effects.persist:
            self._persist(persist)
        for send in effects.send:
            self.network.send(self.member_id, send.to, send.message)
        if effects.trim_log_to is not None:
            # After all writes that are queued: the log file is one queue.
            self.disk.log.trim(min(effects.trim_log_to, self._written_index()))
        for snapshot in effects.send_snapshot:
            self.watching.on_send_snapshot(self, snapshot)
        if effects.install_snapshot is not None:
            world.after(
                self.disk.latency() * 3, self._install, self.life, effects.install_snapshot
            )
        if effects.diverged_at:
            raise Violation(f"member {self.member_id} is told that it differs, and it does not")
        for command in effects.propose:
            # A driver may hold a command back for a while, until there is a leader again.
            delay = world.below(2 * SECOND) if world.happens(0.3) else 0
            world.after(delay, self._propose_own, self.life, command)
        self.outcomes.on_effects(self, effects)
        if effects.removed:
            self.stop_removed()

    def stop_removed(self) -> None:
        """This member was removed: it stops for good."""
        if self.is_removed:
            return
        self.world.tell(f"member {self.member_id} stops: removed")
        self.is_removed = True
        self.replica = None
        self.machine = None
        self.life += 1

    def _propose_own(self, life: int, command: bytes) -> None:
        if life == self.life:
            self.submit(Propose((command,), (None,)))

    def _lease_ended(self, lease_id: int) -> None:
        self.watching.leases.on_ended(lease_id, self.world.now)

    def _written_index(self) -> int:
        log = self.disk.log
        return log.start + len(log.entries)

    def _persist(self, persist: Persist) -> None:
        if self.disk.enqueue(persist):
            self.watching.on_replacing_write(self.member_id)
        if persist.must_sync:
            self.world.after(self.disk.latency(), self._persisted, self.life, persist.sequence)

    def _persisted(self, life: int, sequence: int) -> None:
        if life != self.life:
            return
        stall = self.disk.stalled_until - self.world.now
        if stall > 0:
            self.world.after(stall + 1, self._persisted, life, sequence)
            return
        self.disk.sync_through(sequence)
        self.submit(Persisted(sequence))

    # ---- backend ---------------------------------------------------------------------

    def _flush(self, life: int) -> None:
        """Commit the state to the backend now, and sync it a little later."""
        if life != self.life or self.replica is None or self.machine is None:
            return
        self.world.after(FLUSH_INTERVAL, self._flush, life)
        if self._is_syncing or self.replica.applied_index == self.disk.backend.index:
            return
        state = BackendState(
            self.replica.applied_index,
            self.replica.applied_term,
            dict(self.machine.values),
            self.machine.chain,
            self.replica.encode_state(),
            self.machine.lease_rows(),
        )
        self.disk.staged_backend = state
        self._is_syncing = True
        self.world.after(self.disk.latency() * 2, self._synced, life, state)

    def _synced(self, life: int, state: BackendState) -> None:
        if life != self.life:
            return
        self._is_syncing = False
        if self.disk.staged_backend is not state:
            return  # A snapshot replaced the backend meanwhile.
        self.disk.backend = state
        self.disk.staged_backend = None
        self.submit(Synced(state.index))

    # ---- snapshots -------------------------------------------------------------------

    def receive_snapshot(self, sender: int, term: Term, state: BackendState) -> None:
        """The whole file arrived and was verified."""
        if self.replica is None:
            return
        self._staged = state
        message = Snapshot(term, state.index, state.term)
        self.submit(PeerMessage(MemberId(sender), message))

    def _install(self, life: int, wanted: InstallSnapshot) -> None:
        if life != self.life or self.replica is None or self.machine is None:
            return
        state = self._staged
        if state is None or state.index != wanted.index:
            state = self.watching.find_snapshot(wanted.index)
        self.disk.backend = state
        self.disk.staged_backend = None
        self.machine.values = dict(state.values)
        self.machine.chain = state.chain
        self.machine.lessor = Lessor.load(state.leases.items())
        self.world.tell(f"member {self.member_id} installed the snapshot at {state.index}")
        # The replica hears of it in the same turn: until it does, its applied index and the
        # backend do not belong together, and nothing may be flushed or read.
        self._inbox.append(SnapshotInstalled(state.index, state.term, state.replica_state))
        self._turn(life)

    def report_snapshot(self, life: int, to: int, index: Index, *, is_accepted: bool) -> None:
        """Streaming to a follower ended."""
        if life == self.life:
            self.submit(SnapshotSent(MemberId(to), index, is_accepted))

    def deliver(self, sender: int, message: Message) -> None:
        """A message arrived."""
        self.submit(PeerMessage(MemberId(sender), message))

    def _tell(self, replica: Replica) -> None:
        state = (replica.role, replica.term, replica.leader_id, replica.commit_index)
        if state != self._last_told:
            self._last_told = state
            self.world.tell(
                f"member {self.member_id} {replica.role.value:13} term {replica.term} leader "
                f"{replica.leader_id} log {replica.log_start}..{replica.last_index} commit "
                f"{replica.commit_index} applied {replica.applied_index} voters "
                f"{sorted(replica.membership.voters)} learners "
                f"{sorted(replica.membership.learners)}"
            )

    @property
    def leads(self) -> bool:
        """Tell whether this member believes that it leads."""
        return self.replica is not None and self.replica.role is RoleName.LEADER


__all__ = ["Outcomes", "SendSnapshot", "SimulatedMember"]
