"""A model with N units of the charm that run the real `decide` under random event orders.

Juju here compares states, as the real agent does: a hook is due while what a unit has been told
differs from what is there. Hooks of different units overlap: one is *begun* (facts are read, the
plan is made) and *ended* later (steps run, databags flush), with other units' halves in between.
A hook can fail before, between and after its steps; then nothing that it wrote becomes visible,
while what it did to the cluster stays. Leadership moves at any time, and a flush by a unit that
has lost it is refused. There is no update-status: what waits must be woken by what it names.
"""

import random
from dataclasses import replace

from etcd_charm.cluster import rebuild, restore
from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import NO_MEMBER, PeerUnit, Rebuild, Restore, RestoreState, UnitName
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.status import describe
from etcd_charm.cluster.steps import MEMBERSHIP_STEPS, Plan, Step, WokenBy
from tests.simulation.charm.actors import OpenHook, Unit
from tests.simulation.charm.machines import Machines

RETRY_S = 10


class World(Machines):
    """The model. All chance comes from one seeded generator."""

    def __init__(self, seed: int, *, leader_hears_itself: bool) -> None:
        super().__init__(random.Random(seed))
        self.app_version = 0
        self.leader_hears_itself = leader_hears_itself
        self.next_number = 0
        self.trace: list[str] = []

    # --- what the operator and the world do ---

    def add_unit(self) -> Unit:
        unit = Unit(UnitName(f"etcd/{self.next_number}"))
        self.next_number += 1
        self.units[unit.name] = unit
        self.leader = self.leader or unit.name
        return unit

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

    def rebuild(self) -> None:
        """Have the operator run rebuild-cluster on the leader."""
        assert self.leader is not None
        unit = self.units[self.leader]
        self.app.rebuild = Rebuild(f"rebuild-{self.hooks_run}")
        self.app_version += 1
        unit.wake_at_s = self.now_s
        self.trace.append(f"{unit.name} is to rebuild")

    def restore(self) -> bool:
        """Have the operator run the action on the leader; refused where it would be."""
        unit = self.units[self.leader] if self.leader else None
        if unit is None or unit.is_dying or unit.cluster is None or self.app.restore is not None:
            return False
        if unit.name in self.open_hooks or self.app.claim is None or not unit.in_scope:
            return False
        if self.app.rebuild is not None or unit.data_token != self.app.claim.token:
            return False
        order = Restore(f"restore-{self.hooks_run}", unit.name, f"token-{self.hooks_run}")
        unit.restore, unit.restore_state = order, RestoreState.READY
        unit.restored_from = self.app.claim.token
        self.app.restore = order
        self.app_version += 1
        unit.wake_at_s = self.now_s
        self.trace.append(f"{unit.name} is to restore {order.restore_id}")
        return True

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
                plan = replace(plan, waiting=None, app=replace(plan.app, access=None))
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
        writes = app.claim or app.releases_claim or app.cluster_id or app.turn or app.leader
        writes = writes or app.access is not None
        if (
            writes or app.makes_authorities or app.ends_restore or app.rebuild is not None
        ) and self.leader != unit.name:
            return False
        self._write_app(plan)
        self._write_bag(unit, plan, done)
        unit.absences = plan.absent_since_s
        unit.last_plan = plan
        unit.last_report = describe(self._read_facts(unit, flaky=False), plan)
        if plan.waiting is not None and plan.waiting.woken_by is WokenBy.TIMER:
            unit.wake_at_s = self.now_s + max(1, plan.waiting.after_s)
        return True

    def _write_app(self, plan: Plan) -> None:
        before = replace(self.app)
        app = plan.app
        if app.makes_authorities:
            self.app.has_authorities = True
        if app.claim is not None and (app.replaces_claim or self.app.claim is None):
            self.app.claim = app.claim
        if app.access is not None:
            self.app.access = app.access
        if app.rebuild is not None:
            self.app.rebuild = app.rebuild if isinstance(app.rebuild, Rebuild) else None
        if app.ends_restore:
            self.app.restore = None
        if app.releases_claim:
            self.app.claim = None
        if app.cluster_id is not None:
            self.app.cluster_id = app.cluster_id
        if app.leader is not None:
            self.app.leader = app.leader
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
            unit.client_url,
            member_id,
            plan.restart_wanted,
            turn_done=plan.turn_done,
            server_authorities=role,
            restore_step=restore.describe_step(self._read_facts(unit, flaky=False)),
            rebuild_step=rebuild.describe_step(self._read_facts(unit, flaky=False)),
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
