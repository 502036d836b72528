"""``juju status`` for people: sections of columns, as Juju prints them."""

from dataclasses import dataclass
from typing import Any

from localjuju import leadership, ports, status_rules
from localjuju.entities import Application, Records, Relation, Unit
from localjuju.formats import natural_key
from localjuju.hook_env import JUJU_VERSION
from localjuju.rendering import clock, mebibytes, table
from localjuju.resolver.state import ALIVE
from localjuju.status import (
    CLOUD,
    CONTROLLER,
    agent_status,
    base_of,
    machine_status,
    relation_sides,
    storage_state,
    workload_status,
)

VERSION_WIDTH = 15
MESSAGE_WIDTH = 120
NOWHERE = {"mount-point": ""}


@dataclass(frozen=True)
class Shown:
    """What a person wants to see of a model."""

    relations: bool = False
    storage: bool = False
    utc: bool = False
    colour: bool = False


def status_table(records: Records, now: float, wanted: set[str], shown: Shown) -> str:
    """Return the whole text; ``wanted`` are the applications to show (none: all)."""
    colour = shown.colour
    sections = [table(_model(records, now, utc=shown.utc), colour=colour)]
    apps = [
        app for name, app in sorted(records.applications.items()) if not wanted or name in wanted
    ]
    if apps:
        sections.append(table(_applications(records, apps), right={3, 6}, colour=colour))
    units = [unit for app in apps for unit in records.units_of(app.name)]
    units = _nested(records, units)
    if apps:
        sections.append(table(_units(records, units, now), colour=colour))
    machines = {unit.machine for unit in units} if wanted else set(records.machines)
    if machines:
        sections.append(table(_machines(records, machines), colour=colour))
    names = {app.name for app in apps}
    if shown.relations:
        sections.append(table(_relations(records, names), colour=colour))
    if shown.storage:
        sections.append(storage_table(records, colour=colour))
    return "\n".join(section for section in sections if section)


def _nested(records: Records, units: list[Unit]) -> list[Unit]:
    """Return principal units by name, each followed by its subordinates."""
    chosen = {unit.name for unit in units}
    tops = [unit for unit in units if not unit.principal or unit.principal not in chosen]
    found = []
    for unit in sorted(tops, key=lambda unit: natural_key(unit.name)):
        found.append(unit)
        beside = records.subordinates_of(unit.name)
        found += sorted(beside, key=lambda other: natural_key(other.name))
    return found


def _model(records: Records, now: float, *, utc: bool) -> list[list[str]]:
    header = ["Model", "Controller", "Cloud/Region", "Version", "SLA", "Timestamp"]
    row = [
        records.model.name,
        CONTROLLER,
        f"{CLOUD}/{CLOUD}",
        JUJU_VERSION,
        "unsupported",
        clock(now, utc=utc),
    ]
    return [header, row]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _applications(records: Records, apps: list[Application]) -> list[list[str]]:
    rows = [["App", "Version", "Status", "Scale", "Charm", "Channel", "Rev", "Exposed", "Message"]]
    for app in apps:
        charm = records.charms[app.charm]
        status = status_rules.application_status(records, app)
        units = records.units_of(app.name)
        running = sum(1 for unit in units if unit.agent.current in {"idle", "executing", "error"})
        scale = str(len(units)) if running == len(units) else f"{running}/{len(units)}"
        rows.append([
            app.name, _cut(app.version, VERSION_WIDTH), status.current, scale, charm.name, "",
            str(charm.revision), "yes" if app.exposed else "no", _cut(status.message, MESSAGE_WIDTH),
        ])  # fmt: skip
    return rows


