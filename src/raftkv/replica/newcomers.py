"""Members that were added as voters, and have no vote yet.

Counting a vote at once, as etcd 3.4 does, lets a mistyped address stop all writes: the majority
then needs a member that never comes. So a new voter is a learner first. Its leader gives it the
vote as soon as it holds the log, and drops it when it never came at all.
"""

from __future__ import annotations

from typing import Final

from raftkv.raft.leader import Leader
from raftkv.raft.progress import ProgressState
from raftkv.values import Member, MemberId, Membership, MembershipChange, MembershipChangeKind

CAUGHT_UP_ENTRIES: Final = 64
"""A newcomer this close to the log's end keeps up: entries are whole batches, and some are
always on their way."""


class Newcomers:
    """What a leader remembers of them; another leader begins anew."""

    __slots__ = ("_patience_ticks", "_since")

    def __init__(self, patience_ticks: int) -> None:
        self._patience_ticks = patience_ticks
        self._since: dict[MemberId, int] = {}

    def forget(self) -> None:
        """This member does not lead any more, or leads anew."""
        self._since.clear()

    def next_change(
        self, tick: int, role: Leader, membership: Membership
    ) -> MembershipChange | None:
        """Return the change to be made now; asked once per tick."""
        waiting = [m for m in membership.members.values() if m.wants_vote]
        if not waiting:
            return None
        may_change = role.may_change_voters()
        for member in waiting:
            kind = self._judge(tick, role, member)
            if kind is not None and may_change:
                return MembershipChange(kind, member)
        return None

    def _judge(self, tick: int, role: Leader, member: Member) -> MembershipChangeKind | None:
        member_id = member.member_id
        since = self._since.setdefault(member_id, tick)
        progress = role.progress.get(member_id)
        if progress is None:
            return None
        if progress.match:
            is_close = progress.match + CAUGHT_UP_ENTRIES >= role.last_index
            if is_close and progress.state is ProgressState.REPLICATE:
                return MembershipChangeKind.PROMOTE
        elif tick - since >= self._patience_ticks:  # under this leader it never came
            return MembershipChangeKind.REMOVE
        return None
