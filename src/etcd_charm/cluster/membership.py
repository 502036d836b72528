"""Joining, promotion, new addresses, lost data and ghosts: at most one change per decision.

The lock between units that want to join is the cluster itself: it admits one learner at a time.
A unit that finds another learner waits, and is woken when that one's databag says it votes.
"""

from etcd_charm.cluster.facts import (
    ClusterView,
    Facts,
    MemberId,
    MemberView,
    UnitName,
    name_member,
)
from etcd_charm.cluster.rollout import is_alone
from etcd_charm.cluster.steps import (
    AddLearner,
    Plan,
    Promote,
    RemoveMember,
    SetDataAside,
    StartJoiner,
    StartMember,
    UpdateMember,
    Waiting,
    WokenBy,
)

GHOST_ABSENCE_S = 60
"""A unit must be missing from goal-state in two hooks this far apart before it counts as gone."""
CATCH_UP_S = 20
"""A hook waits this long for a learner to catch up; a data set that needs longer takes hooks."""
PROMOTE_SOON_S = 1
"""The promotion is the next change, so it needs the next hook."""
UNREACHABLE_RETRY_S = 10
"""A cluster that answers nobody is usually electing; asking again is cheap."""


def decide_join(facts: Facts) -> Plan:
    """Decide for a unit with an empty data directory while the cluster exists."""
    view = facts.view
    if view is None and _is_nobody_left(facts):
        return Plan(
            blocked="the data is missing here and no other member is known: "
            "restore a snapshot, or run the action bootstrap-again"
        )
    if view is None or not view.has_quorum:
        reason = "waiting for the cluster to answer with a quorum"
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, UNREACHABLE_RETRY_S))
    member = facts.member
    if member is None:
        return _enter(facts, view)
    if member.name:
        return _replace_lost(member)
    moves = () if facts.peer_url in member.peer_urls else _announce(member, facts)
    return Plan(
        steps=(*moves, StartJoiner()),
        waiting=Waiting("joining as a learner", WokenBy.TIMER, PROMOTE_SOON_S),
    )


def _announce(member: MemberView, facts: Facts) -> tuple[UpdateMember]:
    """The port has changed between entering the list and starting."""
    return (UpdateMember(member.member_id, facts.peer_url),)


def _is_nobody_left(facts: Facts) -> bool:
    return facts.units_known <= {facts.unit} and not any(peer.member_id for peer in facts.peers)


def _enter(facts: Facts, view: ClusterView) -> Plan:
    if view.learners:
        other = view.learners[0]
        who = other.name or f"member {other.member_id:x}"
        chores = _decide_for_others(facts, view)
        if chores.waiting is not None:
            return chores  # a leader that is no member itself still removes what is in its way
        return Plan(waiting=Waiting(f"waiting for {who} to finish joining", WokenBy.PEER))
    return Plan(
        steps=(AddLearner(facts.peer_url), StartJoiner()),
        waiting=Waiting("joining as a learner", WokenBy.TIMER, PROMOTE_SOON_S),
    )


def _replace_lost(member: MemberView) -> Plan:
    """Answer the loss of a member's data: a new member takes its place, never an empty one.

    A member that votes again after it forgot what it voted for can undo a committed write.
    """
    reason = "its data is gone"
    return Plan(
        steps=(RemoveMember(member.member_id, reason),),
        waiting=Waiting("its data is gone, joining anew", WokenBy.TIMER, PROMOTE_SOON_S),
    )


def decide_foreign(facts: Facts) -> Plan:
    """Decide for a unit whose storage holds another cluster's data while ours exists."""
    del facts
    return Plan(
        steps=(SetDataAside("it belongs to another cluster"),),
        waiting=Waiting("joining with empty data", WokenBy.TIMER, PROMOTE_SOON_S),
    )


def decide_diverged(facts: Facts) -> Plan:
    """Rebuild a member whose state was not the majority's: from the others, its files kept."""
    if facts.view is None or not facts.view.has_quorum:
        reason = "its state differs from the others', who do not answer with a quorum"
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, UNREACHABLE_RETRY_S))
    return Plan(
        steps=(SetDataAside("its state was not the majority's"),),
        waiting=Waiting(
            "its state was not the majority's, joining anew", WokenBy.TIMER, PROMOTE_SOON_S
        ),
    )


def decide_membership(facts: Facts) -> Plan:
    """Decide for a unit with its own data: start it, then at most one change to the list."""
    if not facts.engine.is_running:
        return _decide_stopped(facts)
    view = facts.view
    if view is None or not view.has_quorum:
        reason = facts.engine.start_progress or "waiting for the cluster to answer with a quorum"
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, UNREACHABLE_RETRY_S))
    member = facts.member
    if member is None:
        return _decide_removed()
    return _decide_own_change(facts, member) or _decide_for_others(facts, view)


