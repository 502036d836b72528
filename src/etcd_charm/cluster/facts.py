"""What a hook can know, as frozen values.

The engine's member list is the truth about membership. The peer relation carries only what a
member list cannot say: where a unit that is not a member yet can be found, who may found the
cluster, and whose turn it is to restart.
"""

import enum
from dataclasses import dataclass, field
from typing import NewType

from etcd_charm.cluster.settings import Settings

UnitName = NewType("UnitName", str)
"""A unit as Juju names it: `etcd/0`."""

MemberId = NewType("MemberId", int)
"""A member as the engine names it: 64 bits, written as hexadecimal everywhere outside."""

NO_MEMBER = MemberId(0)
"""The engine never hands out zero."""


def name_member(unit: UnitName) -> str:
    """Return the member name of a unit: its name without the slash, `etcd0`."""
    return unit.replace("/", "")


def number_of(unit: UnitName) -> int:
    """Return the number of a unit, so that `etcd/10` sorts after `etcd/2`."""
    return int(unit.rpartition("/")[2])


def host_of(url: str) -> str:
    """Return a URL without its port: `https://10.0.0.1`."""
    return url.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to found the cluster: one unit, once. The token becomes the cluster token."""

    unit: UnitName
    token: str
    engine: str = "raftkv"
    """Data of one engine is nothing to the other, so the founder's choice binds all."""


@dataclass(frozen=True, slots=True)
class Restore:
    """A restore under way: the unit that has the new data ready, and its cluster's token."""

    restore_id: str
    unit: UnitName
    token: str


@dataclass(frozen=True, slots=True, order=True)
class LogPosition:
    """The end of a member's log: who has the highest has every write that was acknowledged."""

    term: int = 0
    index: int = 0


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A rebuild under way, and the survivor once it is known."""

    rebuild_id: str
    unit: UnitName = UnitName("")

    def name_survivor(self, unit: UnitName) -> "Rebuild":
        """Return the rebuild with its survivor."""
        return Rebuild(self.rebuild_id, unit)


class RebuildState(enum.Enum):
    """How far this machine is with the last rebuild."""

    NONE = "none"
    STOPPED = "stopped"
    REBUILT = "rebuilt"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """How the last scheduled snapshot went."""

    unit: UnitName
    taken_s: int
    problem: str = ""
    """Empty if a member served from it with the right data."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """An authority that is being replaced."""

    rotation_id: str
    plane: str
    phase: str


@dataclass(frozen=True, slots=True)
class UserSpec:
    """A user of the cluster, by the common name of its certificate, and its role."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Access:
    """Users, roles, and whether they count."""

    is_enabled: bool
    users: tuple[UserSpec, ...]
    gone: tuple[str, ...] = ()
    """Users that are to be deleted: their certificates were revoked."""


class RestoreState(enum.Enum):
    """How far the last restore on a machine came."""

    NONE = "none"
    READY = "ready"
    """The new data lies beside the old and has been proved."""
    RESTORED = "restored"
    FAILED = "failed"
    """It did not serve; the former data is back."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to restart: one unit at a time. The number tells one turn from all others."""

    unit: UnitName
    number: int


@dataclass(frozen=True, slots=True)
class PeerUnit:
    """Another unit of this application, as its databag shows it."""

    unit: UnitName
    peer_url: str = ""
    client_url: str = ""
    member_id: MemberId = NO_MEMBER
    restart_wanted: str = ""
    turn_done: int = 0
    """The last turn that this unit has given back."""
    server_authorities: str = ""
    """PEM of the related authorities whose certificate this unit serves with, or is about to."""
    server_trust: frozenset[str] = frozenset()
    """Fingerprints of the authorities by which this unit knows servers, and has told consumers."""
    round_trip_ms: int = 0
    rotation_step: str = ""
    rebuild_step: str = ""
    restore_step: str = ""
    """The restore that the unit takes part in, and how far it is: `a1b2 stopped`."""


