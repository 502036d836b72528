"""Whose turn it is to restart: one member at a time, and only while all others are healthy.

Each unit shows in its databag that it wants to restart. The Juju leader grants a turn, which has
a number; the holder restarts when it reads the turn as committed, and gives it back by showing
its number. Only that ends a turn. A leader must not conclude from a databag without a wish that
the holder is done: a new leader has not heard of every databag yet, and what it has heard may be
older than the wish (the simulation found both). A turn is also over when its holder is gone.
"""

from dataclasses import dataclass

from etcd_charm.cluster.facts import Facts, MemberView, Turn, number_of
from etcd_charm.cluster.steps import RestartMember, Step, Waiting, WokenBy

UNHEALTHY_RETRY_S = 10
"""Another member may be in the middle of its own restart."""
TURN_COMMIT_S = 1
"""A turn that the leader grants itself is committed at the end of the hook."""


@dataclass(frozen=True, slots=True)
class RestartDecision:
    """What becomes of a wanted restart in this hook."""

    step: Step | None = None
    wanted: str = ""
    waiting: Waiting | None = None


def decide_restart(facts: Facts) -> RestartDecision:
    """Decide whether this unit restarts now, waits for its turn, or has no wish."""
    engine = facts.engine
    if not engine.is_running or not facts.wanted or engine.started_with == facts.wanted:
        return RestartDecision()
    if is_alone(facts) or (facts.member is not None and facts.member.is_learner):
        return RestartDecision(step=RestartMember(facts.wanted))
    if not holds_turn(facts):
        waiting = Waiting("waiting for its turn to restart", WokenBy.PEER)
        return RestartDecision(wanted=facts.wanted, waiting=waiting)
    if not are_others_healthy(facts):
        reason = "waiting for the other members before it restarts"
        waiting = Waiting(reason, WokenBy.TIMER, UNHEALTHY_RETRY_S)
        return RestartDecision(wanted=facts.wanted, waiting=waiting)
    return RestartDecision(step=RestartMember(facts.wanted))


def is_alone(facts: Facts) -> bool:
    """Whether this unit is the only member, so that its restart waits for nobody."""
    return facts.view is not None and len(facts.view.members) == 1 and facts.member is not None


def are_others_healthy(facts: Facts) -> bool:
    """Whether every other member votes and answers."""
    if facts.view is None or not facts.view.has_quorum:
        return False
    own = facts.member
    return all(
        _is_healthy(member)
        for member in facts.view.members
        if own is None or member.member_id != own.member_id
    )


def _is_healthy(member: MemberView) -> bool:
    return member.is_reachable and not member.is_learner


def holds_turn(facts: Facts) -> bool:
    """Whether this unit has a turn that it has not given back."""
    turn = facts.turn
    return turn is not None and turn.unit == facts.unit and turn.number > facts.turn_done


def decide_return(facts: Facts, decision: RestartDecision) -> int:
    """Return the number of the turn that this unit gives back with this hook, or its last one."""
    if facts.turn is not None and holds_turn(facts) and not decision.wanted:
        return facts.turn.number
    return facts.turn_done


def decide_turn(facts: Facts, own_wish: str) -> Turn | None:
    """Return the turn that the Juju leader grants now, if any."""
    if not facts.is_leader or _is_turn_in_use(facts):
        return None
    wishing = {peer.unit for peer in facts.peers if peer.restart_wanted} & facts.units_known
    if own_wish:
        wishing |= {facts.unit}
    if not wishing:
        return None
    number = facts.turn.number + 1 if facts.turn else 1
    return Turn(min(wishing, key=number_of), number)


def waits_for_leaver(facts: Facts) -> bool:
    """Whether the holder of the turn is on its way out: it tells nobody when it is gone."""
    turn = facts.turn
    is_held = facts.is_leader and turn is not None and _is_turn_in_use(facts)
    return is_held and turn is not None and turn.unit not in facts.units_alive


def _is_turn_in_use(facts: Facts) -> bool:
    turn = facts.turn
    if turn is None or turn.unit not in facts.units_known:
        return False
    if turn.unit == facts.unit:
        return turn.number > facts.turn_done
    done = {peer.unit: peer.turn_done for peer in facts.peers}
    return turn.number > done.get(turn.unit, 0)