def _decide_stopped(facts: Facts) -> Plan:
    """Start a stopped member, unless a quorum says that it is one no longer."""
    view = facts.view
    if view is not None and view.has_quorum and facts.member is None:
        return _decide_removed()
    waiting = Waiting("starting", WokenBy.TIMER, PROMOTE_SOON_S)
    return Plan(steps=(StartMember(),), waiting=waiting)


def _decide_removed() -> Plan:
    return Plan(
        steps=(SetDataAside("the cluster removed this member"),),
        waiting=Waiting("removed from the cluster, joining anew", WokenBy.TIMER, PROMOTE_SOON_S),
    )


def is_listening(facts: Facts) -> bool:
    """Whether the engine listens at the address that is to be announced.

    Until it has been restarted there, nobody is told: members that all moved at once would find
    nobody. After its restart it listens at its former port too, so no order leaves a gap.
    """
    return facts.engine.started_with == facts.wanted or is_alone(facts)


def _decide_own_change(facts: Facts, member: MemberView) -> Plan | None:
    if facts.peer_url not in member.peer_urls and is_listening(facts):
        return Plan(
            steps=(UpdateMember(member.member_id, facts.peer_url),),
            waiting=Waiting("announcing a new address", WokenBy.TIMER, PROMOTE_SOON_S),
        )
    if member.is_learner:
        return Plan(
            steps=(Promote(member.member_id, CATCH_UP_S),),
            waiting=Waiting("catching up as a learner", WokenBy.TIMER, UNREACHABLE_RETRY_S),
        )
    return None


def _decide_for_others(facts: Facts, view: ClusterView) -> Plan:
    """Do what a unit cannot do itself: remove what it left behind. One actor: the Juju leader."""
    if not facts.is_leader:
        return Plan()
    step, absent = decide_ghosts(facts, view)
    if step is not None:
        waiting = Waiting("a member was removed", WokenBy.TIMER, PROMOTE_SOON_S)
        return Plan(steps=(step,), absent_since_s=absent, waiting=waiting)
    if absent:
        youngest = max(since for _, since in absent)
        left_s = max(PROMOTE_SOON_S, youngest + GHOST_ABSENCE_S - facts.now_s)
        reason = f"watching {len(absent)} member(s) whose unit is gone"
        return Plan(absent_since_s=absent, waiting=Waiting(reason, WokenBy.TIMER, left_s))
    return Plan()


def decide_ghosts(
    facts: Facts, view: ClusterView
) -> tuple[RemoveMember | None, tuple[tuple[MemberId, int], ...]]:
    """Return the ghost to remove now, if any, and since when each one has been absent."""
    ghosts = find_ghosts(facts, view)
    remembered = dict(facts.absent_since_s)
    since_s = {ghost.member_id: remembered.get(ghost.member_id, facts.now_s) for ghost in ghosts}
    for ghost in ghosts:
        is_old = facts.now_s - since_s[ghost.member_id] >= GHOST_ABSENCE_S
        if is_old and keeps_quorum_without(view, ghost):
            step = RemoveMember(ghost.member_id, "its unit is gone")
            return step, tuple(sorted(since_s.items()))
    return None, tuple(sorted(since_s.items()))


def has_leavers(facts: Facts, view: ClusterView) -> bool:
    """Whether the list shows members of this application whose unit goes or is gone."""
    staying = {name_member(unit) for unit in facts.units_alive}
    return any(
        member.name not in staying and _is_named_by_us(facts.unit, member.name)
        for member in view.members
    )


def find_ghosts(facts: Facts, view: ClusterView) -> tuple[MemberView, ...]:
    """Return the unreachable members of this application whose unit Juju does not have.

    `relation-list` proves nothing (a fresh leader has joined nobody yet), so only goal-state
    counts. A member with a name that is not ours was added by an operator and is left alone. A
    member without a name never ran; it belongs to nobody only if every unit has shown its address.
    """
    if facts.unit not in facts.units_known:
        return ()
    own_names = {name_member(unit) for unit in facts.units_known}
    addresses = {peer.peer_url for peer in facts.peers if peer.peer_url} | {facts.peer_url}
    shown = {peer.unit for peer in facts.peers if peer.peer_url} | {facts.unit}
    all_shown = facts.units_known <= shown
    ghosts: list[MemberView] = []
    for member in view.members:
        if member.is_reachable:
            continue
        if member.name:
            if member.name not in own_names and _is_named_by_us(facts.unit, member.name):
                ghosts.append(member)
        elif all_shown and not addresses & set(member.peer_urls):
            ghosts.append(member)
    return tuple(ghosts)


def _is_named_by_us(unit: UnitName, member_name: str) -> bool:
    application = unit.partition("/")[0]
    return member_name.startswith(application) and member_name[len(application) :].isdigit()


def keeps_quorum_without(view: ClusterView, leaver: MemberView) -> bool:
    """Whether the voters that answer are a majority of the voters that remain."""
    remaining = [voter for voter in view.voters if voter.member_id != leaver.member_id]
    reachable = sum(voter.is_reachable for voter in remaining)
    return bool(remaining) and reachable > len(remaining) // 2
