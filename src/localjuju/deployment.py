"""Changes that an operator makes to a model, on records only.

Each function checks first and changes then; whoever calls holds ``book.change()``. Agents and
machine keepers notice by comparing states, nobody is told.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localjuju import charm_package, leadership, storage
from localjuju.entities import (
    Application,
    Charm,
    End,
    Machine,
    Records,
    Relation,
    Status,
    Storage,
    Unit,
)
from localjuju.errors import JujuError
from localjuju.flush import drop_relation_grants
from localjuju.formats import go_quote
from localjuju.network import mac_for
from localjuju.resolver.state import ALIVE, DEAD, DYING
from localjuju.status_rules import begin_history, set_agent

APPLICATION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*$")
WAITING = "waiting for machine"


@dataclass(frozen=True)
class NewApplication:
    """What deploy was asked for."""

    name: str
    charm: Charm
    settings: dict[str, Any] = field(default_factory=dict)
    storage: dict[str, str] = field(default_factory=dict)
    units: int = 1
    placement: Sequence[str] = ()
    trust: bool = False
    base: str = ""


Addresses = Callable[[], str]


def convert_setting(charm: Charm, name: str, text: Any) -> Any:
    """Turn the text of an option into its type."""
    option = charm.options.get(name)
    if option is None:
        raise JujuError(f"unknown option {go_quote(name)}")
    kind = option.get("type", "string")
    if not isinstance(text, str):
        return text
    try:
        match kind:
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case _:
                return text
    except (ValueError, KeyError):
        raise JujuError(f"option {go_quote(name)} expected {kind}, got {go_quote(text)}") from None


def deploy(records: Records, wanted: NewApplication, now: float, address: Addresses) -> list[str]:
    """Make an application with its peer relations and first units."""
    if not APPLICATION.match(wanted.name):
        raise JujuError(f"invalid application name {go_quote(wanted.name)}")
    if wanted.name in records.applications:
        raise JujuError(
            f"cannot add application {go_quote(wanted.name)}: application already exists"
        )
    storage.check_directives(records, wanted.charm.metadata, wanted.storage)
    settings = {k: convert_setting(wanted.charm, k, v) for k, v in wanted.settings.items()}
    app = Application(
        wanted.name,
        wanted.charm.key,
        settings=settings,
        trust=wanted.trust,
        storage=dict(wanted.storage),
        base=wanted.base,
        created=now,
    )
    records.applications[wanted.name] = app
    for endpoint, body in charm_package.endpoints(wanted.charm.metadata).items():
        if body["role"] == "peer":
            end = End(wanted.name, endpoint, "peer", body["interface"], body["scope"])
            number = records.model.take_number("relation")
            records.relations[str(number)] = Relation(number, [end], since=now)
    return add_units(records, wanted.name, wanted.units, now, address, wanted.placement)


def add_units(
    records: Records,
    app_name: str,
    count: int,
    now: float,
    address: Addresses,
    placement: Sequence[str] = (),
) -> list[str]:
    """Add units, each on a machine of its own unless placed."""
    app = find_application(records, app_name)
    if app.life != ALIVE:
        raise JujuError(f"application {go_quote(app_name)} is not alive")
    if count and charm_package.is_subordinate(records.charms[app.charm].metadata):
        raise JujuError(
            f"cannot add unit to application {go_quote(app_name)}: application is a subordinate"
        )
    names = []
    for position in range(count):
        place = placement[position] if position < len(placement) else ""
        if place and not place.startswith(("lxd", "kvm", "zone")):
            machine = records.machines.get(place)
            if machine is None:
                raise JujuError(f"machine {place} not found")
            if machine.life != ALIVE:
                raise JujuError(f"cannot assign unit to machine {place}: machine is not alive")
        else:
            machine = add_machine(records, now, address)
        names.append(_new_unit(records, app, machine.number, now).name)
    return names


def _new_unit(
    records: Records, app: Application, machine: str, now: float, principal: str = ""
) -> Unit:
    unit = Unit(
        f"{app.name}/{app.next_unit}",
        app.name,
        machine,
        workload=Status("waiting", WAITING, now),
        agent=Status("allocating", "", now),
        principal=principal,
        created=now,
    )
    app.next_unit += 1
    begin_history(unit)
    records.units[unit.name] = unit
    storage.create_for_unit(records, unit, now)
    return unit


def add_subordinate(records: Records, relation: Relation, unit: Unit) -> None:
    """Give a principal unit that has entered such a relation its subordinate, once."""
    other = records.applications.get(relation.other_end(unit.app).app)
    if not relation.is_container or other is None or unit.principal or unit.life != ALIVE:
        return
    if not charm_package.is_subordinate(records.charms[other.charm].metadata):
        return
    present = [u for u in records.subordinates_of(unit.name) if u.app == other.name]
    if other.life == ALIVE and not present:
        _new_unit(records, other, unit.machine, unit.workload.since, unit.name)


def add_machine(records: Records, now: float, address: Addresses) -> Machine:
    """Add a machine; its keeper starts it."""
    number = str(records.model.take_number("machine"))
    host = address()
    hostname = f"juju-{records.model.name}-{number}"
    machine = Machine(
        number,
        hostname=hostname,
        instance=hostname,
        address=host,
        mac=mac_for(host),
        status=Status("pending", "starting", now),
        agent=Status("pending", "", now),
        base=str(records.model.config.get("localjuju-machine-base", "host")),
        created=now,
    )
    records.machines[number] = machine
    return machine


def find_application(records: Records, name: str) -> Application:
    """Return an application or refuse."""
    app = records.applications.get(name)
    if app is None:
        raise JujuError(f"application {go_quote(name)} not found")
    return app


def find_unit(records: Records, name: str) -> Unit:
    """Return a unit, also by ``app/leader``, or refuse."""
    app_name, slash, number = name.partition("/")
    if slash and number == "leader":
        app = find_application(records, app_name)
        holder = app.lease.holder if app.lease else ""
        if holder not in records.units:
            raise JujuError(f"could not determine leader for {go_quote(app_name)}")
        return records.units[holder]
    unit = records.units.get(name)
    if unit is None:
        raise JujuError(f"unit {go_quote(name)} not found")
    return unit


def destroy_unit(
    records: Records, unit: Unit, now: float, *, destroy_storage: bool = False
) -> None:
    """Begin the removal: the others see it departing from this moment on."""
    unit.destroy_storage = unit.destroy_storage or destroy_storage
    if unit.life != ALIVE:
        return
    unit.life = DYING
    unit.agent.since = now
    for relation in records.relations.values():
        member = relation.members.get(unit.name)
        if member is not None:
            member.departing = unit.name
    for subordinate in records.subordinates_of(unit.name):
        destroy_unit(records, subordinate, now, destroy_storage=destroy_storage)


def destroy_application(
    records: Records, app: Application, now: float, *, destroy_storage: bool = False
) -> None:
    """Begin the removal of an application: its units and relations go, then itself."""
    app.life = DYING
    for unit in records.units_of(app.name):
        destroy_unit(records, unit, now, destroy_storage=destroy_storage)
    for relation in records.relations_of(app.name):
        if not relation.is_peer:
            destroy_relation(records, relation, now)
    sweep(records)


def destroy_relation(records: Records, relation: Relation, now: float) -> None:
    """Begin the removal of a relation; it is gone when no unit is in its scope.

    A subordinate goes with the last relation that binds it to its principal's application.
    """
    relation.life = DYING
    for unit in list(records.units.values()) if relation.is_container else []:
        principal = unit.principal.partition("/")[0]
        if principal and relation.end_of(unit.app) and relation.end_of(principal):
            bound = [
                other
                for other in records.relations_of(unit.app)
                if other.is_container and other.life == ALIVE and other.end_of(principal)
            ]
            if not bound:
                destroy_unit(records, unit, now)
    sweep(records)


def sweep(records: Records) -> None:
    """Remove what nothing holds any more: relations without scope, applications without units."""
    for key, relation in list(records.relations.items()):
        in_scope = any(member.in_scope for member in relation.members.values())
        if relation.life != ALIVE and not in_scope:
            del records.relations[key]
            drop_relation_grants(records, relation.number)
    for name, app in list(records.applications.items()):
        if app.life == ALIVE or records.units_of(name):
            continue
        if any(not relation.is_peer for relation in records.relations_of(name)):
            continue
        for relation in records.relations_of(name):
            del records.relations[str(relation.number)]
        for secret in [s for s in records.secrets.values() if s.owner == name]:
            del records.secrets[secret.id]
        del records.applications[name]


def bury_unit(records: Records, unit: Unit, now: float) -> list[Storage]:
    """Take a dead unit out of the model; return the storage whose content is to be deleted."""
    unit.life = DEAD
    leadership.release(records, unit)
    for relation in records.relations.values():
        member = relation.members.get(unit.name)
        if member is not None:
            member.in_scope = False
            member.departing = unit.name
    attached = [item for item in records.storage.values() if item.unit == unit.name]
    gone = [
        item
        for item in attached
        if storage.end_attachment(records, item, keep=not unit.destroy_storage, now=now)
    ]
    for secret in [s for s in records.secrets.values() if s.owner == unit.name]:
        del records.secrets[secret.id]
    for secret in records.secrets.values():
        secret.consumers.pop(unit.name, None)
        secret.grants.pop(unit.name, None)
    for task in records.tasks.values():
        if task.receiver == unit.name and not task.is_done:
            task.status, task.message = "cancelled", "unit removed"
            task.completed = now
    del records.units[unit.name]
    sweep(records)
    return gone


def is_machine_unused(records: Records, number: str) -> bool:
    """Say whether a machine was made for units that are all gone."""
    machine = records.machines.get(number)
    if machine is None or machine.placed:
        return False
    return not any(unit.machine == number for unit in records.units.values())


def relate(records: Records, first: str, second: str, now: float) -> Relation:
    """Relate two applications; endpoints are inferred where that is unambiguous."""
    candidates = _matches(records, first, second)
    if not candidates:
        raise JujuError("no relations found")
    if len(candidates) > 1:
        lines = "\n".join(f'\t"{a.app}:{a.endpoint} {b.app}:{b.endpoint}"' for a, b in candidates)
        raise JujuError(f'ambiguous relation: "{first} {second}" could refer to{lines}')
    ends = list(candidates[0])
    _check_relation(records, Relation(0, ends))
    number = records.model.take_number("relation")
    relation = Relation(number, ends, since=now)
    records.relations[str(number)] = relation
    return relation


def _check_relation(records: Records, wanted: Relation) -> None:
    """Refuse a relation that exists, goes beyond a limit or binds a subordinate to nobody."""
    refused = f"cannot add relation {go_quote(wanted.key)}: "
    for relation in records.relations.values():
        if relation.key == wanted.key:
            raise JujuError(refused + f"relation {wanted.key} already exists")
    for end in wanted.ends:
        app = records.applications[end.app]
        if app.life != ALIVE:
            raise JujuError(refused + f"application {go_quote(end.app)} is not alive")
        declared = charm_package.endpoints(records.charms[app.charm].metadata).get(end.endpoint)
        limit = (declared or {}).get("limit")
        present = sum(
            1 for relation in records.relations_of(end.app)
            if (relation.end_of(end.app) or end).endpoint == end.endpoint
        )  # fmt: skip
        if limit and present >= int(limit):
            raise JujuError(
                refused + f"establishing a new relation for {end.app}:{end.endpoint} would exceed "
                f"its maximum relation limit of {limit}"
            )
    metadata = [records.charm_of(end.app).metadata for end in wanted.ends]
    if wanted.is_container and not any(map(charm_package.is_subordinate, metadata)):
        raise JujuError(
            refused + "container scoped relation requires at least one subordinate application"
        )


def _matches(records: Records, first: str, second: str) -> list[tuple[End, End]]:
    pairs = []
    for one in _ends(records, first):
        for other in _ends(records, second):
            fits = {one.role, other.role} == {"provider", "requirer"}
            if fits and one.interface == other.interface and one.app != other.app:
                pairs.append((one, other))
    explicit = [pair for pair in pairs if all(e.interface != "juju-info" for e in pair)]
    return explicit or pairs


def _ends(records: Records, text: str) -> list[End]:
    app_name, colon, endpoint = text.partition(":")
    app = find_application(records, app_name)
    found = charm_package.endpoints(records.charms[app.charm].metadata)
    found.setdefault(
        "juju-info", {"role": "provider", "interface": "juju-info", "scope": "global"}
    )
    if colon and endpoint not in found:
        raise JujuError(f"application {go_quote(app_name)} has no {go_quote(endpoint)} relation")
    return [
        End(app_name, name, body["role"], body["interface"], body["scope"])
        for name, body in found.items()
        if body["role"] != "peer" and (not colon or name == endpoint)
    ]


def find_relation(records: Records, first: str, second: str) -> Relation:
    """Return the relation of two applications, each with or without endpoint."""
    wanted = [text.partition(":") for text in (first, second)]
    for relation in records.relations.values():
        if relation.is_peer:
            continue
        for ends in (relation.ends, relation.ends[::-1]):
            if all(
                end.app == app and endpoint in {"", end.endpoint}
                for end, (app, _, endpoint) in zip(ends, wanted, strict=True)
            ):
                return relation
    raise JujuError(f'relation "{first} {second}" not found')


def settle_dying_machines(records: Records) -> None:
    """Let units whose machine never came be removed without hooks."""
    for unit in records.units.values():
        if unit.life == DYING and unit.machine not in records.machines:
            set_agent(unit, "lost", "", 0.0)
