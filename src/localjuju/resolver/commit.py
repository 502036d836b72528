"""What a successful (or skipped) hook changes in the local state."""

from dataclasses import replace

from localjuju.resolver.relations import NEW
from localjuju.resolver.state import QUEUED, Hook, LocalState, RelationLocal


def committed(local: LocalState, hook: Hook) -> LocalState:
    """Return the local state after the hook; at most one hook is queued behind it."""
    done = replace(local, hook=None, step="", failed=False)
    if hook.relation is not None:
        return _relation(done, hook, str(hook.relation))
    if hook.storage:
        return _storage(done, hook)
    if hook.secret:
        return _secret(done, hook)
    return _lifecycle(done, hook)


def _lifecycle(local: LocalState, hook: Hook) -> LocalState:
    match hook.kind:
        case "install":
            return replace(local, installed=True)
        case "leader-elected":
            return replace(local, leader=True, leader_settings=hook.version)
        case "leader-settings-changed":
            return replace(local, leader_settings=hook.version)
        case "config-changed":
            local = replace(local, fingerprint=hook.fingerprint)
            return local if local.started else _queue(local, Hook("start"))
        case "upgrade-charm":
            return _queue(replace(local, resources=hook.version), Hook("config-changed"))
        case "start":
            return replace(local, started=True)
        case "stop":
            return replace(local, stopped=True)
        case "remove":
            return replace(local, removed=True)
        case _:
            return local


def _queue(local: LocalState, hook: Hook) -> LocalState:
    return replace(local, hook=hook, step=QUEUED)


def _relation(local: LocalState, hook: Hook, key: str) -> LocalState:
    seen = local.relations.get(key, NEW)
    members = dict(seen.members)
    unit = hook.remote_unit
    match hook.kind:
        case "relation-created":
            seen = RelationLocal(created=True)
        case "relation-joined":
            # The data that joined saw is not "delivered": the owed changed delivers it.
            members[unit] = hook.version
            seen = replace(seen, members=members, owed_changed=unit)
        case "relation-changed" if unit:
            members[unit] = hook.version
            owed = "" if seen.owed_changed == unit else seen.owed_changed
            seen = replace(seen, members=members, owed_changed=owed)
        case "relation-changed":
            seen = replace(seen, app_version=hook.version)
        case "relation-departed":
            members.pop(unit, None)
            owed = "" if seen.owed_changed == unit else seen.owed_changed
            seen = replace(seen, members=members, owed_changed=owed)
        case "relation-broken":
            seen = replace(seen, broken=True, members={})
        case _:
            raise AssertionError(hook.kind)
    return replace(local, relations={**local.relations, key: seen})


def _storage(local: LocalState, hook: Hook) -> LocalState:
    if hook.kind == "storage-attached":
        return replace(local, storage=(*local.storage, hook.storage))
    kept = tuple(name for name in local.storage if name != hook.storage)
    return replace(local, storage=kept)


def _secret(local: LocalState, hook: Hook) -> LocalState:
    if hook.kind == "secret-changed":
        return replace(local, secrets={**local.secrets, hook.secret: hook.secret_revision})
    if hook.kind == "secret-remove":
        pair = f"{hook.secret}/{hook.secret_revision}"
        return replace(local, obsolete=(*local.obsolete, pair))
    return local
