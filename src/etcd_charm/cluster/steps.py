"""What a plan may ask of this machine, the cluster and Juju: plain values, no behaviour."""

import enum
from dataclasses import dataclass

from etcd_charm.cluster.facts import Access, Claim, MemberId, Rebuild, Rotation, Turn


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """Start the first member of a new cluster on an empty data directory."""

    token: str


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Enter this unit into the member list, without a vote."""

    peer_url: str


@dataclass(frozen=True, slots=True)
class StartJoiner:
    """Start a member that the list shows and that never ran: empty data, existing cluster."""


@dataclass(frozen=True, slots=True)
class StartMember:
    """Start the engine on the data that it has."""


@dataclass(frozen=True, slots=True)
class RestartMember:
    """Restart the running engine with the configuration on disk, handing leadership over first."""

    wanted: str


@dataclass(frozen=True, slots=True)
class StopMember:
    """Stop the engine cleanly."""


@dataclass(frozen=True, slots=True)
class Promote:
    """Give a learner its vote, as soon as it has caught up; wait for that no longer than said."""

    member_id: MemberId
    wait_s: int


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Take a member off the list."""

    member_id: MemberId
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateMember:
    """Tell the cluster this member's new peer address."""

    member_id: MemberId
    peer_url: str


@dataclass(frozen=True, slots=True)
class SetDataAside:
    """Move the data directory out of the way; nothing is ever deleted."""

    reason: str


@dataclass(frozen=True, slots=True)
class SwapRestored:
    """Put the restored data in the place of the present, and start it as a cluster of one."""

    restore_id: str


@dataclass(frozen=True, slots=True)
class DropFormerCopy:
    """Delete what a move to other storage left behind, now that the member is healthy there."""


@dataclass(frozen=True, slots=True)
class StopForRebuild:
    """Stop the engine and note where its log ends."""

    rebuild_id: str


@dataclass(frozen=True, slots=True)
class ForceAlone:
    """Start the engine once as the only member of its cluster."""

    rebuild_id: str


@dataclass(frozen=True, slots=True)
class KeepAccess:
    """Make users, roles and the switch of v3 auth what they should be."""

    access: Access


Step = (
    FoundCluster
    | AddLearner
    | StartJoiner
    | StartMember
    | RestartMember
    | StopMember
    | Promote
    | RemoveMember
    | UpdateMember
    | SetDataAside
    | SwapRestored
    | DropFormerCopy
    | StopForRebuild
    | ForceAlone
    | KeepAccess
)

MEMBERSHIP_STEPS = (AddLearner, Promote, RemoveMember, UpdateMember)
"""At most one of these per hook: the next decision must see what the last one did."""


class WokenBy(enum.Enum):
    """Who makes the next hook of a waiting unit happen."""

    TIMER = "a timer on this machine"
    PEER = "a databag of another unit"
    OPERATOR = "the operator"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing more can be done in this hook, and what ends the wait."""

    reason: str
    woken_by: WokenBy
    after_s: int = 0
    """For a timer: how long it runs."""


@dataclass(frozen=True, slots=True)
class AppWrites:
    """What the Juju leader records for all units. `None` leaves a key as it is."""

    claim: Claim | None = None
    releases_claim: bool = False
    cluster_id: str | None = None
    turn: Turn | None = None
    leader: str | None = None
    """Said by a new leader, so that the former one gets a hook and corrects its status."""
    makes_authorities: bool = False
    replaces_claim: bool = False
    """A restored cluster is a new one: its token takes the place of the former."""
    ends_restore: bool = False
    rebuild: Rebuild | str | None = None
    """A rebuild to record; an empty text ends it."""
    rotation: Rotation | str | None = None
    """The next phase of a rotation; an empty text ends it."""
    access: str | None = None
    """Recorded only if the step about access succeeds."""
    round_trip_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The outcome of a decision. Steps run in order and stop at the first that fails."""

    steps: tuple[Step, ...] = ()
    app: AppWrites = AppWrites()
    waiting: Waiting | None = None
    blocked: str = ""
    restart_wanted: str = ""
    """For this unit's databag: the configuration it wants to restart with, empty if none."""
    turn_done: int = 0
    """For this unit's databag: the turn that it gives back once its steps have run."""
    absent_since_s: tuple[tuple[MemberId, int], ...] = ()
    """For this unit's own memory: see `Facts.absent_since_s`."""
