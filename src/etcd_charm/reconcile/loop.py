"""One hook: read Juju and the cluster, decide, carry out, tell the others.

Whatever happened since the last hook, this one starts from what is there now. It never defers: a
wait ends in a status, and in the plan's own word on who wakes the unit.
"""

import contextlib
import logging
import secrets
import time
from dataclasses import replace
from pathlib import Path

import ops

from etcd_charm.cluster import status, tls
from etcd_charm.cluster.consumers import is_publishable
from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import Facts, RestoreState
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.steps import (
    MEMBERSHIP_STEPS,
    Plan,
    Step,
    Waiting,
    WokenBy,
)
from etcd_charm.reconcile.gather import JujuFacts, gather
from etcd_charm.reconcile.goal_state import GoalState
from etcd_charm.reconcile.publish import Publisher
from etcd_charm.workload.engine import Prepared, Supplies, Workload

logger = logging.getLogger(__name__)

RETRY_S = 10
"""After a step that could not be done now."""
ELECTION_S = 5
"""An election takes a second or two; related applications are told after it."""
USERS_S = 1
"""Users of new consumers are the next hook's business."""
TOKEN_BYTES = 8
ENGINE_RESOURCES = {"raftkv": ("raftkv",), "etcd": ("etcd", "etcdctl")}


