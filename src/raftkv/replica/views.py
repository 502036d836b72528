"""What the API and the driver may look at between two steps. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.raft.core import RaftCore
from raftkv.raft.leader import Leader
from raftkv.raft.member_state import RoleName
from raftkv.replica.applying import Applier
from raftkv.replica.proposals import Proposals
from raftkv.values import NO_MEMBER, Index, MemberId, Membership, Term


@dataclass(frozen=True, slots=True)
class FollowerProgress:
    """One follower as its leader sees it; for status and metrics."""

    match: Index
    next: Index
    state: str
    is_active: bool


class ReplicaViews:
    """The read-only half of ``step.Replica``, which fills in the parts."""

    __slots__ = ("_applier", "_core", "_proposals", "member_id")

    _applier: Applier
    _core: RaftCore
    _proposals: Proposals
    member_id: MemberId

    @property
    def term(self) -> Term:
        """The current term."""
        return Term(self._core.state.term)

    @property
    def leader_id(self) -> MemberId:
        """The leader as this member knows it; 0 when it knows none."""
        return self._core.state.leader_id

    @property
    def role(self) -> RoleName:
        """What this member is now."""
        return self._core.role.name

    @property
    def commit_index(self) -> Index:
        """The highest entry known to be committed."""
        return Index(self._core.state.log.commit)

    @property
    def applied_index(self) -> Index:
        """The highest entry applied to the state machine."""
        return Index(self._core.state.log.applied)

    @property
    def applied_term(self) -> Term:
        """The term of the entry applied last."""
        return self._applier.term

    @property
    def last_index(self) -> Index:
        """The end of this member's log."""
        return Index(self._core.state.log.last)

    @property
    def log_start(self) -> Index:
        """The last index that was trimmed from the log."""
        return Index(self._core.state.log.start)

    @property
    def log_start_term(self) -> Term:
        """The term of the entry at ``log_start``."""
        return Term(self._core.state.log.start_term)

    @property
    def membership(self) -> Membership:
        """The applied membership."""
        return self._applier.membership.view

    @property
    def is_learner(self) -> bool:
        """Tell whether this member has no vote (a learner, or not yet part of the cluster)."""
        return not self._core.state.is_voter

    @property
    def transferee(self) -> MemberId:
        """The member that leadership is being handed to; 0 when none, or not the leader."""
        role = self._core.role
        return role.transferee if isinstance(role, Leader) else NO_MEMBER

    @property
    def pending_count(self) -> int:
        """Batches of this member's own clients without a result yet."""
        return len(self._proposals)

    def progress(self) -> dict[MemberId, FollowerProgress]:
        """Return the followers as this leader sees them; empty when this is no leader."""
        role = self._core.role
        if not isinstance(role, Leader):
            return {}
        return {
            i: FollowerProgress(Index(p.match), Index(p.next), p.state.value, p.is_active)
            for i, p in role.progress.items()
        }

    def encode_state(self) -> bytes:
        """Return the replica's own replicated state: membership and sessions."""
        return self._applier.encode_state()