class DataState(enum.Enum):
    """What the data directory of this unit holds."""

    NEW = "new"
    """Nothing: no member ever ran on it."""
    OURS = "ours"
    """A member of this application's cluster."""
    FOREIGN = "foreign"
    """A member of another cluster: storage that came from elsewhere."""
    DETACHED = "detached"
    """The storage under it was taken away from a living unit."""
    UNMOUNTED = "unmounted"
    """The directory is there and what was mounted on it is not."""
    DIVERGED = "diverged"
    """A majority had another state: the engine stopped, and does not start on it again."""


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under the data."""

    total_bytes: int = 0
    free_bytes: int = 0
    is_read_only: bool = False
    sync_p99_ms: int = 0
    """How long the engine's log syncs took lately, but for the longest in a hundred."""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The engine on this machine."""

    is_running: bool = False
    start_progress: str = ""
    """What an engine that is not ready yet says of its start."""
    is_paused: bool = False
    """An operator has stopped it and wants it to stay stopped."""
    client_url: str = ""
    """Where the running engine listens: the options may have changed since it was started."""
    has_former_copy: bool = False
    """The data was moved to other storage, and the copy from before is still there."""
    disk: Disk = Disk()
    expires_in_days: int | None = None
    """When the first certificate that this unit shows ends."""
    data: DataState = DataState.NEW
    started_with: str = ""
    """Fingerprint of the configuration that the running engine was started with."""
    founded_token: str = ""
    """Token of the cluster that was founded on this machine; survives the loss of the data."""
    has_left: bool = False
    """A teardown hook took this unit off the member list; later ones need not ask again."""
    restore_id: str = ""
    """The last restore that this machine prepared."""
    restore_state: RestoreState = RestoreState.NONE
    restore_problem: str = ""
    rebuild_id: str = ""
    rebuild_state: RebuildState = RebuildState.NONE
    position: LogPosition = LogPosition()
    """Where the log ended when the engine was stopped for that rebuild."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """One line of the member list, and whether that member answered a moment ago."""

    member_id: MemberId
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False
    is_reachable: bool = False
    applied_index: int = 0
    """How far it has applied the log: the most caught-up member is the best heir."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster as a member told it within this hook."""

    cluster_id: int
    members: tuple[MemberView, ...]
    leader_id: MemberId = NO_MEMBER
    has_quorum: bool = False
    """The list was read through a quorum: it is current, and changes are possible."""
    version: str = ""
    """The lowest API version among the members that answered."""
    alarms: tuple[str, ...] = ()
    """Raised alarms, such as `NOSPACE at etcd0`."""
    round_trip_ms: int = 0
    """The slowest round trip from this unit to another member."""

    @property
    def voters(self) -> tuple[MemberView, ...]:
        """The members that count for the quorum."""
        return tuple(member for member in self.members if not member.is_learner)

    @property
    def learners(self) -> tuple[MemberView, ...]:
        """The members that catch up and do not vote yet."""
        return tuple(member for member in self.members if member.is_learner)

    def find(self, unit: UnitName, peer_url: str) -> MemberView | None:
        """Return the member of a unit: by name, or by the host of its address while it never ran.

        The port may have been changed by an option since the member was entered.
        """
        name = name_member(unit)
        for member in self.members:
            if member.name == name:
                return member
        host = host_of(peer_url)
        for member in self.members:
            if not member.name and host in map(host_of, member.peer_urls):
                return member
        return None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one hook of one unit knows when it decides."""

    unit: UnitName
    settings: Settings
    is_leader: bool = False
    is_dying: bool = False
    units_alive: frozenset[UnitName] = frozenset()
    """Units in goal-state that are not dying, this one included unless it is dying."""
    units_known: frozenset[UnitName] = frozenset()
    """Units in goal-state, dying ones included."""
    peer_url: str = ""
    client_url: str = ""
    has_peer_relation: bool = True
    has_authorities: bool = False
    """The certificate authorities of the charm are committed and readable here."""
    claim: Claim | None = None
    """As committed before this hook began: a claim written by this very hook is not in it."""
    cluster_id: str = ""
    """Recorded by a leader once the cluster exists; from then on nobody founds another."""
    leader_shown: str = ""
    """The unit that last said it leads; a deposed leader gets no hook of its own from Juju."""
    restore: Restore | None = None
    rebuild: Rebuild | None = None
    rotation: Rotation | None = None
    snapshot: SnapshotRecord | None = None
    users: tuple[UserSpec, ...] = ()
    users_gone: tuple[str, ...] = ()
    access: str = ""
    """What the leader last did about users and roles: see `access.describe_access`."""
    trust_awaited: tuple[UnitName, ...] = ()
    """Units that must trust a new related authority before this one serves with its certificate."""
    authority_problem: str = ""
    """Why the related authority's certificate is not used."""
    round_trip_ms: int = 0
    """The slowest round trip between two members, as recorded for all."""
    turn: Turn | None = None
    """The last turn that was granted, in use or given back."""
    turn_done: int = 0
    """The last turn that this unit itself has given back, as its databag shows."""
    peers: tuple[PeerUnit, ...] = ()
    engine: EngineFacts = field(default_factory=EngineFacts)
    wanted: str = ""
    """Fingerprint of the configuration that the files on disk describe now."""
    view: ClusterView | None = None
    absent_since_s: tuple[tuple[MemberId, int], ...] = ()
    """When this unit first missed the units of these members in goal-state, seconds."""
    now_s: int = 0
    fresh_token: str = ""
    """Randomness for a claim, drawn outside."""

    @property
    def member(self) -> MemberView | None:
        """This unit's own line of the member list."""
        return self.view.find(self.unit, self.peer_url) if self.view else None

    @property
    def serving_url(self) -> str:
        """Where this unit's running engine is reached, else where it will be."""
        is_serving = self.engine.is_running and self.engine.client_url
        return self.engine.client_url if is_serving else self.client_url

    @property
    def is_cluster_known(self) -> bool:
        """Whether anything shows that this application's cluster exists already."""
        return bool(self.cluster_id or self.view or any(peer.member_id for peer in self.peers))
