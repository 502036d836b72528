"""Whose turn it is to restart: one member at a time, and only while all others are healthy.

Each unit shows in its databag the configuration that it wants to restart with. The Juju leader
grants one turn; the holder restarts when it reads the turn as committed; its databag then shows
no wish any more, and that wakes the leader, which grants the next. A turn lost with its holder
(a removed unit) is taken back.
"""

from dataclasses import dataclass

from etcd_charm.cluster.facts import Facts, MemberView, Turn, UnitName, number_of
from etcd_charm.cluster.steps import AppWrites, RestartMember, Step, Waiting, WokenBy

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
    if facts.turn != Turn(facts.unit, facts.wanted):
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


def decide_turn(facts: Facts, own_wish: str) -> AppWrites:
    """Return the leader's grant: keep a turn that is in use, end a stale one, or grant the next."""
    if not facts.is_leader:
        return AppWrites()
    wishes: dict[UnitName, str] = {
        peer.unit: peer.restart_wanted
        for peer in facts.peers
        if peer.restart_wanted and peer.unit in facts.units_known
    }
    if own_wish:
        wishes[facts.unit] = own_wish
    turn = facts.turn
    if turn is not None and wishes.get(turn.unit) == turn.wanted:
        return AppWrites()
    if wishes:
        unit = min(wishes, key=number_of)
        return AppWrites(turn=Turn(unit, wishes[unit]))
    return AppWrites(ends_turn=turn is not None)
