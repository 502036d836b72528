"""The state that all roles share: term, vote, log, configuration. No rule lives here."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from raftkv.raft.chance import Chance
from raftkv.raft.log_view import LogView
from raftkv.raft.outputs import Outputs
from raftkv.raft.settings import RaftSettings
from raftkv.values import NO_MEMBER, MemberId


class RoleName(enum.Enum):
    """What a member is at a moment. A learner is a follower that is not in ``voters``."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class MemberState:
    """One member's view. Roles read and write it; ``RaftCore`` owns the transitions."""

    __slots__ = (
        "chance",
        "election_elapsed",
        "is_installing",
        "leader_id",
        "learners",
        "log",
        "member_id",
        "outputs",
        "settings",
        "term",
        "timeout_ticks",
        "vote",
        "voters",
    )

    def __init__(
        self, member_id: MemberId, settings: RaftSettings, chance: Chance, log: LogView
    ) -> None:
        self.member_id = member_id
        self.settings = settings
        self.chance = chance
        self.log = log
        self.outputs = Outputs()
        self.term = 0
        self.vote: MemberId = NO_MEMBER
        self.leader_id: MemberId = NO_MEMBER
        self.voters: tuple[MemberId, ...] = ()
        """Sorted, so that every loop over them is deterministic."""
        self.learners: tuple[MemberId, ...] = ()
        self.election_elapsed = 0
        """Ticks since a leader was heard (follower), the campaign began (candidate), or the
        quorum was checked (leader)."""
        self.timeout_ticks = settings.election_ticks
        """Drawn anew for each election, in [election_ticks, 2 * election_ticks)."""
        self.is_installing = False
        """A snapshot is being installed: nothing may be appended, committed or applied."""

    @property
    def is_voter(self) -> bool:
        """Tell whether this member may campaign at all."""
        return self.member_id in self.voters

    @property
    def is_only_voter(self) -> bool:
        """Tell whether this member is a majority on its own."""
        return self.voters == (self.member_id,)

    def others(self) -> Iterable[MemberId]:
        """All other members in one fixed order."""
        own = self.member_id
        return [i for i in sorted((*self.voters, *self.learners)) if i != own]

    def restart_timeout(self) -> None:
        """Begin a new election timeout of random length (paper 5.2: split votes resolve)."""
        self.election_elapsed = 0
        ticks = self.settings.election_ticks
        self.timeout_ticks = ticks + self.chance.below(ticks)
