"""A model with N units of the charm that run the real `decide` under random event orders.

Juju here compares states, as the real agent does: a hook is due while what a unit has been told
differs from what is there. Hooks of different units overlap: one is *begun* (facts are read, the
plan is made) and *ended* later (steps run, databags flush), with other units' halves in between.
A hook can fail before, between and after its steps; then nothing that it wrote becomes visible,
while what it did to the cluster stays. Leadership moves at any time, and a flush by a unit that
has lost it is refused. There is no update-status: what waits must be woken by what it names.
"""

import random
from dataclasses import dataclass, field, replace

from tests.simulation.charm.cluster_model import Cluster

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import (
    NO_MEMBER,
    Claim,
    DataState,
    EngineFacts,
    Facts,
    MemberId,
    PeerUnit,
    Turn,
    UnitName,
    name_member,
)
from etcd_charm.cluster.leaving import LEAVE_TRIES, Farewell, decide_leave, is_removal_known
from etcd_charm.cluster.membership import decide_ghosts
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.settings import Settings
from etcd_charm.cluster.steps import (
    MEMBERSHIP_STEPS,
    AddLearner,
    FoundCluster,
    Plan,
    Promote,
    RemoveMember,
    RestartMember,
    SetDataAside,
    StartJoiner,
    StartMember,
    Step,
    UpdateMember,
    WokenBy,
)

RETRY_S = 10
BOOT_HOOKS = ("install", "cluster-relation-created", "config-changed", "start")


@dataclass
class AppBag:
    claim: Claim | None = None
    cluster_id: str = ""
    turn: Turn | None = None
    has_authorities: bool = False


@dataclass
class Unit:
    name: UnitName
    boot_left: list[str] = field(default_factory=lambda: list(BOOT_HOOKS))
    in_scope: bool = False
    is_dying: bool = False
    is_dead: bool = False
    """Gone from the model; its machine is off."""
    elected: bool = False
    bag: PeerUnit | None = None
    bag_version: int = 0
    nonce: str = ""
    heard: dict[UnitName, int] = field(default_factory=dict)
    """Versions of other units' bags that this unit has been told of."""
    heard_app: int = 0
    cached: dict[UnitName, PeerUnit] = field(default_factory=dict)
    wake_at_s: int | None = None
    teardown: list[str] = field(default_factory=list)
    failed_hook: str | None = None
    # the machine
    cluster: Cluster | None = None
    member_id: MemberId = NO_MEMBER
    founded_token: str = ""
    started_with: str = ""
    has_left: bool = False
    absences: tuple[tuple[MemberId, int], ...] = ()
    wanted: str = "config-1"
    last_plan: Plan | None = None

    @property
    def peer_url(self) -> str:
        return f"https://10.0.0.{self.name.partition('/')[2]}:2380"

    @property
    def is_running(self) -> bool:
        member = self.cluster.members.get(self.member_id) if self.cluster else None
        return member is not None and member.is_running


@dataclass
class OpenHook:
    """A hook that has begun and not ended."""

    hook: str
    facts: Facts
    plan: Plan
    was_leader: bool


