"""status, show-unit, show-application, show-machine, show-status-log."""

import json
from datetime import datetime, timezone
from typing import Any

from localjuju import charm_package, deployment, leadership, ports, status, status_rules, tabular
from localjuju.cli.grammar import FORMAT, FORMAT_YAML, arguments, number
from localjuju.cli.rendering import emit, iso, moment, table
from localjuju.cli.session import Session
from localjuju.entities import Records, Relation, Unit
from localjuju.errors import UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.secrets import parse_duration

BACKLOG = 20
DAY_SECONDS = 24 * 3600
STATUS_TYPES = {
    "application", "container", "juju-container", "juju-machine", "juju-unit", "machine", "model",
    "saas", "unit", "workload",
}  # fmt: skip
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def show_status(session: Session) -> int:
    """Show the model's status, again and again with --watch=SECONDS."""
    flags = (
        *FORMAT, switch("relations"), switch("integrations"), switch("storage"), switch("utc"),
        switch("color"), switch("no-color"), option("watch"), option("retry-count"), option("retry-delay"),
    )  # fmt: skip
    args = arguments(session, flags)
    if "watch" not in args.given:
        return _show_status(session, args)
    seconds = parse_duration(args.text("watch"))
    if not seconds:
        raise UsageError(
            f'invalid value "{args.text("watch")}" for option --watch: a duration, as 2s'
        )
    while True:
        if session.tty:
            session.out(CLEAR)
        _show_status(session, args)
        session.rest(seconds)


def _show_status(session: Session, args: Arguments) -> int:
    if args.text("format") != "tabular":
        return _emit_status(session, args)
    shown = tabular.Shown(
        relations=args.has("relations") or args.has("integrations"),
        storage=args.has("storage"),
        utc=args.has("utc"),
        colour=args.has("color") or (session.tty and not args.has("no-color")),
    )
    book = session.book()
    with book.read() as records:
        text = tabular.status_table(records, book.now(), _applications_of(args), shown)
        empty = not records.applications and not records.machines
    if args.text("output"):
        session.path(args.text("output")).write_text(text)
    else:
        session.out(text)
    if empty:
        session.err(f'\nModel "{records.model.name}" is empty.\n')
    return 0


def _emit_status(session: Session, args: Arguments) -> int:
    book = session.book()
    with book.read() as records:
        value = status.model_status(records, book.now())
    wanted = _applications_of(args)
    if wanted:
        value["applications"] = {k: v for k, v in value["applications"].items() if k in wanted}
    if args.text("format") == "json" and not args.text("output"):
        session.out(json.dumps(value, separators=(",", ":")) + "\n")
    else:
        emit(session, args, value, ordered=True)
    return 0


def _applications_of(args: Arguments) -> set[str]:
    return {word.partition("/")[0] for word in args.positional}


def show_unit(session: Session) -> int:
    """Show a unit with its relation data."""
    flags = (*FORMAT_YAML, switch("app"), option("endpoint"), option("related-unit"))
    args = arguments(session, flags, least=1, missing="an unit name must be supplied")
    book = session.book()
    shown = {}
    with book.read() as records:
        for name in args.positional:
            unit = deployment.find_unit(records, name)
            shown[unit.name] = _unit(records, unit, book.now(), args)
    emit(session, args, shown, ordered=True)
    return 0


def _unit(records: Records, unit: Unit, now: float, args: Arguments) -> dict[str, Any]:
    """Return a unit as Juju's ``UnitInfo`` has it; what is empty is left out but the ports."""
    machine = records.machines.get(unit.machine)
    told = [_relation_info(r, unit, args) for r in records.relations_of(unit.app)]
    wanted = args.text("endpoint")
    shown = {
        "workload-version": unit.version,
        "machine": unit.machine,
        "opened-ports": ports.summarise(t for ranges in unit.ports.values() for t in ranges),
        "public-address": machine.address if machine else "",
        "charm": unit.local.deployed or records.applications[unit.app].charm,
        "leader": leadership.is_leader(records, unit, now),
        "life": unit.life,
        "relation-info": [info for info in told if wanted in {"", info["endpoint"]}],
    }
    always = {"opened-ports", "charm", "leader"}
    return {key: value for key, value in shown.items() if value or key in always}


def _relation_info(relation: Relation, unit: Unit, args: Arguments) -> dict[str, Any]:
    own, other = relation.end_of(unit.app), relation.other_end(unit.app)
    assert own is not None
    info: dict[str, Any] = {
        "relation-id": relation.number,
        "endpoint": own.endpoint,
        "related-endpoint": other.endpoint,
        "application-data": dict(relation.app_data.get(other.app, {})),
    }
    if args.has("app"):
        return info
    only = args.text("related-unit")
    member = relation.members.get(unit.name)
    if member is not None:
        info["local-unit"] = {"in-scope": member.in_scope, "data": dict(member.data)}
    related = {
        name: {"in-scope": found.in_scope, "data": dict(found.data)}
        for name, found in sorted(relation.members.items())
        if name != unit.name and name.partition("/")[0] == other.app and only in {"", name}
    }
    if related:
        info["related-units"] = related
    return info