def _units(records: Records, units: list[Unit], now: float) -> list[list[str]]:
    rows = [["Unit", "Workload", "Agent", "Machine", "Public address", "Ports", "Message"]]
    for unit in units:
        app = records.applications[unit.app]
        star = "*" if leadership.leader_of(records, app, now) == unit.name else ""
        workload, agent = workload_status(records, unit), agent_status(records, unit)
        message = workload.message
        if agent.current == "executing":
            hook = agent.message.removeprefix("running ").partition(" hook")[0]
            if agent.message.startswith("running action "):
                hook = agent.message.removeprefix("running action ")
            message = f"({hook}) {message}".rstrip() if hook else message
        machine = records.machines.get(unit.machine)
        opened = ports.tabular(text for ranges in unit.ports.values() for text in ranges)
        rows.append([
            "  " * bool(unit.principal) + unit.name + star, workload.current, agent.current,
            "" if unit.principal else unit.machine,
            machine.address if machine else "", opened, _cut(message, MESSAGE_WIDTH),
        ])  # fmt: skip
    return rows


def _machines(records: Records, numbers: set[str]) -> list[list[str]]:
    rows = [["Machine", "State", "Address", "Inst id", "Base", "AZ", "Message"]]
    for number in sorted(numbers, key=int):
        machine = records.machines.get(number)
        if machine is None:
            continue
        base = base_of(machine.base)
        state = machine_status(records, machine)["juju-status"]["current"]
        rows.append([
            number, state, machine.address, machine.instance,
            f"{base['name']}@{base['channel']}", "", machine.status.message,
        ])  # fmt: skip
    return rows


def machines_table(records: Records, *, colour: bool = False) -> str:
    """Return the table of all machines."""
    return table(_machines(records, set(records.machines)), colour=colour)


def _relations(records: Records, names: set[str]) -> list[list[str]]:
    rows = []
    for relation in records.relations.values():
        if not any(end.app in names for end in relation.ends):
            continue
        provider, requirer, interface = relation_sides(relation)
        state = status_rules.relation_status(relation)
        message = "" if state == "joined" else state
        if relation.life != ALIVE:
            message = relation.life
        rows.append([provider, requirer, interface, _kind(relation), message])
    if not rows:
        return []
    header = ["Integration provider", "Requirer", "Interface", "Type", "Message"]
    return [header, *sorted(rows)]


def _kind(relation: Relation) -> str:
    if relation.is_peer:
        return "peer"
    return "subordinate" if relation.is_container else "regular"


def storage_table(records: Records, *, colour: bool = False, mounts: bool = True) -> str:
    """Return the table of storage instances, with mount points as ``status`` shows them."""
    if not records.storage:
        return ""
    rows = [
        ["Storage Unit", "Storage ID", "Type", "Pool", "Mountpoint", "Size", "Status", "Message"]
    ]
    for item in sorted(
        records.storage.values(),
        key=lambda s: (bool(s.unit), natural_key(s.unit), natural_key(s.id)),
    ):
        location = item.location if item.unit else ""
        rows.append([
            item.unit, item.id, item.kind, item.pool, location, mebibytes(item.size_mib),
            storage_state(item), item.message,
        ])  # fmt: skip
    if not mounts:
        rows = [[*row[:4], *row[5:]] for row in rows]
        rows[0][0] = "Unit"
    return table(rows, colour=colour)


def filesystem_table(filesystems: dict[str, Any]) -> str:
    """Return the table of ``juju storage --filesystem``; nothing when there is none."""
    places = [
        (machine, body, mount["mount-point"])
        for body in filesystems.values()
        for machine, mount in (
            body.get("attachments", {}).get("machines") or {"": NOWHERE}
        ).items()
    ]
    known = any(machine for machine, _, _ in places)
    numbers = {id(body): number for number, body in filesystems.items()}
    rows = []
    for machine, body, mount in places:
        unit = next(iter(body.get("attachments", {}).get("units", {})), "")
        state = body["status"]
        row = [
            machine, unit, body["storage"], numbers[id(body)], "", body["provider-id"], mount,
            mebibytes(body["size"]), state["current"], state.get("message", ""),
        ]  # fmt: skip
        rows.append(row)
    rows.sort(key=lambda row: (natural_key(row[0]), natural_key(row[1]), natural_key(row[2])))
    header = [
        "Machine", "Unit", "Storage ID", "ID", "Volume", "Provider ID", "Mountpoint", "Size",
        "State", "Message",
    ]  # fmt: skip
    whole = [header, *rows] if rows else []
    return table(whole if known else [[*row[1:4], *row[5:]] for row in whole])
