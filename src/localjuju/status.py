"""``juju status`` as a value: the JSON form, from which the tables are made too."""

import platform
from typing import Any

from localjuju import charm_package, leadership, ports, status_rules
from localjuju.bases import host_base
from localjuju.entities import Application, Machine, Records, Relation, Status, Storage, Unit
from localjuju.hook_env import JUJU_VERSION
from localjuju.rendering import moment
from localjuju.resolver.state import ALIVE

CONTROLLER = "localjuju"
CLOUD = "localhost"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
ARCHITECTURE = ARCHITECTURES.get(platform.machine(), platform.machine())
HARDWARE = f"arch={ARCHITECTURE} virt-type=container"
PREFIX_LENGTH = "/24"


def model_status(records: Records, now: float) -> dict[str, Any]:
    """Return the whole status."""
    model = records.model
    return {
        "model": {
            "name": model.name,
            "type": "iaas",
            "controller": CONTROLLER,
            "cloud": CLOUD,
            "region": CLOUD,
            "version": JUJU_VERSION,
            "model-status": {"current": "available", "since": moment(model.created)},
            "sla": "unsupported",
        },
        "machines": {
            number: machine_status(records, machine)
            for number, machine in sorted(records.machines.items(), key=lambda item: int(item[0]))
        },
        "applications": {
            name: application_status(records, app, now)
            for name, app in sorted(records.applications.items())
        },
        "storage": storage_status(records),
        "controller": {"timestamp": moment(now)[12:]},
    }


def _status(status: Status, **more: str) -> dict[str, str]:
    shown = {"current": status.current}
    if status.message:
        shown["message"] = status.message
    if status.since:
        shown["since"] = moment(status.since)
    return shown | {key: value for key, value in more.items() if value}


def machine_status(records: Records, machine: Machine) -> dict[str, Any]:
    """Return one machine."""
    del records
    current = machine.agent
    if machine.frozen or machine.partitioned:
        current = Status("down", "agent is not communicating with the server", current.since)
    life = {} if machine.life == ALIVE else {"life": machine.life}
    version = JUJU_VERSION if machine.boots else ""
    return {
        "juju-status": _status(current, version=version),
        "hostname": machine.hostname,
        "dns-name": machine.address,
        "ip-addresses": [machine.address],
        "instance-id": machine.instance,
        "machine-status": _status(machine.status),
        "modification-status": {"current": "idle", "since": moment(machine.created)},
        "base": base_of(machine.base),
        "network-interfaces": {
            "eth0": {
                "ip-addresses": [machine.address],
                "mac-address": machine.mac,
                "space": "alpha",
                "is-up": machine.agent.current == "started" and not machine.partitioned,
            }
        },
        "constraints": "",
        "hardware": HARDWARE,
        **life,
    }


def base_of(name: str) -> dict[str, str]:
    """Return a base as name and channel."""
    if name in {"", "host"}:
        return host_base()
    distribution, _, channel = name.partition("@")
    return {"name": distribution, "channel": channel}


def application_status(records: Records, app: Application, now: float) -> dict[str, Any]:
    """Return one application with its units."""
    charm = records.charms[app.charm]
    units = records.units_of(app.name)
    shown: dict[str, Any] = {
        "charm": app.charm,
        "base": base_of(app.base),
        "charm-origin": "local",
        "charm-name": charm.name,
        "charm-rev": charm.revision,
        "exposed": bool(app.exposed),
        "application-status": _status(status_rules.application_status(records, app)),
    }
    if app.life != ALIVE:
        shown["life"] = app.life
    relations: dict[str, list[dict[str, str]]] = {}
    for relation in records.relations_of(app.name):
        own, other = relation.end_of(app.name), relation.other_end(app.name)
        assert own is not None
        entry = {
            "related-application": other.app,
            "interface": own.interface,
            "scope": "container" if relation.is_container else "global",
        }
        relations.setdefault(own.endpoint, []).append(entry)
    if relations:
        shown["relations"] = relations
    principals = sorted({unit.principal.partition("/")[0] for unit in units if unit.principal})
    if charm_package.is_subordinate(charm.metadata):
        shown["subordinate-to"] = principals
    elif units:
        shown["units"] = {unit.name: unit_status(records, unit, now) for unit in units}
    if app.version:
        shown["version"] = app.version
    shown["endpoint-bindings"] = bindings(charm.metadata)
    return shown


