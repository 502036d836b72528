"""What `juju status` says: real health, and never `active` for less.

A wrong option, a missing step of the operator and a lost quorum are `blocked`. What ends by
itself is `waiting`. `active` needs this unit's member to vote, a Raft leader, and every member of
the list to answer: a cluster that lives on its reserve is not healthy.
"""

import enum
from dataclasses import dataclass

from etcd_charm.cluster.facts import ClusterView, Disk, Facts, MemberView
from etcd_charm.cluster.settings import Problem
from etcd_charm.cluster.steps import Plan

DISK_LOW_PERCENT = 10
DISK_SLOW_MS = 500
"""As in etcd's own alert rules."""
DISK_FULL_BYTES = 64 << 20
"""With less than one segment of a log left, the next write may fail."""


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
    if facts.restore is not None or facts.rebuild is not None:
        reason = plan.waiting.reason if plan.waiting else "restoring"
        return Report(Level.MAINTENANCE, reason)
    if facts.engine.is_paused:
        return Report(Level.MAINTENANCE, "paused: run the action resume")
    disk = _describe_bad_disk(facts.engine.disk)
    if disk:
        return Report(Level.BLOCKED, disk)
    view = facts.view
    if view is None or facts.member is None or not facts.engine.is_running:
        reason = plan.waiting.reason if plan.waiting else "not a member yet"
        return Report(Level.WAITING, reason)
    health = _describe_cluster(view)
    if health.level is not Level.ACTIVE:
        return health
    if facts.member.is_learner:
        return Report(Level.WAITING, _describe_learner(facts.member, view))
    prefix = "(leader) " if facts.is_leader else ""
    notes = "".join(f", {note}" for note in list_notes(facts))
    joining = f", {len(view.learners)} joining" if view.learners else ""
    return Report(Level.ACTIVE, f"{prefix}{health.message}{joining}{notes}")


def _describe_cluster(view: ClusterView) -> Report:
    """Return how the cluster is as a whole: the same from every unit."""
    if not view.has_quorum:
        return _describe_no_quorum(view)
    if view.alarms:
        return Report(Level.BLOCKED, f"alarm {', '.join(view.alarms)}: see the action alarm-list")
    silent = [
        member.name or f"{member.member_id:x}" for member in view.voters if not member.is_reachable
    ]
    voters = len(view.voters)
    if silent:
        return Report(
            Level.WAITING,
            f"cluster is degraded: {voters - len(silent)} of {voters} members healthy, "
            f"no answer from {', '.join(sorted(silent))}",
        )
    noun = "member" if voters == 1 else "members"
    return Report(Level.ACTIVE, f"cluster is healthy with {voters} {noun}")


def _describe_no_quorum(view: ClusterView) -> Report:
    reachable = sum(voter.is_reachable for voter in view.voters)
    total = len(view.voters)
    if reachable > total // 2:
        return Report(Level.WAITING, "cluster is electing a leader")
    return Report(
        Level.BLOCKED,
        f"cluster-health check failed: {reachable} of {total} members answer, no quorum",
    )


def _describe_learner(member: MemberView, view: ClusterView) -> str:
    furthest = max(other.applied_index for other in view.members)
    if not furthest or member.applied_index >= furthest:
        return "catching up as a learner"
    return f"catching up as a learner: {member.applied_index * 100 // furthest} %"


def _describe_bad_disk(disk: Disk) -> str:
    if disk.is_read_only:
        return "the disk of the data is read-only: see dmesg on the machine"
    if disk.total_bytes and disk.free_bytes < DISK_FULL_BYTES:
        return f"the disk of the data is full: {disk.free_bytes >> 20} MiB free"
    return ""


def list_notes(facts: Facts) -> tuple[str, ...]:
    """Return what an operator should know of a unit that serves well."""
    notes = []
    disk = facts.engine.disk
    if disk.total_bytes and disk.free_bytes * 100 < disk.total_bytes * DISK_LOW_PERCENT:
        used = 100 - disk.free_bytes * 100 // disk.total_bytes
        notes.append(f"disk {used} % full")
    if disk.sync_p99_ms >= DISK_SLOW_MS:
        notes.append(f"slow disk: syncs take {disk.sync_p99_ms / 1000:.1f} s (p99)")
    days = facts.engine.expires_in_days
    if days is not None and days < facts.settings.warning_days:
        notes.append("a certificate has expired" if days < 0 else f"certificate ends in {days} d")
    if facts.authority_problem:
        notes.append(f"no certificate of the related authority: {facts.authority_problem}")
    if facts.trust_awaited:
        notes.append(f"new authority not trusted yet by {', '.join(facts.trust_awaited)}")
    if facts.serving_url.startswith("http://"):
        notes.append("plain http")
    if facts.engine.restore_problem:
        notes.append("the last restore failed")
    return tuple(notes)


def describe_app(facts: Facts, plan: Plan) -> Report | None:
    """Return the status of the application as its leader sees it.

    An even number of members tolerates no more than the odd number below it, which is said.
    """
    if facts.restore is not None:
        return Report(Level.MAINTENANCE, f"{facts.restore.unit} restores a snapshot")
    if facts.rebuild is not None:
        return Report(Level.MAINTENANCE, "rebuilding from the freshest survivor")
    view = facts.view
    if view is None:
        reason = plan.blocked or (plan.waiting.reason if plan.waiting else "no member answers")
        return Report(Level.BLOCKED if plan.blocked else Level.WAITING, reason)
    health = _describe_cluster(view)
    if health.level is not Level.ACTIVE:
        return health
    voters = len(view.voters)
    can_lose = (voters - 1) // 2
    text = f"{voters} member{'' if voters == 1 else 's'}, can lose {can_lose}"
    if voters % 2 == 0:
        text += f" (no more than {voters - 1}: odd numbers are better)"
    if facts.settings.snapshot_schedule and facts.snapshot is not None:
        if facts.snapshot.problem:
            return Report(Level.BLOCKED, f"scheduled snapshot failed: {facts.snapshot.problem}")
        text += f", verified snapshot {format_age(facts.now_s - facts.snapshot.taken_s)} ago"
    return Report(Level.ACTIVE, text)


def format_age(seconds: int) -> str:
    """Return an age in its largest unit: `2 h`."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{max(0, seconds)} s"
