"""Worlds of the case files: named fixtures that become a model's records, and back."""

import base64
import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from localjuju.book import Book
from localjuju.entities import (
    Application,
    Charm,
    Consumer,
    End,
    Lease,
    Machine,
    Membership,
    Model,
    Records,
    Relation,
    Resource,
    Secret,
    SecretRevision,
    Status,
    Storage,
    Task,
    Unit,
)
from localjuju.resolver.state import LocalState, RelationLocal
from localjuju.secrets import ROTATION_SECONDS, decode_content, parse_expiry

OTHER_ROLE = {"provider": "requirer", "requirer": "provider"}
SECTIONS = {"peer": "peers", "provider": "provides", "requirer": "requires"}


def merge(base: Any, change: Any) -> Any:
    """Merge deeply; a null deletes."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    merged = dict(base)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


class FixedBook(Book):
    """A book without journal whose time stands still."""

    def __init__(self) -> None:
        super().__init__(None)
        self.time = 1_950_000_000.0

    def now(self) -> float:
        return self.time

    @contextmanager
    def change(self) -> Iterator[Records]:
        """All or nothing, without a journal."""
        before = copy.deepcopy(self.records) if self._depth == 0 else None
        try:
            with super().change() as records:
                yield records
        except BaseException:
            if before is not None:
                self.records = before
            raise


def build(world: dict[str, Any], context: dict[str, Any]) -> FixedBook:
    """Make the records of a world."""
    book = FixedBook()
    records = book.records
    described = world["model"]
    config = {"localjuju-peer-app-echo": True}
    records.models["model"] = Model(described["name"], described["uuid"], config=config)
    _own_application(records, world, book.now())
    for number, relation in (world.get("relations") or {}).items():
        _relation(records, world, int(number), relation, book.now())
    for identifier, item in (world.get("storage") or {}).items():
        _storage(records, identifier, item)
    for identifier, secret in (world.get("secrets") or {}).items():
        _secret(records, world, identifier, secret, book.now())
    _lease(records, world, context, book.now())
    return book


def _own_application(records: Records, world: dict[str, Any], now: float) -> None:
    metadata: dict[str, Any] = {"name": world["app"]}
    for name, endpoint in world["endpoints"].items():
        section = metadata.setdefault(SECTIONS[endpoint["role"]], {})
        section[name] = {"interface": endpoint["interface"]}
    metadata["extra-bindings"] = dict.fromkeys(world.get("extra_bindings") or [])
    metadata["storage"] = {
        name: {**store, "multiple": {"range": store["multiple"]}} if "multiple" in store else store
        for name, store in (world.get("storage_schema") or {}).items()
    }
    metadata["resources"] = {
        name: {"type": "file", "filename": body["file"]}
        for name, body in (world.get("resources") or {}).items()
    }
    key = f"local:{world['app']}-0"
    actions = world.get("actions") or {}
    options = world.get("config_schema") or {}
    records.charms[key] = Charm(key, world["app"], 0, "", metadata, options, actions)
    resources = {
        name: Resource(name, "", body["file"], 0, "", len(body.get("content", "")), now)
        for name, body in (world.get("resources") or {}).items()
    }
    records.applications[world["app"]] = Application(
        world["app"],
        key,
        settings=dict(world.get("config") or {}),
        trust=bool(world.get("trust")),
        resources=resources,
        leader_settings=dict(world.get("leader_settings") or {}),
    )
    for name, unit in world["units"].items():
        number = str(world["machine"]) if name == world["unit"] else f"9{name.rpartition('/')[2]}"
        number = str((unit or {}).get("machine", number))
        _unit(records, name, key, unit or {}, number, now)
    own = records.units[world["unit"]]
    own.ports |= {k: list(v) for k, v in (world.get("ports") or {}).items()}
    own.charm_state |= dict(world.get("charm_state") or {})


def _unit(
    records: Records, name: str, charm: str, body: dict[str, Any], machine: str, now: float
) -> Unit:
    address = body.get("address", "10.9.0.99")
    up = Status("started", "", now)
    records.machines[machine] = Machine(machine, f"m{machine}", f"m{machine}", address, "", up, up)
    said = body.get("workload") or {}
    workload = Status(said.get("status", "active"), said.get("message", ""), now)
    local = LocalState(deployed=charm, installed=True, started=True)
    unit = Unit(
        name, name.partition("/")[0], machine, workload, Status("idle", "", now), local=local
    )
    unit.life = body.get("life", "alive")
    unit.version = str(body.get("workload_version", ""))
    unit.ports = {k: list(v) for k, v in (body.get("ports") or {}).items()}
    unit.charm_state = dict(body.get("charm_state") or {})
    records.units[name] = unit
    return unit


def _relation(
    records: Records, world: dict[str, Any], number: int, body: dict[str, Any], now: float
) -> None:
    app, endpoint = world["app"], body["endpoint"]
    declared = world["endpoints"][endpoint]
    ends = [End(app, endpoint, declared["role"], declared["interface"])]
    remote = body.get("remote_app")
    if remote:
        role = OTHER_ROLE[declared["role"]]
        remote_endpoint = body.get("remote_endpoint", endpoint)
        ends.append(End(remote, remote_endpoint, role, declared["interface"]))
        _remote_application(records, remote, ends[1])
    relation = Relation(number, ends, since=now, life=body.get("life", "alive"))
    relation.app_data[app] = dict(body.get("app_data") or {})
    relation.app_versions[app] = 1 if body.get("app_data") else 0
    if remote:
        relation.app_data[remote] = dict(body.get("remote_app_data") or {})
        relation.app_versions[remote] = 1 if body.get("remote_app_data") else 0
    for name, data in (body.get("units") or {}).items():
        relation.members[name] = Membership(dict(data or {}))
        if name not in records.units:
            key = records.applications[name.partition("/")[0]].charm
            machine = f"8{number}{len(records.machines)}"
            _unit(records, name, key, {}, machine, now)
    records.relations[str(number)] = relation
    counterpart = remote or app
    for name in relation.members:
        unit = records.units[name]
        others = [other for other in relation.members if _sees(name, other, app, counterpart)]
        joined = body.get("joined", others) if name == world["unit"] else others
        watched = counterpart if unit.app == app else app
        seen = RelationLocal(
            members={other: relation.members[other].version for other in joined},
            app_version=relation.app_versions.get(watched, 0),
            created=True,
        )
        local = unit.local
        unit.local = LocalState(
            **{**vars(local), "relations": {**local.relations, str(number): seen}}
        )


def _sees(name: str, other: str, app: str, remote: str) -> bool:
    if name == other:
        return False
    own = name.partition("/")[0]
    return other.partition("/")[0] == (remote if own == app else app)


def _remote_application(records: Records, name: str, end: End) -> None:
    if name in records.applications:
        return
    key = f"local:{name}-0"
    section = SECTIONS[end.role]
    metadata = {"name": name, section: {end.endpoint: {"interface": end.interface}}}
    records.charms[key] = Charm(key, name, 0, "", metadata, {}, {})
    records.applications[name] = Application(name, key)


def _storage(records: Records, identifier: str, body: dict[str, Any]) -> None:
    unit = body.get("attached", "")
    records.storage[identifier] = Storage(
        identifier,
        identifier.partition("/")[0],
        "rootfs",
        1024,
        unit.partition("/")[0],
        unit=unit,
        provisioned=True,
        location=body["location"],
        kind=body.get("kind", "filesystem"),
    )
    if unit:
        local = records.units[unit].local
        values = {**vars(local), "storage": (*local.storage, identifier)}
        records.units[unit].local = LocalState(**values)


def _secret(
    records: Records, world: dict[str, Any], identifier: str, body: dict[str, Any], now: float
) -> None:
    owner = body["owner"]
    secret = Secret(identifier, "unit" if "/" in owner else "application", owner, created=now)
    secret.label = body.get("label", "")
    secret.description = body.get("description", "")
    secret.rotate = body.get("rotate", body.get("rotation", "never"))
    if secret.rotate != "never":
        secret.next_rotate = now + ROTATION_SECONDS[secret.rotate]
    for number, content in enumerate(body.get("revisions") or [], start=1):
        encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in content.items()}
        secret.revisions[str(number)] = SecretRevision(encoded, now)
        secret.latest = number
        if body.get("expire"):
            secret.revisions[str(number)].expire = parse_expiry(str(body["expire"]), now)
    for grant in body.get("grants") or []:
        name = grant if isinstance(grant, str) else _first(grant, "to", "unit", "app", "target")
        scope = -1 if isinstance(grant, str) else int(grant.get("relation", -1))
        secret.grants[name] = scope
    for name, consumer in (body.get("consumers") or {}).items():
        consumer = consumer if isinstance(consumer, dict) else {"tracked": consumer}
        secret.consumers[name] = Consumer(
            int(_first(consumer, "tracked", "revision") or 1), consumer.get("label", "")
        )
    records.secrets[identifier] = secret
    del world


def _first(body: dict[str, Any], *names: str) -> Any:
    return next((body[name] for name in names if name in body), "")


def _lease(records: Records, world: dict[str, Any], context: dict[str, Any], now: float) -> None:
    unit = world["unit"]
    holder = next(
        (name for name, body in world["units"].items() if (body or {}).get("leader")), ""
    )
    if context.get("leader"):
        holder = unit
    elif holder == unit and "leader" in context:
        holder = ""
    if holder:
        records.applications[world["app"]].lease = Lease(holder, now)
    for name, app in records.applications.items():
        units = records.units_of(name)
        if name != world["app"] and units:
            app.lease = Lease(units[0].name, now)
    for other in records.units.values():
        app = records.applications[other.app]
        leads = app.lease is not None and app.lease.holder == other.name
        other.local = LocalState(**{**vars(other.local), "leader": leads, "leader_settings": 0})


def snapshot(records: Records, app: str, unit: str, task: Task | None) -> dict[str, Any]:
    """Return the committed state in the shape of a world."""
    own = records.units.get(unit)
    shown: dict[str, Any] = {"relations": {}, "units": {}, "secrets": {}, "storage": {}}
    for number, relation in records.relations.items():
        remote = relation.other_end(app).app if relation.end_of(app) else ""
        shown["relations"][number] = {
            "endpoint": (relation.end_of(app) or relation.ends[0]).endpoint,
            "units": {name: dict(member.data) for name, member in relation.members.items()},
            "app_data": dict(relation.app_data.get(app, {})),
            "remote_app_data": dict(relation.app_data.get(remote, {})),
        }
    for name, body in records.units.items():
        shown["units"][name] = {
            "workload_version": body.version,
            "workload": {"status": body.workload.current, "message": body.workload.message},
            "ports": {k: list(v) for k, v in body.ports.items()},
            "charm_state": dict(body.charm_state),
        }
    for identifier, secret in records.secrets.items():
        shown["secrets"][identifier] = {
            "owner": secret.owner,
            "label": secret.label,
            "latest": secret.latest,
            "grants": sorted(secret.grants),
            "rotate": secret.rotate,
            "description": secret.description,
            "revisions": [decode_content(item.content) for item in secret.revisions.values()],
            "consumers": {name: item.tracked for name, item in secret.consumers.items()},
        }
    for identifier, item in records.storage.items():
        shown["storage"][identifier] = {"attached": item.unit, "location": item.location}
    owner = records.applications[app]
    status = owner.status
    shown["application"] = {
        "version": owner.version,
        "status": {"status": status.current, "message": status.message} if status else {},
    }
    shown["leader_settings"] = dict(owner.leader_settings)
    if own is not None:
        shown["ports"] = {k: list(v) for k, v in own.ports.items()}
        shown["charm_state"] = dict(own.charm_state)
    if task is not None:
        shown["task"] = {
            "status": task.status,
            "message": task.message,
            "results": task.results,
            "log": [text for _, text in task.log],
        }
    return shown