def show_application(session: Session) -> int:
    """Show an application."""
    args = arguments(session, FORMAT_YAML, least=1, missing="an application name must be supplied")
    wrong = [name for name in args.positional if not deployment.APPLICATION.match(name)]
    if wrong:
        raise UsageError(f"application name{'s' * (len(wrong) > 1)} {', '.join(wrong)} not valid")
    shown = {}
    with session.book().read() as records:
        for name in args.positional:
            app = deployment.find_application(records, name)
            charm = records.charms[app.charm]
            exposed = {"exposed-endpoints": app.exposed} if app.exposed else {}
            shown[name] = {
                "charm": charm.name,
                "base": "{name}@{channel}".format(**status.base_of(app.base)),
                "constraints": {"arch": status.ARCHITECTURE},
                "principal": not charm_package.is_subordinate(charm.metadata),
                "exposed": bool(app.exposed),
                **exposed,
                "remote": False,
                "life": app.life,
                "endpoint-bindings": status.bindings(charm.metadata),
            }
    emit(session, args, shown, ordered=True)
    return 0


def show_machine(session: Session) -> int:
    """Show machines."""
    args = arguments(session, (*FORMAT_YAML, switch("utc"), switch("color")))
    with session.book().read() as records:
        numbers = args.positional or sorted(records.machines, key=int)
        shown = {
            number: status.machine_status(records, records.machines[number])
            for number in numbers
            if number in records.machines
        }
    emit(
        session,
        args,
        {"model": session.host().book.records.model.name, "machines": shown},
        ordered=True,
    )
    return 0


def show_status_log(session: Session) -> int:
    """Show the past statuses of a unit."""
    flags = (
        *FORMAT,
        option("n", default="0"),
        option("type", default="unit"),
        option("days", default="0"),
        option("from-date"),
        switch("utc"),
    )
    args = arguments(session, flags, least=1, missing="entity name is missing.")
    if len(args.positional) > 1:
        raise UsageError("unexpected arguments after entity name.")
    wanted = args.text("type")
    if wanted not in STATUS_TYPES:
        raise UsageError(f"unexpected status type {go_quote(wanted)}")
    count, since = _backlog(args, session.book().now())
    with session.book().read() as records:
        unit = deployment.find_unit(records, args.positional[0])
        entries = [
            entry for entry in unit.history if wanted in {"unit", entry[1]} and entry[0] >= since
        ]
        entries = entries[-count:]
    if args.text("format") != "tabular":
        keys = ("since", "type", "status", "message")
        emit(session, args, [dict(zip(keys, [iso(e[0]), *e[1:]], strict=True)) for e in entries])
        return 0
    rows = [["Time", "Type", "Status", "Message"]]
    rows += [[moment(entry[0]), *map(str, entry[1:])] for entry in entries]
    session.out(table(rows))
    return 0


def _backlog(args: Arguments, now: float) -> tuple[int, float]:
    """Return how many entries are wanted at most (0: all) and from when on."""
    numbers = {name: number(args, name) for name in ("n", "days")}
    date = args.text("from-date")
    if sum(map(bool, (numbers["n"], numbers["days"], date))) > 1:
        raise UsageError("backlog size, date and days back cannot be specified together")
    if not date:
        since = now - numbers["days"] * DAY_SECONDS if numbers["days"] else 0.0
        return numbers["n"] or (0 if since else BACKLOG), since
    try:
        since = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise UsageError(f"parsing backlog date: cannot parse {go_quote(date)}") from None
    return 0, since


def wait_for(session: Session) -> int:
    """Wait until an application, unit or model is active (or as --query says: status or life)."""
    flags = (option("query"), option("timeout", default="10m"), switch("summary"), *FORMAT)
    args = arguments(session, flags, least=1, most=2, missing="application name must be supplied")
    if args.positional[-1] in {"application", "machine", "model", "unit"}:
        raise UsageError(f"{args.positional[-1]} name must be supplied")
    kind, name = (args.positional * 2)[:2] if len(args.positional) == 1 else args.positional
    query = args.text("query")
    book = session.book()
    wanted = query.rpartition("==")[2].strip(" \"'") if "==" in query else "active"

    def holds() -> bool:
        records = book.records
        if kind == "unit":
            unit = records.units.get(name)
            return unit is not None and status_rules.shown_workload(unit).current == wanted
        if kind == "model":
            apps = records.applications.values()
            return all(
                status_rules.application_status(records, app).current == wanted for app in apps
            )
        app = records.applications.get(name)
        return app is not None and status_rules.application_status(records, app).current == wanted

    if session.wait(book, holds, parse_duration(args.text("timeout")) or 600.0):
        return 0
    session.err(f"ERROR timed out waiting for {name!r} to reach goal state\n")
    return 1


def list_machines(session: Session) -> int:
    """List the machines."""
    args = arguments(session, (*FORMAT, switch("utc"), switch("color")))
    with session.book().read() as records:
        text = tabular.machines_table(records, colour=session.tty or args.has("color"))
        shown = {
            number: status.machine_status(records, machine)
            for number, machine in records.machines.items()
        }
        name = records.model.name
    if args.text("format") != "tabular":
        emit(session, args, {"model": name, "machines": shown}, ordered=True)
    else:
        session.out(text)
    return 0


COMMANDS = {
    "status": show_status,
    "show-unit": show_unit,
    "show-application": show_application,
    "show-machine": show_machine,
    "machines": list_machines,
    "list-machines": list_machines,
    "show-status-log": show_status_log,
    "wait-for": wait_for,
}