class Reconciler:
    """Brings one unit from what it is to what it should be."""

    def __init__(self, charm: ops.CharmBase, workload: Workload, goal_state: GoalState) -> None:
        self._charm = charm
        self._workload = workload
        self._goal_state = goal_state
        self._publisher = Publisher(charm)
        self._report: status.Report | None = None
        self._app_report: status.Report | None = None

    def run(self) -> None:
        """Reconcile; failures that the charm knows become a status, all others a hook error."""
        try:
            self._report = self._reconcile()
        except Retry as obstacle:
            self._report = status.Report(status.Level.WAITING, str(obstacle))
            self._workload.schedule_wake(self._charm.unit.name, RETRY_S, str(obstacle))
        except NeedsOperator as need:
            self._report = status.Report(status.Level.BLOCKED, str(need))

    def describe(self) -> status.Report:
        """Return the status: of the reconciliation in this hook, or of a look taken now."""
        return self._describe_both()[0]

    def describe_app(self) -> status.Report | None:
        """Return the application's status as its leader sees it; `None` where nothing is known."""
        return self._describe_both()[1]

    def _describe_both(self) -> tuple[status.Report, status.Report | None]:
        if self._report is None:
            self._report = self._look_only()
        return self._report, self._app_report

    def _look_only(self) -> status.Report:
        """Report for a hook that changes nothing (an action, a teardown).

        What it says has to be corrected by somebody too: a wait by timer is one here as well.
        """
        try:
            juju = gather(self._charm, self._goal_state)
        except Retry as obstacle:
            return status.Report(status.Level.WAITING, str(obstacle))
        if juju.problems:
            return self._report_problems(juju)
        facts = self.observe(juju, None)
        plan = decide(facts)
        if plan.waiting is not None and plan.waiting.woken_by is WokenBy.TIMER:
            waiting = plan.waiting
            self._workload.schedule_wake(juju.unit, waiting.after_s, waiting.reason)
        return self._report_on(facts, plan)

    def _report_problems(self, juju: JujuFacts) -> status.Report:
        """Wrong options are the application's: all units have the same."""
        self._app_report = status.describe_problems(juju.problems)
        return self._app_report

    def _report_on(self, facts: Facts, plan: Plan) -> status.Report:
        self._app_report = status.describe_app(facts, plan)
        return status.describe(facts, plan)

    def _reconcile(self) -> status.Report:
        juju = gather(self._charm, self._goal_state)
        if juju.is_dying:
            return self._reconcile_dying(juju)
        if juju.problems:
            return self._report_problems(juju)
        engine = juju.settings.engine
        version = self._workload.install(engine, self._fetch_supplies(engine))
        self._charm.unit.set_workload_version(version)
        wanted = juju.describe_wanted()
        prepared = self._workload.prepare(wanted, juju.storage) if wanted else None
        facts = self.observe(juju, prepared)
        plan = decide(facts)
        return self._carry_out(juju, prepared, facts, plan)

    def _reconcile_dying(self, juju: JujuFacts) -> status.Report:
        facts = self.observe(juju, None)
        plan = decide(facts)
        self._publisher.write_app(plan.app)
        return self._report_on(facts, plan)

    def _carry_out(
        self, juju: JujuFacts, prepared: Prepared | None, facts: Facts, plan: Plan
    ) -> status.Report:
        done, obstacle = self._execute(plan, facts)
        if done or obstacle:
            facts = self.observe(juju, prepared)
        if obstacle is not None:
            app = replace(plan.app, access=None)
            waiting = Waiting(str(obstacle), WokenBy.TIMER, RETRY_S)
            plan = replace(plan, app=app, waiting=waiting)
        if plan.app.access is not None:
            facts = replace(facts, access=plan.app.access)
        has_news = self._publish(juju, prepared, facts, plan, _name_change(done))
        self._workload.save_absences(plan.absent_since_s)
        if has_news and juju.is_leader and plan.waiting is None:
            plan = replace(plan, waiting=Waiting("making users", WokenBy.TIMER, USERS_S))
        if done and plan.waiting is None and not is_publishable(facts.view):
            # The look after the step met an election, of whose end nobody else tells this unit.
            reason = "waiting for an election to end"
            plan = replace(plan, waiting=Waiting(reason, WokenBy.TIMER, ELECTION_S))
        if plan.waiting is not None and plan.waiting.woken_by is WokenBy.TIMER:
            waiting = plan.waiting
            self._workload.schedule_wake(juju.unit, waiting.after_s, waiting.reason)
        return self._report_on(facts, plan)

    def _execute(self, plan: Plan, facts: Facts) -> tuple[list[Step], Retry | None]:
        done: list[Step] = []
        for step in plan.steps:
            logger.info("step: %s", step)
            try:
                self._workload.execute(step, facts.view)
            except Retry as obstacle:
                logger.info("not now: %s", obstacle)
                return done, obstacle
            done.append(step)
        return done, None

    def _publish(
        self, juju: JujuFacts, prepared: Prepared | None, facts: Facts, plan: Plan, nonce: str
    ) -> bool:
        publisher = self._publisher
        shown = tls.join_authorities(
            prepared.server_authority if prepared else "", juju.related_ca
        )
        publisher.write_app(plan.app)
        publisher.write_unit(juju, facts, plan, shown, nonce)
        publisher.request_certificate(juju, prepared.requests if prepared else ())
        has_news = publisher.write_consumers(juju, facts)
        publisher.forget_consumers()
        publisher.open_ports(juju)
        return has_news

    def observe(self, juju: JujuFacts, prepared: Prepared | None) -> Facts:
        """Look at the engine and the cluster, and join that with what Juju said."""
        token = juju.claim.token if juju.claim else ""
        engine = self._workload.inspect(token, juju.storage)
        others = [peer.client_url for peer in juju.peers if peer.member_id and peer.client_url]
        own_url = (engine.client_url or juju.client_url) if engine.is_running else ""
        # Whoever waits for a restore asks nobody: all have stopped, and each question takes time.
        # That is all others until it is over, and the restorer until it has swapped.
        stands_by = juju.restore is not None and (
            juju.restore.unit != juju.unit or engine.restore_state is RestoreState.READY
        )
        view = None if stands_by else self._workload.look(own_url, others)
        return Facts(
            unit=juju.unit,
            settings=juju.settings,
            is_leader=juju.is_leader,
            is_dying=juju.is_dying,
            units_alive=juju.units_alive,
            units_known=frozenset(juju.units),
            peer_url=juju.peer_url,
            client_url=juju.client_url,
            has_peer_relation=juju.has_peer_relation,
            has_authorities=juju.authorities is not None,
            claim=juju.claim,
            cluster_id=juju.cluster_id,
            leader_shown=juju.leader_shown,
            restore=juju.restore,
            rebuild=juju.rebuild,
            rotation=juju.rotation,
            snapshot=juju.snapshot,
            users=juju.users,
            users_gone=juju.users_gone,
            access=juju.access,
            trust_awaited=juju.trust_awaited,
            authority_problem=juju.authority_problem,
            round_trip_ms=juju.round_trip_ms,
            turn=juju.turn,
            turn_done=juju.turn_done,
            peers=juju.peers,
            engine=engine,
            wanted=prepared.fingerprint if prepared else "",
            view=view,
            absent_since_s=self._workload.load_absences(),
            now_s=int(time.time()),
            fresh_token=secrets.token_hex(TOKEN_BYTES),
        )

    def read_juju(self) -> JujuFacts:
        """Return what Juju says, for actions and teardown hooks."""
        return gather(self._charm, self._goal_state)

    def _fetch_supplies(self, engine: str) -> Supplies:
        """Return the attached programs of an engine."""
        files: dict[str, Path] = {}
        for name in ENGINE_RESOURCES[engine]:
            with contextlib.suppress(ops.ModelError, NameError):
                files[name] = self._charm.model.resources.fetch(name)
        return Supplies(self._charm.app.name, files)


def _name_change(done: list[Step]) -> str:
    """Return what the databag shows of a membership change: unique, since ids are never reused."""
    for step in done:
        if isinstance(step, MEMBERSHIP_STEPS):
            return f"{type(step).__name__} {secrets.token_hex(4)}"
    return ""
