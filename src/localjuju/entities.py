"""The model's entities: plain records that the journal can write as JSON.

A record holds committed facts only. What a running hook has written but not flushed lives in
its hook context; what runs (threads, processes) lives in the agents and machines.
"""

from dataclasses import dataclass, field
from typing import Any

from localjuju.resolver.state import ALIVE, LocalState


@dataclass
class Status:
    """A status with its message and the time it was set, in seconds since the epoch."""

    current: str
    message: str = ""
    since: float = 0.0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class Model:
    """The model itself; ``counters`` hand out ids that are never used twice."""

    name: str
    uuid: str
    created: float = 0.0
    life: str = ALIVE
    config: dict[str, Any] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    pools: dict[str, dict[str, str]] = field(default_factory=dict)
    """Storage pools that were made here: ``provider`` and its attributes."""
    constraints: dict[str, str] = field(default_factory=dict)
    ssh_keys: list[str] = field(default_factory=list)

    def take_number(self, counter: str, first: int = 0) -> int:
        """Return the next number of a counter."""
        number = self.counters.get(counter, first)
        self.counters[counter] = number + 1
        return number


@dataclass
class Charm:
    """A packed charm as it was uploaded: where the file is and what it declares."""

    key: str
    name: str
    revision: int
    package: str
    metadata: dict[str, Any]
    options: dict[str, Any]
    actions: dict[str, Any]
    source: str = ""


@dataclass
class Resource:
    """One revision of an attached resource."""

    name: str
    path: str
    filename: str
    revision: int
    fingerprint: str
    size: int
    created: float
    origin: str = "upload"


@dataclass
class Lease:
    """Leadership of one application, renewed every half lease while the holder is in contact."""

    holder: str
    acquired: float
    expires: float = 0.0
    """When it ends if the holder stays out of contact; 0 while in contact."""


@dataclass
class Application:
    """A deployed application."""

    name: str
    charm: str
    life: str = ALIVE
    settings: dict[str, Any] = field(default_factory=dict)
    trust: bool = False
    exposed: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """What expose has opened: by endpoint (``""``: all of them) the CIDRs and spaces."""
    next_unit: int = 0
    version: str = ""
    status: Status | None = None
    lease: Lease | None = None
    leader_settings: dict[str, str] = field(default_factory=dict)
    leader_settings_version: int = 0
    resources: dict[str, Resource] = field(default_factory=dict)
    resources_version: int = 0
    storage: dict[str, str] = field(default_factory=dict)
    """Directive ``pool,size_mib,count`` per storage name."""
    force_charm: bool = False
    base: str = ""
    created: float = 0.0


@dataclass
class Unit:
    """A unit with what it last said about itself and what its agent remembers."""

    name: str
    app: str
    machine: str
    workload: Status
    agent: Status
    life: str = ALIVE
    principal: str = ""
    """The unit beside which a subordinate lives; empty for all others."""
    local: LocalState = field(default_factory=LocalState)
    version: str = ""
    ports: dict[str, list[str]] = field(default_factory=dict)
    charm_state: dict[str, str] = field(default_factory=dict)
    retry_at: float = 0.0
    retries: int = 0
    resolved: str = ""
    next_update_status: float = 0.0
    rebooted: bool = False
    destroy_storage: bool = False
    history: list[list[Any]] = field(default_factory=list)
    created: float = 0.0


@dataclass
class Machine:
    """A machine and the processes that keep it up."""

    number: str
    hostname: str
    instance: str
    address: str
    mac: str
    status: Status
    agent: Status
    life: str = ALIVE
    base: str = "host"
    wanted: bool = True
    """False after a crash verb: stays down until it is started again."""
    partitioned: bool = False
    frozen: bool = False
    supervisor_pid: int = 0
    supervisor_started: str = ""
    boots: int = 0
    placed: bool = False
    """Made by an explicit add-machine, so not removed with its last unit."""
    created: float = 0.0


@dataclass
class End:
    """One side of a relation."""

    app: str
    endpoint: str
    role: str
    interface: str
    scope: str = "global"

    @property
    def is_implicit(self) -> bool:
        """Say whether it is ``juju-info``, which every charm has and no charm hears of."""
        return self.role == "provider" and self.endpoint == "juju-info"


@dataclass
class Membership:
    """One unit's data bag in one relation; kept until the relation is removed."""

    data: dict[str, str] = field(default_factory=dict)
    version: int = 1
    in_scope: bool = True
    departing: str = ""
    """The unit whose leaving takes this one out of sight, once it is leaving."""


