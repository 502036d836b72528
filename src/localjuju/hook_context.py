"""What one run of a charm sees and has asked for so far.

A context is made just before the run and thrown away after it. It answers hook tools from the
committed records, laid over with what this run has written and not flushed. The rules of what
is immediate and what waits for success are in ``hook_tools``; ``flush`` applies what waited.

``MemberCache`` outlives contexts: the data of a remote member that was read once stays as it was
until that member's joined or changed is delivered.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localjuju import charm_package, leadership
from localjuju.book import Book
from localjuju.entities import Application, Records, Relation, Task, Unit
from localjuju.errors import JujuError, UnitGone
from localjuju.resolver.state import Hook
from localjuju.secrets import SecretChange

MemberCache = dict[tuple[int, str], dict[str, str]]

Log = Callable[[str, str, str], None]
"""Takes level, logger and text."""


@dataclass
class Pending:
    """What waits for the success of the run."""

    unit_data: dict[int, dict[str, str]] = field(default_factory=dict)
    app_data: dict[int, dict[str, str]] = field(default_factory=dict)
    opened: dict[str, list[str]] = field(default_factory=dict)
    closed: dict[str, list[str]] = field(default_factory=dict)
    charm_state: dict[str, str] | None = None
    storage: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, SecretChange] = field(default_factory=dict)


@dataclass
class HookContext:
    """The context of one hook, action or command."""

    book: Book
    unit_name: str
    context_id: str
    kind: str
    """``hook``, ``action`` or ``exec``."""
    log: Log
    hook: Hook | None = None
    task: Task | None = None
    relation: int | None = None
    remote_unit: str = ""
    remote_app: str = ""
    cache: MemberCache = field(default_factory=dict)
    chooser: random.Random = field(default_factory=random.Random)
    fetch_resource: Callable[[str], str] | None = None
    pending: Pending = field(default_factory=Pending)
    reboot: str = ""
    """``after`` or ``now`` once juju-reboot was called."""
    failure: str | None = None
    """The message of action-fail."""
    results: dict[str, Any] = field(default_factory=dict)
    denied_leader: bool = False
    status_seen: dict[str, Any] | None = None
    settings_seen: dict[str, Any] | None = None
    data_seen: dict[tuple[int, str], dict[str, str]] = field(default_factory=dict)
    leader_settings_seen: dict[str, str] | None = None
    born: float = 0.0
    """When the unit was made: another unit of that name is not this run's."""

    def __post_init__(self) -> None:
        self.born = self.records.units[self.unit_name].created
        hook = self.hook
        if hook is None or hook.relation is None:
            return
        self.relation = hook.relation
        self.remote_unit = hook.remote_unit
        self.remote_app = hook.remote_app
        relation = self.hook_relation()
        if not self.remote_app and relation is not None:
            self.remote_app = self.counterpart(relation)
        if hook.kind in {"relation-joined", "relation-changed"} and hook.remote_unit:
            self.cache.pop((hook.relation, hook.remote_unit), None)
        if hook.kind == "relation-departed":
            self.cache.pop((hook.relation, hook.remote_unit), None)

    @property
    def records(self) -> Records:
        """Return the committed records; call with the book's lock held."""
        return self.book.records

    @property
    def unit(self) -> Unit:
        """Return this unit; raises UnitGone when it was removed by force."""
        unit = self.records.units.get(self.unit_name)
        if unit is None or unit.created != self.born:
            raise UnitGone(self.unit_name)
        return unit

    @property
    def app(self) -> Application:
        """Return this unit's application."""
        return self.records.applications[self.unit.app]

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the charm that runs, not of one that is about to."""
        deployed = self.unit.local.deployed
        charm = self.records.charms.get(deployed) or self.records.charms[self.app.charm]
        return charm.metadata

    def is_leader(self) -> bool:
        """Say whether this unit leads; a no is remembered for the rest of the run."""
        if self.denied_leader:
            return False
        leads = leadership.is_leader(self.records, self.unit, self.book.now())
        self.denied_leader = not leads
        return leads

    def settings(self) -> dict[str, Any]:
        """Return the configuration, read once per run: every option, None where unset."""
        if self.settings_seen is None:
            charm = self.records.charms[self.app.charm]
            self.settings_seen = {
                name: self.app.settings.get(name, option.get("default"))
                for name, option in charm.options.items()
            }
        return self.settings_seen

    def relations(self) -> list[Relation]:
        """Return the relations that this unit is in."""
        found = []
        for relation in self.records.relations_of(self.unit.app):
            seen = self.unit.local.relations.get(str(relation.number))
            entered = seen is not None and seen.created and not seen.broken
            if entered or relation.number == self.relation:
                found.append(relation)
        return found

    def hook_relation(self) -> Relation | None:
        """Return the relation that the run is about, if any."""
        return None if self.relation is None else self.find_relation(self.relation)

    def find_relation(self, number: int) -> Relation | None:
        """Return a relation of this unit by number."""
        return next((item for item in self.relations() if item.number == number), None)

    def endpoint(self, relation: Relation) -> str:
        """Return the name of this side's endpoint."""
        end = relation.end_of(self.unit.app)
        assert end is not None
        return end.endpoint

    def counterpart(self, relation: Relation) -> str:
        """Return the remote application; for a peer relation the own one."""
        return relation.other_end(self.unit.app).app

    def members(self, relation: Relation) -> list[str]:
        """Return the units that have joined from this unit's view, sorted as strings."""
        seen = self.unit.local.relations.get(str(relation.number))
        members = set(seen.members) if seen is not None else set()
        hook = self.hook
        if hook is not None and hook.relation == relation.number and hook.remote_unit:
            if hook.kind == "relation-departed":
                members.discard(hook.remote_unit)
            else:
                members.add(hook.remote_unit)
        if (
            hook is not None
            and hook.relation == relation.number
            and hook.kind == "relation-broken"
        ):
            members.clear()
        return sorted(members)

    def own_data(self, relation: Relation) -> dict[str, str]:
        """Return this unit's bag with what was written in this run."""
        pending = self.pending.unit_data.get(relation.number)
        if pending is not None:
            return pending
        member = relation.members.get(self.unit_name)
        return dict(member.data) if member is not None else {}

    def own_app_data(self, relation: Relation) -> dict[str, str]:
        """Return the application's bag with what was written in this run."""
        pending = self.pending.app_data.get(relation.number)
        if pending is not None:
            return pending
        return dict(relation.app_data.get(self.unit.app, {}))

    def remote_data(self, relation: Relation, unit: str) -> dict[str, str]:
        """Return another unit's bag: frozen for members that were read before."""
        app = unit.partition("/")[0]
        if app not in {end.app for end in relation.ends}:
            raise JujuError("permission denied")
        key = (relation.number, unit)
        cache = self.cache if unit in self.members(relation) else self.data_seen
        if key not in cache:
            member = relation.members.get(unit)
            if member is None:
                raise JujuError(
                    f'cannot read settings for unit "{unit}" in relation "{relation.key}": '
                    f'unit "{unit}": settings not found'
                )
            cache[key] = dict(member.data)
        return cache[key]

    def app_data(self, relation: Relation, app: str) -> dict[str, str]:
        """Return an application's bag as this unit may see it."""
        if app == self.unit.app:
            if self.is_leader():
                return self.own_app_data(relation)
            if not relation.is_peer:
                raise JujuError("permission denied")
        elif app not in {end.app for end in relation.ends}:
            raise JujuError("permission denied")
        key = (relation.number, app)
        if key not in self.data_seen:
            self.data_seen[key] = dict(relation.app_data.get(app, {}))
        return self.data_seen[key]

    def storage_ids(self) -> list[str]:
        """Return attachments whose -attached hook has been started."""
        ids = set(self.unit.local.storage)
        if self.hook is not None and self.hook.storage:
            ids.add(self.hook.storage)
        return sorted(ids)

    def charm_state(self) -> dict[str, str]:
        """Return the charm's server-side state with what was written in this run."""
        pending = self.pending.charm_state
        return dict(self.unit.charm_state) if pending is None else pending

    def writable_charm_state(self) -> dict[str, str]:
        """Return the pending state, made on first use."""
        if self.pending.charm_state is None:
            self.pending.charm_state = dict(self.unit.charm_state)
        return self.pending.charm_state

    def secret_change(self, identifier: str) -> SecretChange:
        """Return the pending change of a secret, made on first use."""
        return self.pending.secrets.setdefault(identifier, SecretChange(identifier))

    def bindings(self) -> set[str]:
        """Return the names that network-get knows."""
        return {*charm_package.endpoint_names(self.metadata), "juju-info"}

    def neighbours(self) -> list[Unit]:
        """Return the other units of this unit's machine."""
        own = self.unit
        units = self.records.units.values()
        return [unit for unit in units if unit.machine == own.machine and unit is not own]

    def address(self) -> str:
        """Return the address of this unit's machine."""
        return self.records.machines[self.unit.machine].address
