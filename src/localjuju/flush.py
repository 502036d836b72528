"""Applying what a successful run has asked for, all of it or nothing.

Everything is checked before anything is changed; a refusal fails the run although its process
ended well (lost leadership, a port that overlaps another unit's, a label that is taken).
"""

from dataclasses import replace

from localjuju import charm_package, secrets, storage
from localjuju.entities import Records, Unit
from localjuju.errors import JujuError
from localjuju.hook_context import HookContext
from localjuju.ports import conflict, merged, parse_range

NOT_LEADER = "this unit is not the leader"
CHARM_STATE_BYTES_MAX = 2 << 20


def flush(context: HookContext) -> None:
    """Commit the context's pending writes; call with ``book.change()`` held."""
    _refresh_network(context)
    _check(context)
    _commit_secrets(context)
    for number, data in context.pending.unit_data.items():
        relation = context.records.relations.get(str(number))
        member = relation.members.get(context.unit_name) if relation else None
        if member is not None and member.data != data:
            member.data = dict(data)
            member.version += 1
    for number, data in context.pending.app_data.items():
        relation = context.records.relations.get(str(number))
        app = context.unit.app
        if relation is not None and relation.app_data.get(app, {}) != data:
            relation.app_data[app] = dict(data)
            relation.app_versions[app] = relation.app_versions.get(app, 0) + 1
            if relation.is_peer and not context.records.model.config.get(
                "localjuju-peer-app-echo", True
            ):
                _acknowledge(context.unit, number, relation.app_versions[app])
    _commit_ports(context)
    if context.pending.charm_state is not None:
        context.unit.charm_state = context.pending.charm_state
    for name, count in context.pending.storage.items():
        storage.add_to_unit(context.records, context.unit, name, count, context.book.now())


def _acknowledge(unit: Unit, number: int, version: int) -> None:
    seen = unit.local.relations[str(number)]
    relations = {**unit.local.relations, str(number): replace(seen, app_version=version)}
    unit.local = replace(unit.local, relations=relations)


def _refresh_network(context: HookContext) -> None:
    """After config-changed the unit's own bags follow the machine's address."""
    if context.hook is None or context.hook.kind != "config-changed":
        return
    address = context.address()
    for relation in context.relations():
        member = relation.members.get(context.unit_name)
        if member is None or member.data.get("ingress-address") in {address, None}:
            continue
        data = dict(context.own_data(relation))
        data.update(network_settings(address))
        context.pending.unit_data[relation.number] = data


def network_settings(address: str) -> dict[str, str]:
    """Return what a unit's bag says about its network."""
    return {
        "egress-subnets": f"{address}/32",
        "ingress-address": address,
        "private-address": address,
    }


def _check(context: HookContext) -> None:
    context.denied_leader = False
    if context.pending.app_data and not context.is_leader():
        raise JujuError("cannot write relation settings: " + NOT_LEADER)
    state = context.pending.charm_state
    if state is not None:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in state.items())
        if size > CHARM_STATE_BYTES_MAX:
            raise JujuError(f"cannot persist charm state: {size} bytes are too many")
    for change in context.pending.secrets.values():
        secret = change.create or context.records.secrets.get(change.id)
        if secret is None:
            raise JujuError(f'secret "{change.id}" not found')
        if not secrets.is_manager(secret, context.unit, leads=context.is_leader()):
            raise JujuError("permission denied")
    _check_ports(context)


def _check_ports(context: HookContext) -> None:
    known = charm_package.endpoint_names(context.metadata)
    for verb, requests in (("open", context.pending.opened), ("close", context.pending.closed)):
        for endpoint in requests:
            if endpoint and endpoint not in known:
                raise JujuError(
                    f'cannot open/close ports: {verb} port range: endpoint "{endpoint}" for unit '
                    f'"{context.unit_name}" not found'
                )
    for ranges in context.pending.opened.values():
        for wanted in map(parse_range, ranges):
            for other in context.neighbours():
                taken = conflict(wanted, other.ports, endpoint=None)
                if taken is not None:
                    raise JujuError(
                        f"cannot open/close ports: cannot open ports {wanted}: port ranges {taken} "
                        f'("{other.name}") and {wanted} ("{context.unit_name}") conflict'
                    )


def _commit_secrets(context: HookContext) -> None:
    now = context.book.now()
    ordered = sorted(context.pending.secrets.values(), key=lambda change: not change.delete)
    for change in ordered:
        secrets.apply(context.records, change, now)


def _commit_ports(context: HookContext) -> None:
    unit, pending = context.unit, context.pending
    known = charm_package.endpoint_names(context.metadata)
    unit.ports = merged(unit.ports, pending.opened, pending.closed, known)


def drop_relation_grants(records: Records, number: int) -> None:
    """A grant ends with its relation."""
    for secret in records.secrets.values():
        for consumer in [name for name, relation in secret.grants.items() if relation == number]:
            del secret.grants[consumer]
            for unit in [name for name in secret.consumers if name.partition("/")[0] == consumer]:
                del secret.consumers[unit]