@dataclass
class Relation:
    """A relation of one (peer) or two ends."""

    number: int
    ends: list[End]
    life: str = ALIVE
    suspended: bool = False
    app_data: dict[str, dict[str, str]] = field(default_factory=dict)
    app_versions: dict[str, int] = field(default_factory=dict)
    members: dict[str, Membership] = field(default_factory=dict)
    since: float = 0.0

    @property
    def key(self) -> str:
        """Return what Juju calls the relation: ``app:endpoint app:endpoint``, requirer first."""
        ordered = sorted(self.ends, key=lambda end: end.role != "requirer")
        return " ".join(f"{end.app}:{end.endpoint}" for end in ordered)

    @property
    def is_container(self) -> bool:
        """Say whether only units of one machine see each other: principal and subordinate."""
        return any(end.scope == "container" for end in self.ends)

    @property
    def is_peer(self) -> bool:
        """Say whether both sides are the same endpoint."""
        return len(self.ends) == 1

    def end_of(self, app: str) -> End | None:
        """Return this application's side."""
        return next((end for end in self.ends if end.app == app), None)

    def other_end(self, app: str) -> End:
        """Return the counterpart of an application's side; its own for a peer relation."""
        return next((end for end in self.ends if end.app != app), self.ends[0])


@dataclass
class SecretRevision:
    """One immutable content of a secret."""

    content: dict[str, str]
    created: float
    expire: float = 0.0


@dataclass
class Consumer:
    """What a unit (or an owning application) follows of a secret."""

    tracked: int
    label: str = ""


@dataclass
class Secret:
    """A secret; content values are kept as Juju does, in base64."""

    id: str
    owner_kind: str
    owner: str
    label: str = ""
    description: str = ""
    rotate: str = "never"
    next_rotate: float = 0.0
    latest: int = 0
    revisions: dict[str, SecretRevision] = field(default_factory=dict)
    grants: dict[str, int] = field(default_factory=dict)
    """Application or unit → relation number (-1: granted by a person)."""
    consumers: dict[str, Consumer] = field(default_factory=dict)
    created: float = 0.0
    updated: float = 0.0
    auto_prune: bool = False


@dataclass
class Storage:
    """A storage instance and its attachment, if any."""

    id: str
    name: str
    pool: str
    size_mib: int
    owner: str
    unit: str = ""
    life: str = ALIVE
    attachment_life: str = ALIVE
    provisioned: bool = False
    location: str = ""
    provider: str = ""
    """What makes it: rootfs, tmpfs, loop or hostdir."""
    directory: str = ""
    """Where a hostdir pool puts its instances."""
    message: str = ""
    """What stands in the way of its detachment."""
    kind: str = "filesystem"
    destroy: bool = False
    """On its way out with its unit (remove-unit --destroy-storage)."""
    since: float = 0.0

    @property
    def is_detachable(self) -> bool:
        """Say whether it outlives its unit; rootfs and tmpfs die with the machine."""
        return self.provider not in {"rootfs", "tmpfs"}


@dataclass
class Task:
    """An action or a command on one unit."""

    id: str
    operation: str
    receiver: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    status: str = "pending"
    message: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    log: list[list[Any]] = field(default_factory=list)
    enqueued: float = 0.0
    started: float = 0.0
    completed: float = 0.0

    @property
    def is_done(self) -> bool:
        """Say whether no more will happen to it."""
        return self.status not in {"pending", "running", "aborting"}


@dataclass
class Operation:
    """What one ``juju run`` or ``juju exec`` asked for."""

    id: str
    summary: str
    tasks: list[str]
    enqueued: float = 0.0


@dataclass
class Records:
    """Everything that a model is, by kind and id."""

    models: dict[str, Model] = field(default_factory=dict)
    charms: dict[str, Charm] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    units: dict[str, Unit] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    storage: dict[str, Storage] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """Return the model record itself."""
        return self.models["model"]

    def units_of(self, app: str) -> list[Unit]:
        """Return an application's units in the order of their numbers."""
        units = [unit for unit in self.units.values() if unit.app == app]
        return sorted(units, key=lambda unit: int(unit.name.partition("/")[2]))

    def subordinates_of(self, unit: str) -> list[Unit]:
        """Return the subordinate units that live beside a unit."""
        return [found for found in self.units.values() if found.principal == unit]

    def charm_of(self, app: str) -> Charm:
        """Return the charm that an application should run."""
        return self.charms[self.applications[app].charm]

    def relations_of(self, app: str) -> list[Relation]:
        """Return the relations with a side of this application, by number."""
        found = [relation for relation in self.relations.values() if relation.end_of(app)]
        return sorted(found, key=lambda relation: relation.number)