class World:
    """The model. All chance comes from one seeded generator."""

    def __init__(self, seed: int, *, leader_hears_itself: bool) -> None:
        self.rng = random.Random(seed)
        self.now_s = 1000
        self.units: dict[UnitName, Unit] = {}
        self.leader: UnitName | None = None
        self.app = AppBag()
        self.app_version = 0
        self.leader_hears_itself = leader_hears_itself
        self.clusters: list[Cluster] = []
        self.open_hooks: dict[UnitName, OpenHook] = {}
        self.next_number = 0
        self.faults = True
        self.trace: list[str] = []
        self.hooks_run = 0

    # --- what the operator and the world do ---

    def add_unit(self) -> Unit:
        unit = Unit(UnitName(f"etcd/{self.next_number}"))
        self.next_number += 1
        self.units[unit.name] = unit
        self.leader = self.leader or unit.name
        return unit

    @property
    def present(self) -> list[Unit]:
        return [unit for unit in self.units.values() if not unit.is_dead]

    @property
    def staying(self) -> list[Unit]:
        return [unit for unit in self.present if not unit.is_dying]

    def remove_unit(self, unit: Unit) -> None:
        unit.is_dying = True
        self.trace.append(f"{unit.name} is dying")
        if unit.boot_left[:1] == ["install"]:
            self._bury(unit)
            return
        known = sorted(unit.heard)
        unit.teardown = ["storage-detaching", *(f"departed {name}" for name in known), "stop"]

    def kill_unit(self, unit: Unit) -> None:
        """Remove by force: the machine is off, Juju forgets the unit without hooks."""
        self.trace.append(f"{unit.name} is removed by force")
        self._stop_engine(unit)
        self._bury(unit)

    def reboot(self, unit: Unit) -> None:
        self.trace.append(f"{unit.name} reboots")
        self.open_hooks.pop(unit.name, None)
        if unit.boot_left[:1] != ["install"] and "start" not in unit.boot_left:
            unit.boot_left = ["start", *unit.boot_left]

    def lose_data(self, unit: Unit) -> None:
        self.trace.append(f"{unit.name} loses its data")
        self.open_hooks.pop(unit.name, None)
        self._stop_engine(unit)
        unit.cluster, unit.member_id, unit.started_with = None, NO_MEMBER, ""
        if "start" not in unit.boot_left:
            unit.boot_left = ["start", *unit.boot_left]

    def move_leadership(self) -> None:
        candidates = [unit.name for unit in self.staying if unit.name != self.leader]
        if candidates:
            self._lead(self.rng.choice(candidates))

    def _lead(self, name: UnitName) -> None:
        self.leader = name
        self.units[name].elected = True
        self.trace.append(f"{name} leads")

    def _bury(self, unit: Unit) -> None:
        unit.is_dead = True
        unit.is_dying = True
        self._stop_engine(unit)
        self.open_hooks.pop(unit.name, None)
        if self.leader == unit.name:
            self.leader = None
            candidates = self.staying or self.present
            if candidates:
                self._lead(self.rng.choice(candidates).name)

    def _stop_engine(self, unit: Unit) -> None:
        member = unit.cluster.members.get(unit.member_id) if unit.cluster else None
        if member is not None:
            member.is_running = False

    # --- which hook is due ---

    def due_hook(self, unit: Unit) -> str | None:
        """Return the next hook of a unit, by comparing states in the agent's order."""
        if unit.is_dead or unit.name in self.open_hooks:
            return None
        if unit.failed_hook is not None:
            return unit.failed_hook
        if unit.is_dying:
            return unit.teardown[0] if unit.teardown else None
        if unit.boot_left:
            return unit.boot_left[0]
        if unit.elected:
            return "leader-elected"
        if unit.wake_at_s is not None and unit.wake_at_s <= self.now_s:
            return "cluster-wake"
        return self._due_relation_hook(unit)

    def _due_relation_hook(self, unit: Unit) -> str | None:
        due = [f"departed {n}" for n in sorted(unit.heard) if self._is_departing(n)]
        if self.app_version > unit.heard_app:
            is_own = unit.name == self.leader and not self.leader_hears_itself
            if is_own:
                unit.heard_app = self.app_version
            else:
                due.append("app-changed")
        for other in self.present:
            if other.name == unit.name or not other.in_scope or self._is_departing(other.name):
                continue
            if other.name not in unit.heard or other.bag_version > unit.heard[other.name]:
                due.append(f"changed {other.name}")
        return self.rng.choice(due) if due else None

    def _is_departing(self, name: UnitName) -> bool:
        return self.units[name].is_dead or self.units[name].is_dying

    # --- running hooks ---

    def begin(self, unit: Unit, hook: str) -> None:
        """Deliver what the hook tells, read facts, decide."""
        self.hooks_run += 1
        self._deliver(unit, hook)
        facts = self._read_facts(unit)
        is_leaving = hook in ("storage-detaching", "stop")
        plan = Plan() if is_leaving else decide(facts)
        self.open_hooks[unit.name] = OpenHook(hook, facts, plan, facts.is_leader)

    def _deliver(self, unit: Unit, hook: str) -> None:
        word, _, other = hook.partition(" ")
        if word == "changed":
            name = UnitName(other)
            bag = self.units[name].bag
            unit.heard[name] = self.units[name].bag_version
            unit.cached[name] = bag if bag is not None else PeerUnit(name)
        elif word == "departed":
            unit.heard.pop(UnitName(other), None)
            unit.cached.pop(UnitName(other), None)
        elif word == "app-changed":
            unit.heard_app = self.app_version
        elif word == "cluster-wake":
            unit.wake_at_s = None
        elif word == "leader-elected":
            unit.elected = False
        elif word == "cluster-relation-created":
            unit.in_scope = True

    def end(self, unit: Unit) -> None:
        """Run the steps and flush; either may fail."""
        opened = self.open_hooks.pop(unit.name)
        fails_before = self.faults and self.rng.random() < 0.03
        fails_after = self.faults and self.rng.random() < 0.03
        if opened.hook in ("storage-detaching", "stop"):
            ok = not fails_before and self._leave(unit) and not fails_after
            self._finish(unit, opened.hook, ok=ok)
            return
        if fails_before:
            self._finish(unit, opened.hook, ok=False)
            return
        ok = self._run_plan(unit, opened, fails_after=fails_after)
        self._finish(unit, opened.hook, ok=ok)

    def _run_plan(self, unit: Unit, opened: OpenHook, *, fails_after: bool) -> bool:
        changes = [step for step in opened.plan.steps if isinstance(step, MEMBERSHIP_STEPS)]
        assert len(changes) <= 1, "at most one membership change per hook"
        plan, done = opened.plan, []
        for step in plan.steps:
            if self.faults and self.rng.random() < 0.02:
                return False
            try:
                self._execute(unit, step, opened.facts)
            except Retry as obstacle:
                plan = replace(plan, waiting=None)
                unit.wake_at_s = self.now_s + RETRY_S
                self.trace.append(f"{unit.name}: {step} not now: {obstacle}")
                break
            done.append(step)
            self.trace.append(f"{unit.name} ({opened.hook}): {step}")
        if fails_after:
            return False
        return self._flush(unit, opened, plan, done)

    def _flush(self, unit: Unit, opened: OpenHook, plan: Plan, done: list[Step]) -> bool:
        app = plan.app
        writes = app.claim or app.releases_claim or app.cluster_id or app.turn
        if (writes or app.makes_authorities) and self.leader != unit.name:
            return False
        self._write_app(plan)
        self._write_bag(unit, plan, done)
        unit.absences = plan.absent_since_s
        unit.last_plan = plan
        if plan.waiting is not None and plan.waiting.woken_by is WokenBy.TIMER:
            unit.wake_at_s = self.now_s + max(1, plan.waiting.after_s)
        return True

    def _write_app(self, plan: Plan) -> None:
        before = replace(self.app)
        app = plan.app
        if app.makes_authorities:
            self.app.has_authorities = True
        if app.claim is not None and self.app.claim is None:
            self.app.claim = app.claim
        if app.releases_claim:
            self.app.claim = None
        if app.cluster_id is not None:
            self.app.cluster_id = app.cluster_id
        if app.turn is not None:
            self.app.turn = app.turn
        if self.app != before:
            self.app_version += 1

    def _write_bag(self, unit: Unit, plan: Plan, done: list[Step]) -> None:
        if not unit.in_scope:
            return
        view = self._look(unit, self._read_peers(unit), flaky=False)
        member = view.find(unit.name, unit.peer_url) if view and unit.is_running else None
        known = unit.bag.member_id if unit.bag else NO_MEMBER
        member_id = member.member_id if member else known
        role = "" if member is None else str(member.is_learner)
        bag = PeerUnit(
            unit.name,
            unit.peer_url,
            unit.peer_url.replace("2380", "2379"),
            member_id,
            plan.restart_wanted,
            turn_done=plan.turn_done,
            server_ca=role,
        )
        nonce = unit.nonce
        if any(isinstance(step, MEMBERSHIP_STEPS) for step in done):
            nonce = f"{self.now_s}-{self.hooks_run}"
        if bag != unit.bag or nonce != unit.nonce:
            unit.bag, unit.nonce = bag, nonce
            unit.bag_version += 1

    def _finish(self, unit: Unit, hook: str, *, ok: bool) -> None:
        if unit.is_dead:
            return
        if not ok:
            unit.failed_hook = hook
            self.trace.append(f"{unit.name}: hook {hook} failed")
            return
        unit.failed_hook = None
        if unit.is_dying:
            if unit.teardown and unit.teardown[0] == hook:
                unit.teardown.pop(0)
            if not unit.teardown:
                self._bury(unit)
        elif unit.boot_left and unit.boot_left[0] == hook:
            unit.boot_left.pop(0)

    # --- facts ---

    def _read_peers(self, unit: Unit) -> tuple[PeerUnit, ...]:
        return tuple(unit.cached[name] for name in sorted(unit.cached))

    def _look(self, unit: Unit, peers: tuple[PeerUnit, ...], *, flaky: bool = True):
        """Ask through this unit's own member or through members that its peers show."""
        if flaky and self.faults and self.rng.random() < 0.05:
            return None
        doors = [unit] if unit.is_running else []
        doors += [self.units[peer.unit] for peer in peers if peer.member_id]
        for door in doors:
            if door.is_running and door.cluster is not None:
                view = door.cluster.view()
                if flaky and self.faults and self.rng.random() < 0.05:
                    return replace(view, has_quorum=False, leader_id=NO_MEMBER)
                return view
        return None

    def _read_facts(self, unit: Unit) -> Facts:
        peers = self._read_peers(unit)
        token = self.app.claim.token if self.app.claim else ""
        data = DataState.NEW
        if unit.cluster is not None:
            is_ours = self.app.claim is not None and bool(token)
            data = DataState.OURS if is_ours else DataState.FOREIGN
        engine = EngineFacts(
            is_running=unit.is_running,
            data=data,
            started_with=unit.started_with,
            founded_token=unit.founded_token,
            has_left=unit.has_left,
        )
        return Facts(
            unit=unit.name,
            settings=Settings(),
            is_leader=self.leader == unit.name,
            is_dying=unit.is_dying,
            units_alive=frozenset(other.name for other in self.staying),
            units_known=frozenset(other.name for other in self.present),
            peer_url=unit.peer_url,
            client_url=unit.peer_url.replace("2380", "2379"),
            has_peer_relation=unit.in_scope,
            has_authorities=self.app.has_authorities,
            claim=self.app.claim,
            cluster_id=self.app.cluster_id,
            turn=self.app.turn,
            turn_done=unit.bag.turn_done if unit.bag else 0,
            peers=peers,
            engine=engine,
            wanted=unit.wanted,
            view=self._look(unit, peers),
            absent_since_s=unit.absences,
            now_s=self.now_s,
            fresh_token=f"token-{unit.name}-{self.hooks_run}",
        )

    # --- effects ---

    def _execute(self, unit: Unit, step: Step, facts: Facts) -> None:
        cluster = self._reach_cluster(unit)
        match step:
            case FoundCluster(token):
                self._found(unit, token)
            case AddLearner(peer_url):
                self._need(cluster).add_learner(peer_url, self.rng.randrange(3))
            case StartJoiner():
                self._start_joiner(unit, self._need(cluster))
            case StartMember():
                self._start(unit)
            case RestartMember(wanted):
                unit.started_with = wanted
                self._check_restart(unit)
            case Promote(member_id):
                self._need(cluster).promote(member_id)
            case RemoveMember(member_id):
                self._check_removal(unit, self._need(cluster), member_id)
                self._need(cluster).remove(member_id)
            case UpdateMember(member_id, peer_url):
                self._need(cluster).update(member_id, peer_url)
            case SetDataAside():
                self._stop_engine(unit)
                unit.cluster, unit.member_id, unit.started_with = None, NO_MEMBER, ""
        del facts

    def _reach_cluster(self, unit: Unit) -> Cluster | None:
        doors = [unit, *(self.units[peer.unit] for peer in self._read_peers(unit))]
        return next((door.cluster for door in doors if door.is_running), None)

    @staticmethod
    def _need(cluster: Cluster | None) -> Cluster:
        if cluster is None:
            raise Retry("no member answers")
        return cluster

    def _found(self, unit: Unit, token: str) -> None:
        cluster = Cluster(cluster_id=len(self.clusters) + 1)
        self.clusters.append(cluster)
        assert len(self.clusters) == 1, "the cluster is founded once"
        unit.cluster = cluster
        unit.member_id = cluster.found(name_member(unit.name), unit.peer_url)
        unit.founded_token = token
        unit.started_with = unit.wanted

    def _start_joiner(self, unit: Unit, cluster: Cluster) -> None:
        mine = [m for m in cluster.members.values() if m.peer_url == unit.peer_url]
        if not mine:
            raise Retry("the member list does not show this unit yet")
        assert not mine[0].name, "a member that has run never starts on empty data"
        unit.cluster, unit.member_id = cluster, mine[0].member_id
        unit.started_with = unit.wanted
        mine[0].name = name_member(unit.name)
        mine[0].is_running = True

    def _start(self, unit: Unit) -> None:
        assert unit.cluster is not None
        member = unit.cluster.members.get(unit.member_id)
        if member is not None:
            member.is_running = True
            unit.started_with = unit.wanted

    def _check_restart(self, unit: Unit) -> None:
        """No two voters may restart in hooks that overlap."""
        if not self._votes(unit):
            return
        also = [
            name
            for name, opened in self.open_hooks.items()
            if any(isinstance(step, RestartMember) for step in opened.plan.steps)
            and self._votes(self.units[name])
        ]
        assert not also, f"{unit.name} and {also} restart at once"

    @staticmethod
    def _votes(unit: Unit) -> bool:
        member = unit.cluster.members.get(unit.member_id) if unit.cluster else None
        return member is not None and not member.is_learner

    def _check_removal(self, unit: Unit, cluster: Cluster, member_id: MemberId) -> None:
        member = cluster.members.get(member_id)
        if member is None or not member.name:
            return
        staying = {name_member(other.name) for other in self.staying}
        is_own = member.name == name_member(unit.name)
        assert is_own or member.name not in staying, f"{member.name} is removed though it stays"

    # --- leaving ---

    def _leave(self, unit: Unit) -> bool:
        decision = decide_leave(self._read_facts(unit))
        for _ in range(LEAVE_TRIES):
            if decision.farewell is Farewell.STOP or self._try_leaving(unit, decision):
                self._stop_engine(unit)
                return True
            self.now_s += 1
            facts = self._read_facts(unit)
            decision = decide_leave(facts)
            self._apply_ghost_rule(unit, facts)
        if decision.farewell is Farewell.ABANDON:
            self._stop_engine(unit)
            return True
        return False

    def _apply_ghost_rule(self, unit: Unit, facts: Facts) -> None:
        if facts.view is None:
            return
        step, unit.absences = decide_ghosts(facts, facts.view)
        if step is not None:
            try:
                self._execute(unit, step, facts)
            except Retry:
                return

    def _try_leaving(self, unit: Unit, decision) -> bool:
        if decision.farewell is not Farewell.LEAVE or not decision.helpers:
            return False
        cluster = unit.cluster or self._reach_cluster(unit)
        try:
            self._need(cluster).remove(decision.member_id)
        except Retry:
            return False
        lists = {
            m.peer_url: frozenset(cluster.members) if m.is_running else None
            for m in cluster.members.values()
            if not m.is_learner
        }
        if not is_removal_known(lists, decision.member_id):
            return False
        unit.has_left = True
        return True

    # --- time ---

    def step(self) -> bool:
        """Let one thing happen; return whether anything could."""
        choices = [("end", self.units[name], "") for name in sorted(self.open_hooks)]
        for unit in self.present:
            hook = self.due_hook(unit)
            if hook is not None:
                choices.append(("begin", unit, hook))
        if choices:
            kind, unit, hook = self.rng.choice(choices)
            self.now_s += self.rng.randrange(2)
            if kind == "begin":
                self.begin(unit, hook)
            else:
                self.end(unit)
            return True
        timers = [u.wake_at_s for u in self.staying if u.wake_at_s is not None]
        if not timers:
            return False
        self.now_s = max(self.now_s, min(timers))
        return True
