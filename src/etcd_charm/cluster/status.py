"""What `juju status` says: real health, and never `active` for less.

A wrong option, a missing step of the operator and a lost quorum are `blocked`. What ends by
itself is `waiting`. `active` needs this unit's member to vote, a Raft leader, and every member of
the list to answer: a cluster that lives on its reserve is not healthy.
"""

import enum
from dataclasses import dataclass

from etcd_charm.cluster.facts import ClusterView, Facts
from etcd_charm.cluster.settings import Problem
from etcd_charm.cluster.steps import Plan


class Level(enum.Enum):
    """The statuses that a charm may set."""

    ACTIVE = "active"
    WAITING = "waiting"
    BLOCKED = "blocked"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Report:
    """One status line."""

    level: Level
    message: str


def describe_problems(problems: tuple[Problem, ...]) -> Report:
    """Name every option that cannot be used."""
    return Report(Level.BLOCKED, "wrong option " + "; ".join(map(str, problems)))


def describe(facts: Facts, plan: Plan) -> Report:
    """Return the status of a unit from what it saw last and what it still waits for."""
    if facts.is_dying:
        return Report(Level.MAINTENANCE, "leaving")
    if plan.blocked:
        return Report(Level.BLOCKED, plan.blocked)
    if facts.restore is not None:
        reason = plan.waiting.reason if plan.waiting else "restoring"
        return Report(Level.MAINTENANCE, reason)
    view = facts.view
    if view is None or facts.member is None or not facts.engine.is_running:
        reason = plan.waiting.reason if plan.waiting else "not a member yet"
        return Report(Level.WAITING, reason)
    if not view.has_quorum:
        return _describe_no_quorum(view)
    if facts.member.is_learner:
        return Report(Level.WAITING, "catching up as a learner")
    silent = [
        member.name or f"{member.member_id:x}" for member in view.voters if not member.is_reachable
    ]
    if silent:
        healthy = len(view.voters) - len(silent)
        return Report(
            Level.WAITING,
            f"cluster is degraded: {healthy} of {len(view.voters)} members healthy, "
            f"no answer from {', '.join(sorted(silent))}",
        )
    return Report(Level.ACTIVE, _describe_health(facts, view))


def _describe_no_quorum(view: ClusterView) -> Report:
    reachable = sum(voter.is_reachable for voter in view.voters)
    total = len(view.voters)
    if reachable > total // 2:
        return Report(Level.WAITING, "cluster is electing a leader")
    return Report(
        Level.BLOCKED,
        f"cluster-health check failed: {reachable} of {total} members answer, no quorum",
    )


def _describe_health(facts: Facts, view: ClusterView) -> str:
    voters = len(view.voters)
    noun = "member" if voters == 1 else "members"
    prefix = "(leader) " if facts.is_leader else ""
    suffix = f", {len(view.learners)} joining" if view.learners else ""
    return f"{prefix}cluster is healthy with {voters} {noun}{suffix}"
