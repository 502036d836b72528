"""What the simulated model is made of: units with their machines, and the application databag."""

from dataclasses import dataclass, field

from etcd_charm.cluster.facts import (
    NO_MEMBER,
    Claim,
    Facts,
    LogPosition,
    MemberId,
    PeerUnit,
    Rebuild,
    RebuildState,
    Restore,
    RestoreState,
    Turn,
    UnitName,
)
from etcd_charm.cluster.status import Report
from etcd_charm.cluster.steps import Plan
from tests.simulation.charm.cluster_model import Cluster

BOOT_HOOKS = ("install", "cluster-relation-created", "config-changed", "start")


@dataclass
class AppBag:
    claim: Claim | None = None
    cluster_id: str = ""
    leader: str = ""
    turn: Turn | None = None
    has_authorities: bool = False
    restore: Restore | None = None
    rebuild: Rebuild | None = None
    access: str = ""


@dataclass
class Unit:
    name: UnitName
    boot_left: list[str] = field(default_factory=lambda: list(BOOT_HOOKS))
    in_scope: bool = False
    is_dying: bool = False
    is_dead: bool = False
    """Gone from the model; its machine is off."""
    elected: bool = False
    bag: PeerUnit | None = None
    bag_version: int = 0
    nonce: str = ""
    heard: dict[UnitName, int] = field(default_factory=dict)
    """Versions of other units' bags that this unit has been told of."""
    heard_app: int = 0
    cached: dict[UnitName, PeerUnit] = field(default_factory=dict)
    wake_at_s: int | None = None
    teardown: list[str] = field(default_factory=list)
    failed_hook: str | None = None
    # the machine
    doors: list[UnitName] = field(default_factory=list)
    """Members that this machine remembers."""
    cluster: Cluster | None = None
    member_id: MemberId = NO_MEMBER
    data_token: str = ""
    """What the data is marked with: the cluster that it belongs to."""
    founded_token: str = ""
    restore: Restore | None = None
    """The last restore that was prepared on this machine."""
    rebuild_id: str = ""
    rebuild_state: RebuildState = RebuildState.NONE
    position: LogPosition = field(default_factory=LogPosition)
    restored_from: str = ""
    restore_state: RestoreState = RestoreState.NONE
    started_with: str = ""
    has_left: bool = False
    absences: tuple[tuple[MemberId, int], ...] = ()
    wanted: str = "config-1"
    port: int = 2380
    last_plan: Plan | None = None
    last_report: Report | None = None
    """What `juju status` shows of the unit: it must be right in the end without another hook."""

    @property
    def peer_url(self) -> str:
        return f"https://10.0.0.{self.name.partition('/')[2]}:{self.port}"

    @property
    def client_url(self) -> str:
        return f"https://10.0.0.{self.name.partition('/')[2]}:2379"

    @property
    def is_running(self) -> bool:
        member = self.cluster.members.get(self.member_id) if self.cluster else None
        return member is not None and member.is_running


@dataclass
class OpenHook:
    """A hook that has begun and not ended."""

    hook: str
    facts: Facts
    plan: Plan
    was_leader: bool
