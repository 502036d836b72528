"""The decision of one hook: the order in which the rooms are asked.

What comes first matters. A dying unit decides nothing here (its teardown hooks do). A unit whose
storage was taken away keeps still. Data that exists is started before anything is joined, and the
cluster is founded only when nothing shows that it exists.
"""

from dataclasses import replace

from etcd_charm.cluster import rebuild, restore
from etcd_charm.cluster.access import AccessDecision, decide_access, must_wait_for_access
from etcd_charm.cluster.facts import DataState, Facts
from etcd_charm.cluster.founding import decide_adoption, decide_claim, decide_founding
from etcd_charm.cluster.membership import (
    decide_diverged,
    decide_foreign,
    decide_join,
    decide_membership,
    has_leavers,
)
from etcd_charm.cluster.rebuild import decide_rebuild
from etcd_charm.cluster.restore import decide_restore
from etcd_charm.cluster.rollout import (
    TURN_COMMIT_S,
    RestartDecision,
    are_others_healthy,
    decide_restart,
    decide_return,
    decide_turn,
    waits_for_leaver,
)
from etcd_charm.cluster.rotation import awaits_others, decide_rotation
from etcd_charm.cluster.steps import (
    AppWrites,
    DropFormerCopy,
    Plan,
    StopMember,
    Waiting,
    WokenBy,
)
from etcd_charm.cluster.timing import decide_record

WATCH_S = 20
"""A member that restarts is back within this time; a shorter wait would only ask again."""
LEAVING_S = 5
"""A leaver tells nobody when it is done: Juju has told the others of its going before."""


UNUSABLE = {
    DataState.DETACHED: "its storage was detached: attach it again, or remove the unit",
    DataState.UNMOUNTED: "the storage of its data is not mounted: mount it, or remove the unit",
}
PAUSED = "paused: run the action resume"


def decide(facts: Facts) -> Plan:
    """Return what this unit does now. Pure: equal facts, equal plan."""
    if facts.is_dying:
        return Plan(app=decide_claim(facts))
    if not facts.has_peer_relation:
        return Plan(waiting=Waiting("waiting for the peer relation", WokenBy.PEER))
    if not facts.has_authorities:
        return _decide_authorities(facts)
    if facts.engine.data in UNUSABLE:
        return Plan(blocked=UNUSABLE[facts.engine.data])
    if facts.engine.is_paused:
        return _decide_paused(facts)
    restoring = decide_restore(facts)
    if restoring is not None:
        return replace(restoring, app=restore.decide_outcome(facts), turn_done=facts.turn_done)
    rebuilding = decide_rebuild(facts)
    if rebuilding is not None:
        return replace(rebuilding, app=rebuild.decide_outcome(facts), turn_done=facts.turn_done)
    plan = _decide_engine(facts)
    plan = _add_restart(facts, plan)
    plan = _add_chores(facts, plan)
    access = decide_access(facts)
    if access.step is not None and not plan.steps and not plan.blocked:
        plan = replace(plan, steps=(access.step,))
    else:
        access = AccessDecision()
    plan = _add_watch(facts, plan)
    app = replace(_decide_app(facts, plan), access=access.record)
    if facts.rotation is not None and facts.is_leader and plan.waiting is None:
        who = WokenBy.PEER if awaits_others(facts) else WokenBy.TIMER
        plan = replace(plan, waiting=Waiting("rotating an authority", who, TURN_COMMIT_S))
    if app.turn is not None and app.turn.unit == facts.unit:
        waiting = Waiting("its own turn to restart is next", WokenBy.TIMER, TURN_COMMIT_S)
        return replace(plan, app=app, waiting=waiting)
    return replace(plan, app=app)


def _decide_authorities(facts: Facts) -> Plan:
    if facts.is_leader:
        reason = "recording the certificate authorities"
        waiting = Waiting(reason, WokenBy.TIMER, TURN_COMMIT_S)
        return Plan(app=AppWrites(makes_authorities=True), waiting=waiting)
    reason = "waiting for the leader to make the certificate authorities"
    return Plan(waiting=Waiting(reason, WokenBy.PEER))


