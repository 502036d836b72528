"""``juju status`` for people: sections of columns, as Juju prints them."""

from localjuju import leadership, ports, status_rules
from localjuju.entities import Application, Records, Unit
from localjuju.formats import natural_key
from localjuju.hook_env import JUJU_VERSION
from localjuju.rendering import clock, table
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


def status_table(
    records: Records, now: float, *, relations: bool, storage: bool, utc: bool, wanted: set[str]
) -> str:
    """Return the whole text; ``wanted`` are the applications to show (none: all)."""
    sections = [_model(records, now, utc=utc)]
    apps = [
        app for name, app in sorted(records.applications.items()) if not wanted or name in wanted
    ]
    if apps:
        sections.append(_applications(records, apps))
    units = [unit for app in apps for unit in records.units_of(app.name)]
    units.sort(key=lambda unit: natural_key(unit.name))
    if apps:
        sections.append(_units(records, units, now))
    machines = {unit.machine for unit in units} if wanted else set(records.machines)
    if machines:
        sections.append(_machines(records, machines))
    names = {app.name for app in apps}
    if relations:
        text = _relations(records, names)
        if text:
            sections.append(text)
    if storage:
        text = storage_table(records)
        if text:
            sections.append(text)
    return "\n".join(sections)


def _model(records: Records, now: float, *, utc: bool) -> str:
    header = ["Model", "Controller", "Cloud/Region", "Version", "SLA", "Timestamp"]
    row = [
        records.model.name,
        CONTROLLER,
        f"{CLOUD}/{CLOUD}",
        JUJU_VERSION,
        "unsupported",
        clock(now, utc=utc),
    ]
    return table([header, row])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _applications(records: Records, apps: list[Application]) -> str:
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
    return table(rows, right={3, 6})


def _units(records: Records, units: list[Unit], now: float) -> str:
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
            unit.name + star, workload.current, agent.current, unit.machine,
            machine.address if machine else "", opened, _cut(message, MESSAGE_WIDTH),
        ])  # fmt: skip
    return table(rows)


def _machines(records: Records, numbers: set[str]) -> str:
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
    return table(rows)


def _relations(records: Records, names: set[str]) -> str:
    rows = []
    for relation in records.relations.values():
        if not any(end.app in names for end in relation.ends):
            continue
        provider, requirer, interface = relation_sides(relation)
        state = status_rules.relation_status(relation)
        message = "" if state == "joined" else state
        if relation.life != ALIVE:
            message = relation.life
        rows.append(
            [provider, requirer, interface, "peer" if relation.is_peer else "regular", message]
        )
    if not rows:
        return ""
    header = ["Integration provider", "Requirer", "Interface", "Type", "Message"]
    return table([header, *sorted(rows)])


def storage_table(records: Records) -> str:
    """Return the table of storage instances."""
    if not records.storage:
        return ""
    rows = [
        ["Storage Unit", "Storage ID", "Type", "Pool", "Mountpoint", "Size", "Status", "Message"]
    ]
    for item in sorted(
        records.storage.values(),
        key=lambda s: (not s.unit, natural_key(s.unit), natural_key(s.id)),
    ):
        size = (
            f"{item.size_mib / 1024:.1f} GiB" if item.size_mib >= 1024 else f"{item.size_mib} MiB"
        )
        location = item.location if item.unit else ""
        rows.append(
            [item.unit, item.id, item.kind, item.pool, location, size, storage_state(item), ""]
        )
    return table(rows)