def bindings(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the space of each endpoint and extra binding."""
    names = [""]
    for section in ("provides", "requires", "peers", "extra-bindings"):
        names += list(metadata.get(section) or {})
    return dict.fromkeys(sorted(names), "alpha")


def agent_status(records: Records, unit: Unit) -> Status:
    """Return the agent's status as shown: lost when the machine cannot be reached."""
    machine = records.machines.get(unit.machine)
    lost = (
        machine is not None
        and machine.boots > 0
        and (machine.frozen or machine.partitioned or machine.agent.current == "down")
    )
    if lost:
        return Status("lost", "agent is not communicating with the server", unit.agent.since)
    return unit.agent


def workload_status(records: Records, unit: Unit) -> Status:
    """Return the workload's status as shown: unknown when the agent is lost."""
    agent = agent_status(records, unit)
    if agent.current == "lost":
        text = f"agent lost, see 'juju show-status-log {unit.name}'"
        return Status("unknown", text, agent.since)
    return status_rules.shown_workload(unit)


def unit_status(records: Records, unit: Unit, now: float) -> dict[str, Any]:
    """Return one unit with the subordinates beside it."""
    leads = leadership.is_leader(records, unit, now)
    machine = records.machines.get(unit.machine)
    version = JUJU_VERSION if unit.local.deployed else ""
    shown: dict[str, Any] = {
        "workload-status": _status(workload_status(records, unit)),
        "juju-status": _status(agent_status(records, unit), version=version),
    }
    if unit.life != ALIVE:
        shown["juju-status"]["life"] = unit.life
    if leads:
        shown["leader"] = True
    if not unit.principal:
        shown["machine"] = unit.machine
    opened = ports.summarise(text for ranges in unit.ports.values() for text in ranges)
    if opened:
        shown["open-ports"] = opened
    if machine is not None:
        shown["public-address"] = machine.address
    beside = records.subordinates_of(unit.name)
    if beside:
        shown["subordinates"] = {other.name: unit_status(records, other, now) for other in beside}
    return shown


def storage_status(records: Records) -> dict[str, Any]:
    """Return storage, file systems and attachments."""
    if not records.storage:
        return {}
    instances, filesystems = {}, {}
    for number, item in enumerate(sorted(records.storage.values(), key=lambda s: s.id)):
        state = storage_state(item)
        status = _status(Status(state, item.message, item.since))
        instance: dict[str, Any] = {
            "kind": item.kind,
            "status": status,
            "persistent": item.is_detachable,
        }
        filesystem: dict[str, Any] = {
            "provider-id": item.id,
            "storage": item.id,
            "pool": item.pool,
            "size": item.size_mib,
            "status": status,
        }
        if item.unit:
            machine = records.units[item.unit].machine
            place = {"machine": machine, "location": item.location, "life": item.attachment_life}
            instance["attachments"] = {"units": {item.unit: place}}
            mount = {
                "mount-point": item.location,
                "read-only": False,
                "life": item.attachment_life,
            }
            filesystem["attachments"] = {
                "machines": {machine: mount},
                "units": {item.unit: place},
            }
        if item.attachment_life != ALIVE:
            instance["life"] = item.attachment_life
        instances[item.id] = instance
        filesystems[str(number)] = filesystem
    return {"storage": instances, "filesystems": filesystems}


def storage_state(item: Storage) -> str:
    """Return pending, attached, detaching or detached."""
    if not item.unit:
        return "detached"
    if item.attachment_life != ALIVE:
        return "detaching"
    return "attached" if item.provisioned else "pending"


def relation_sides(relation: Relation) -> tuple[str, str, str]:
    """Return provider side, requirer side and interface of a relation."""
    if relation.is_peer:
        end = relation.ends[0]
        text = f"{end.app}:{end.endpoint}"
        return text, text, end.interface
    ordered = sorted(relation.ends, key=lambda end: end.role != "provider")
    texts = [f"{end.app}:{end.endpoint}" for end in ordered]
    return texts[0], texts[1], ordered[0].interface
