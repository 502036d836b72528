"""The remote side of the resolver's comparison: what the model says about one unit now."""

import hashlib
import json
from collections.abc import Sequence

from localjuju import leadership, secrets
from localjuju.entities import Records, Relation, Unit
from localjuju.resolver.state import ALIVE, DEAD, RelationRemote, RemoteState, StorageRemote


def fingerprint(records: Records, unit: Unit) -> str:
    """Return a hash of all that config-changed is about: settings, trust, addresses."""
    app = records.applications[unit.app]
    charm = records.charms[app.charm]
    settings = {
        name: app.settings.get(name, option.get("default"))
        for name, option in charm.options.items()
    }
    machine = records.machines.get(unit.machine)
    address = machine.address if machine else ""
    text = json.dumps([settings, app.trust, address], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def remote_relation(records: Records, relation: Relation, unit: Unit) -> RelationRemote:
    """Return one relation from a unit's side."""
    own = relation.end_of(unit.app)
    assert own is not None
    remote_app = relation.other_end(unit.app).app
    members = {
        name: member.version
        for name, member in relation.members.items()
        if member.in_scope
        and not member.departing
        and name != unit.name
        and name.partition("/")[0] == remote_app
        and (not relation.is_container or _are_beside(records, unit, name))
    }
    return RelationRemote(
        endpoint=own.endpoint,
        is_peer=relation.is_peer,
        remote_app=remote_app,
        life=relation.life,
        suspended=relation.suspended,
        implicit=own.is_implicit,
        members=members,
        app_version=relation.app_versions.get(remote_app, 0),
    )


def _are_beside(records: Records, unit: Unit, other: str) -> bool:
    """Say whether two units are a principal and its subordinate."""
    found = records.units.get(other)
    return unit.principal == other or (found is not None and found.principal == unit.name)


def remote_state(
    records: Records,
    unit: Unit,
    now: float,
    *,
    order: Sequence[str],
    commands: Sequence[str] = (),
) -> RemoteState:
    """Return the model's view of a unit; ``order`` is how relations are to be looked at."""
    app = records.applications[unit.app]
    leads = leadership.is_leader(records, unit, now)
    relations = {
        str(relation.number): remote_relation(records, relation, unit)
        for relation in records.relations_of(unit.app)
    }
    attached = {
        item.id: StorageRemote(item.attachment_life, item.provisioned)
        for item in records.storage.values()
        if item.unit == unit.name and item.attachment_life != DEAD
    }
    pending = [
        t for t in records.tasks.values() if t.receiver == unit.name and t.status == "pending"
    ]
    resolved = unit.resolved
    if not resolved and unit.retry_at and now >= unit.retry_at:
        resolved = "retry"
    return RemoteState(
        unit=unit.name,
        life=unit.life,
        app_life=app.life,
        leader=leads,
        leader_settings=app.leader_settings_version,
        fingerprint=fingerprint(records, unit),
        charm=app.charm,
        force_charm=app.force_charm,
        resources=app.resources_version,
        relations=relations,
        relation_order=tuple(key for key in order if key in relations),
        storage=attached,
        secrets=secrets.dues(records, unit, now, leads=leads),
        actions=tuple(t.id for t in sorted(pending, key=lambda task: int(task.id))),
        commands=tuple(commands),
        resolved=resolved,
        update_status_due=unit.life == ALIVE and 0 < unit.next_update_status <= now,
        rebooted=unit.rebooted,
    )
