"""The next hook of each relation.

Per relation, in this order: (a) the changed owed to a unit that just joined, come what may; (b)
departed for members no longer there, by name; (c) broken when the relation is going, is suspended
or the unit is dying, never for peers; (d) changed for moved application data; (e) joined for new
members, by name; (f) changed for members whose data moved, by name. Names sort as strings.
Across relations the scheduler's order counts, peers come last; only joined → changed is
adjacent, and only within one relation (juju: worker/uniter/relation/resolver.go).
"""

from dataclasses import replace

from localjuju.resolver.state import (
    ALIVE,
    Adopt,
    Hook,
    LocalState,
    Operation,
    RelationLocal,
    RelationRemote,
    RemoteState,
    RunHook,
)

NEW = RelationLocal()


def created(local: LocalState, remote: RemoteState) -> Operation | None:
    """Return relation-created for a relation that this unit has not entered yet."""
    for key in remote.relation_order:
        relation = remote.relations[key]
        seen = local.relations.get(key, NEW)
        if relation.life != ALIVE or relation.suspended or relation.implicit:
            continue
        if not seen.created or seen.broken:
            return RunHook(_hook("relation-created", key, relation))
    return None


def steady(local: LocalState, remote: RemoteState) -> Operation | None:
    """Return the next relation hook of a living unit."""
    for key in _peers_last(remote):
        relation = remote.relations[key]
        seen = local.relations.get(key, NEW)
        operation = _ending(local, key, relation, seen, remote) or _moving(key, relation, seen)
        if operation is not None:
            return operation
    return None


def departing(local: LocalState, remote: RemoteState) -> Operation | None:
    """Return the next relation hook of a dying unit, which names itself as departing."""
    for key in _peers_last(remote):
        relation = remote.relations[key]
        seen = local.relations.get(key, NEW)
        operation = _ending(local, key, relation, seen, remote)
        if operation is not None:
            return operation
    return None


def _peers_last(remote: RemoteState) -> list[str]:
    """Return the scheduler's order with peers behind it: while others end, they are still there."""
    return sorted(remote.relation_order, key=lambda key: remote.relations[key].is_peer)


def _is_going(relation: RelationRemote, remote: RemoteState) -> bool:
    return relation.life != ALIVE or relation.suspended or remote.life != ALIVE


def _ending(
    local: LocalState,
    key: str,
    relation: RelationRemote,
    seen: RelationLocal,
    remote: RemoteState,
) -> Operation | None:
    if seen.broken or relation.implicit:
        return None
    going = _is_going(relation, remote)
    if not seen.created:
        ended = replace(seen, broken=True)
        return Adopt(replace(local, relations={**local.relations, key: ended})) if going else None
    if seen.owed_changed:
        unit = seen.owed_changed
        version = relation.members.get(unit, seen.members.get(unit, 0))
        return RunHook(_hook("relation-changed", key, relation, unit, version))
    for unit in sorted(seen.members):
        if going or unit not in relation.members:
            leaving = remote.life != ALIVE or remote.app_life != ALIVE
            cause = remote.unit if leaving else unit
            hook = _hook("relation-departed", key, relation, unit)
            return RunHook(replace(hook, departing_unit=cause))
    if going and not relation.is_peer:
        return RunHook(_hook("relation-broken", key, relation))
    return None


def _moving(key: str, relation: RelationRemote, seen: RelationLocal) -> Operation | None:
    if not seen.created or seen.broken or relation.life != ALIVE or relation.suspended:
        return None
    if relation.app_version != seen.app_version:
        return RunHook(_hook("relation-changed", key, relation, "", relation.app_version))
    for unit in sorted(relation.members):
        if unit not in seen.members:
            return RunHook(_hook("relation-joined", key, relation, unit, relation.members[unit]))
    for unit in sorted(relation.members):
        if relation.members[unit] != seen.members[unit]:
            return RunHook(_hook("relation-changed", key, relation, unit, relation.members[unit]))
    return None


def _hook(kind: str, key: str, relation: RelationRemote, unit: str = "", version: int = 0) -> Hook:
    return Hook(
        kind,
        relation=int(key),
        endpoint=relation.endpoint,
        remote_unit=unit,
        remote_app=relation.remote_app,
        version=version,
    )
