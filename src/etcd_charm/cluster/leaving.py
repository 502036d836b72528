"""How a unit leaves: through a survivor, and not before the survivors know.

A leaver that removes itself and stops at once may take the only copy of the commit with it: going
from two members to one, the survivor would wait for a dead member's vote for ever. So leadership
is handed to a member that stays, the removal is asked of that member, and the engine stops only
when every remaining voter that answers shows, read locally, a list without the leaver.

A ghost can stand in the way: with one of three members dead, nobody else may go. A leaver then
applies the ghost rule itself, because a dying Juju leader keeps its leadership to the end.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from etcd_charm.cluster.facts import (
    NO_MEMBER,
    ClusterView,
    DataState,
    Facts,
    MemberId,
    MemberView,
    name_member,
)

LEAVE_TRIES = 20
"""With the pause and a look of up to two seconds each: 60 s. Then the hook fails, Juju repeats."""
LEAVE_PAUSE_S = 1.0


class Farewell(enum.Enum):
    """How a teardown hook ends the engine of this unit."""

    STOP = "stop the engine, the member list stays as it is"
    LEAVE = "leave the member list first"
    ABANDON = "the quorum is lost already: stop, and leave the entry to the ghost rule"
    RETRY = "the cluster cannot answer now, though a majority may be alive"


@dataclass(frozen=True, slots=True)
class LeaveDecision:
    """One look at the cluster on the way out."""

    farewell: Farewell
    member_id: MemberId = NO_MEMBER
    hand_over_to: MemberId = NO_MEMBER
    """Who receives Raft leadership first; `NO_MEMBER` when this unit does not have it."""
    helpers: tuple[str, ...] = ()
    """Client URLs of the survivors, in the order in which they are asked to remove it."""
    own_url: str = ""
    """Where this unit's own member is asked to hand over."""
    reason: str = ""


def decide_leave(facts: Facts) -> LeaveDecision:
    """Decide what a teardown hook does, from what the cluster looks like at this moment."""
    if not facts.is_dying:
        return LeaveDecision(Farewell.STOP, reason="the unit stays, only its storage goes")
    if facts.engine.has_left:
        return LeaveDecision(Farewell.STOP, reason="it has left already")
    if not facts.units_alive:
        return LeaveDecision(Farewell.STOP, reason="the whole application goes")
    if facts.restore is not None or facts.rebuild is not None:
        return LeaveDecision(Farewell.STOP, reason="the member list is being made anew")
    if facts.engine.data is not DataState.OURS and facts.member is None:
        return LeaveDecision(Farewell.STOP, reason="it never was a member")
    view = facts.view
    if view is None and not facts.peers and not facts.engine.is_running:
        # A restore stopped it before, and the relation to its peers has gone since: repeating the
        # hook would change nothing. The ghost rule takes the entry off the list.
        return LeaveDecision(Farewell.STOP, reason="nobody is left to ask")
    if view is None:
        return LeaveDecision(Farewell.RETRY, reason="no member answers")
    own = facts.member
    if own is None:
        if view.has_quorum:
            return LeaveDecision(Farewell.STOP, reason="it is off the member list")
        return LeaveDecision(Farewell.RETRY, reason="the member list is not current")
    if len(view.members) == 1:
        return LeaveDecision(Farewell.STOP, reason="it is the last member")
    return _decide_removal(facts, view, own)


def _decide_removal(facts: Facts, view: ClusterView, own: MemberView) -> LeaveDecision:
    reachable = [voter for voter in view.voters if voter.is_reachable]
    if not view.has_quorum:
        if len(reachable) <= len(view.voters) // 2:
            return LeaveDecision(Farewell.ABANDON, own.member_id, reason="the quorum is lost")
        return LeaveDecision(Farewell.RETRY, own.member_id, reason="no Raft leader now")
    survivors = _order_survivors(facts, view, own)
    helpers = tuple(url for voter in survivors for url in voter.client_urls)
    heir = NO_MEMBER
    if view.leader_id == own.member_id and survivors:
        heir = survivors[0].member_id
    return LeaveDecision(Farewell.LEAVE, own.member_id, heir, helpers, facts.serving_url)


def _order_survivors(facts: Facts, view: ClusterView, own: MemberView) -> tuple[MemberView, ...]:
    """Return the other voters that answer: those whose unit stays, the most caught-up first."""
    staying = {name_member(unit) for unit in facts.units_alive}
    others = [v for v in view.voters if v.is_reachable and v.member_id != own.member_id]
    return tuple(
        sorted(
            others,
            key=lambda voter: (voter.name not in staying, -voter.applied_index, voter.name),
        )
    )


def is_removal_known(lists: Mapping[str, frozenset[MemberId] | None], leaver: MemberId) -> bool:
    """Whether every survivor that answered shows a list without the leaver, and one did.

    The lists are read locally at each survivor; `None` stands for one that did not answer.
    """
    answers = [members for members in lists.values() if members is not None]
    return bool(answers) and all(leaver not in members for members in answers)
