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
    server_ca: str = ""
    """Fingerprint of the CA that signed the certificate which this unit serves with."""
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


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """The engine on this machine."""

    is_running: bool = False
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


@dataclass(frozen=True, slots=True)
class MemberView:
    """One line of the member list, and whether that member answered a moment ago."""

    member_id: MemberId
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False
    is_reachable: bool = False


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

    @property
    def voters(self) -> tuple[MemberView, ...]:
        """The members that count for the quorum."""
        return tuple(member for member in self.members if not member.is_learner)

    @property
    def learners(self) -> tuple[MemberView, ...]:
        """The members that catch up and do not vote yet."""
        return tuple(member for member in self.members if member.is_learner)

    def find(self, unit: UnitName, peer_url: str) -> MemberView | None:
        """Return the member of a unit: by name, or by address while it never ran."""
        name = name_member(unit)
        for member in self.members:
            if member.name == name:
                return member
        for member in self.members:
            if not member.name and peer_url in member.peer_urls:
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
    def is_cluster_known(self) -> bool:
        """Whether anything shows that this application's cluster exists already."""
        return bool(self.cluster_id or self.view or any(peer.member_id for peer in self.peers))