def _decide_engine(facts: Facts) -> Plan:
    match facts.engine.data:
        case DataState.OURS:
            return decide_membership(facts)
        case DataState.DIVERGED:
            return decide_diverged(facts)
        case DataState.FOREIGN if facts.is_cluster_known:
            return decide_foreign(facts)
        case DataState.FOREIGN:
            return decide_adoption(facts)
        case _:
            return decide_join(facts) if facts.is_cluster_known else decide_founding(facts)


def _decide_paused(facts: Facts) -> Plan:
    """Keep the engine stopped until the operator says otherwise; give a turn back."""
    steps = (StopMember(),) if facts.engine.is_running else ()
    waiting = Waiting(PAUSED, WokenBy.OPERATOR)
    turn_done = decide_return(facts, RestartDecision())
    plan = Plan(steps=steps, waiting=waiting, turn_done=turn_done)
    return replace(plan, app=_decide_app(facts, plan))


def _add_restart(facts: Facts, plan: Plan) -> Plan:
    """Add a wanted restart to a plan that has nothing else to do to the engine."""
    if plan.steps or plan.blocked or facts.engine.data is not DataState.OURS:
        return replace(plan, turn_done=decide_return(facts, RestartDecision()))
    decision = decide_restart(facts)
    turn_done = decide_return(facts, decision)
    waiting = plan.waiting or decision.waiting
    if turn_done != facts.turn_done and waiting is None:
        # A leader that gives back its own turn hears of it from nobody, and has others to serve.
        waiting = Waiting("giving back its turn to restart", WokenBy.TIMER, TURN_COMMIT_S)
    return replace(
        plan,
        steps=(decision.step,) if decision.step is not None else (),
        restart_wanted=decision.wanted,
        turn_done=turn_done,
        waiting=waiting,
    )


def _add_chores(facts: Facts, plan: Plan) -> Plan:
    """Delete the copy that a move of the data left behind, once nothing else is to be done."""
    is_idle = not plan.steps and not plan.blocked and plan.waiting is None
    is_member = facts.member is not None and facts.member.is_reachable
    if is_idle and facts.engine.has_former_copy and is_member and are_others_healthy(facts):
        return replace(plan, steps=(DropFormerCopy(),))
    return plan


def _add_watch(facts: Facts, plan: Plan) -> Plan:
    """Come back while a member leaves or does not answer: nobody else says when that ends."""
    is_timed = plan.waiting is not None and plan.waiting.woken_by is WokenBy.TIMER
    if is_timed or plan.blocked or facts.view is None:
        return plan
    if has_leavers(facts, facts.view) or waits_for_leaver(facts):
        reason = plan.waiting.reason if plan.waiting else "a member is leaving"
        return replace(plan, waiting=Waiting(reason, WokenBy.TIMER, LEAVING_S))
    if all(member.is_reachable for member in facts.view.members):
        return plan
    reason = plan.waiting.reason if plan.waiting else "a member does not answer"
    return replace(plan, waiting=Waiting(reason, WokenBy.TIMER, WATCH_S))


def _decide_app(facts: Facts, plan: Plan) -> AppWrites:
    writes = decide_claim(facts)
    waits = must_wait_for_access(facts)
    turn = None if waits else decide_turn(facts, plan.restart_wanted)
    record = None
    if facts.is_leader and facts.member is not None and facts.view is not None:
        record = f"{facts.view.cluster_id:x}" if facts.view.cluster_id else None
    is_news = facts.is_leader and facts.leader_shown != facts.unit
    leader = facts.unit if is_news else None
    return replace(
        writes,
        turn=turn,
        cluster_id=record,
        leader=leader,
        rotation=decide_rotation(facts).rotation,
        round_trip_ms=decide_record(facts),
    )
