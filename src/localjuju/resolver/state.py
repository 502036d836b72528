"""The two sides that the resolver compares, and the hooks and operations it can name.

``LocalState`` is what this unit has committed; it is written to the journal after every step.
``RemoteState`` is what the model says now. Neither contains a history: an event exists only
while the two differ, so two quick changes make one hook and an undone change makes none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

ALIVE = "alive"
DYING = "dying"
DEAD = "dead"

QUEUED = "queued"
PENDING = "pending"


@dataclass(frozen=True)
class Hook:
    """One hook with all that its environment and its commit need."""

    kind: str
    relation: int | None = None
    endpoint: str = ""
    remote_unit: str = ""
    remote_app: str = ""
    departing_unit: str = ""
    storage: str = ""
    secret: str = ""
    secret_label: str = ""
    secret_revision: int = 0
    version: int = 0
    fingerprint: str = ""

    @property
    def name(self) -> str:
        """Return the full hook name: ``ring-relation-joined``, ``data-storage-attached``."""
        if self.relation is not None:
            return f"{self.endpoint}-{self.kind}"
        if self.storage:
            return f"{self.storage.partition('/')[0]}-{self.kind}"
        return self.kind


@dataclass(frozen=True)
class RelationLocal:
    """What this unit has been told about one relation."""

    members: Mapping[str, int] = field(default_factory=dict)
    """Joined units with the data version last delivered."""
    app_version: int = 0
    owed_changed: str = ""
    """The unit whose joined ran and whose changed has not."""
    created: bool = False
    broken: bool = False


@dataclass(frozen=True)
class LocalState:
    """All that the unit agent remembers between two operations."""

    deployed: str = ""
    """Key of the charm whose files are on the machine; empty before the first deploy."""
    installed: bool = False
    started: bool = False
    stopped: bool = False
    removed: bool = False
    hook: Hook | None = None
    step: str = ""
    failed: bool = False
    leader: bool = False
    leader_settings: int = -1
    fingerprint: str = ""
    resources: int = 0
    relations: Mapping[str, RelationLocal] = field(default_factory=dict)
    storage: tuple[str, ...] = ()
    secrets: Mapping[str, int] = field(default_factory=dict)
    """Latest revision announced by secret-changed, per consumed secret."""
    obsolete: tuple[str, ...] = ()
    """``id/revision`` pairs whose secret-remove ran."""

    @property
    def idle(self) -> bool:
        """Say whether no hook is queued or pending."""
        return self.hook is None


@dataclass(frozen=True)
class RelationRemote:
    """One relation as the model sees it now, from this unit's side."""

    endpoint: str
    is_peer: bool
    remote_app: str
    life: str = ALIVE
    suspended: bool = False
    implicit: bool = False
    """The charm does not declare this side: it runs no hooks for it."""
    members: Mapping[str, int] = field(default_factory=dict)
    """Counterpart units in scope and not departing, with their data version."""
    app_version: int = 0


@dataclass(frozen=True)
class StorageRemote:
    """One attachment of this unit."""

    life: str = ALIVE
    provisioned: bool = True


@dataclass(frozen=True)
class SecretDue:
    """A secret hook that the model owes this unit."""

    kind: str
    secret: str
    revision: int = 0
    label: str = ""


@dataclass(frozen=True)
class RemoteState:
    """The model's view of one unit at one moment."""

    unit: str
    life: str = ALIVE
    app_life: str = ALIVE
    leader: bool = False
    leader_settings: int = 0
    fingerprint: str = ""
    charm: str = "charm"
    force_charm: bool = False
    resources: int = 0
    relations: Mapping[str, RelationRemote] = field(default_factory=dict)
    relation_order: tuple[str, ...] = ()
    """The order in which relations are looked at; the scheduler's choice, not the resolver's."""
    storage: Mapping[str, StorageRemote] = field(default_factory=dict)
    secrets: tuple[SecretDue, ...] = ()
    actions: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    resolved: str = ""
    """``retry`` or ``skip`` when a person or the retry timer wants the failed hook to go on."""
    update_status_due: bool = False
    rebooted: bool = False


@dataclass(frozen=True)
class Deploy:
    """Put the files of a charm on the machine, then run its install or upgrade-charm."""

    charm: str
    upgrade: bool


@dataclass(frozen=True)
class RunHook:
    """Run this hook."""

    hook: Hook


@dataclass(frozen=True)
class SkipHook:
    """Commit the failed hook without running it."""

    hook: Hook


@dataclass(frozen=True)
class RunTask:
    """Run a queued action or exec task."""

    task: str


@dataclass(frozen=True)
class RunCommands:
    """Run commands that came in through juju-exec on the machine."""

    command: str


@dataclass(frozen=True)
class Adopt:
    """Take over a changed local state without running anything."""

    local: LocalState


@dataclass(frozen=True)
class Terminate:
    """The unit is finished: mark it dead."""


Operation = Union[Deploy, RunHook, SkipHook, RunTask, RunCommands, Adopt, Terminate]  # noqa: UP007
