"""deploy, refresh, units, applications, relations."""

import ipaddress
from typing import Any

from localjuju import charm_package, deployment, status
from localjuju.cli.charms import find_package, store_charm, store_resource
from localjuju.cli.grammar import arguments, commas, pairs, read_file, read_map
from localjuju.cli.session import Session
from localjuju.entities import Application, Charm, Records, Resource
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import Arguments, option, switch
from localjuju.model_host import ModelHost
from localjuju.resolver.state import ALIVE
from localjuju.upgrade_checks import check_upgrade

EVERYWHERE = ("0.0.0.0/0", "::/0")
SPACE = "alpha"
DEPLOY_FLAGS = (
    option("attach-storage"), option("base"), option("bind"), option("channel"), option("config"),
    option("constraints"), switch("force"), option("n", "num-units"), option("overlay"),
    option("resource"), option("revision"), option("series"), option("storage"), option("to"),
    switch("trust"), option("device"), switch("dry-run"), switch("use-existing-machines"),
)  # fmt: skip


def settings_from(session: Session, values: list[str], app: str) -> dict[str, Any]:
    """Merge ``--config k=v`` and ``--config file.yaml``; ``k=@file`` reads a value."""
    found: dict[str, Any] = {}
    for value in values:
        key, equals, text = value.partition("=")
        if equals:
            found[key] = read_file(session, text[1:]) if text.startswith("@") else text
            continue
        loaded = read_map(session, value)
        found.update(loaded.get(app) or loaded)
    return found


def deploy(session: Session) -> int:
    """Deploy a charm: by name or ./path.charm."""
    args = arguments(
        session, DEPLOY_FLAGS, least=1, most=2, missing="no charm or bundle specified"
    )
    of_bundles = sorted({"dry-run", "overlay", "use-existing-machines"} & args.given)
    if of_bundles:
        named = ", ".join(f"--{name}" for name in of_bundles)
        raise JujuError(f"options provided but not supported when deploying a charm: {named}.")
    package, _ = find_package(session, args.positional[0])
    host = session.host_or_default()
    session.controller.prepare_machines()
    charm = store_charm(host, package)
    name = args.positional[1] if len(args.positional) > 1 else charm.name
    count = _count(args.text("num-units") or "1")
    attach = commas(args.repeated.get("attach-storage", []))
    if attach and count != 1:
        raise UsageError("--attach-storage cannot be used with -n")
    settings = settings_from(session, args.repeated.get("config", []), name)
    trust = args.has("trust") or str(settings.pop("trust", "false")).lower() == "true"
    resources = {
        key: store_resource(host, name, charm, key, session.path(value), 0)
        for key, value in pairs(args.repeated.get("resource", [])).items()
    }
    base = args.text("base") if args.text("base") != "host" else ""
    with host.book.change() as records:
        wanted = deployment.NewApplication(
            name,
            charm,
            settings=settings,
            storage=pairs(args.repeated.get("storage", [])),
            units=0 if charm_package.is_subordinate(charm.metadata) else count,
            placement=commas(args.repeated.get("to", [])),
            trust=trust,
            base=base,
        )
        if charm_package.is_subordinate(charm.metadata) and {"num-units", "to"} & args.given:
            raise JujuError("cannot use --num-units or --to with subordinate application")
        units = deployment.deploy(
            records, wanted, host.book.now(), session.controller.network.take_address
        )
        _give_all(records, attach, units, host.book.now())
        records.applications[name].resources = resources
    where = f"{base} " if base else ""
    session.err(f'Located local charm "{charm.name}", revision {charm.revision}\n')
    session.err(
        f'Deploying "{name}" from local charm "{charm.name}", revision {charm.revision} on {where or "this host"}\n'
    )
    return 0


def _count(text: str) -> int:
    if not text.isdigit():
        raise UsageError(f'invalid value "{text}" for option -n: parse error')
    return int(text)


def add_unit(session: Session) -> int:
    """Add units to an application."""
    flags = (option("n", "num-units", default="1"), option("to"), option("attach-storage"))
    args = arguments(session, flags, least=1, most=1, missing="no application specified")
    host = session.host()
    count = _count(args.text("num-units"))
    if count < 1:
        raise UsageError("--num-units must be a positive integer")
    session.controller.prepare_machines()
    attach = commas(args.repeated.get("attach-storage", []))
    with host.book.change() as records:
        app = args.positional[0]
        names = deployment.add_units(
            records, app, count, host.book.now(), session.controller.network.take_address,
            commas(args.repeated.get("to", [])),
        )  # fmt: skip
        _give_all(records, attach, names, host.book.now())
    return 0


def _give_all(records: Records, identifiers: list[str], units: list[str], now: float) -> None:
    for identifier in identifiers:
        if identifier not in records.storage:
            raise JujuError(f"storage {go_quote(identifier)} not found")
        if not units:
            raise JujuError("cannot attach storage to a subordinate")
        _give(records, identifier, units[0], now)


def _give(records: Records, identifier: str, unit_name: str, now: float) -> None:
    """Attach existing storage to a new unit in place of what would be made for it."""
    from localjuju import storage  # noqa: PLC0415

    item = records.storage[identifier]
    for other in list(records.storage.values()):
        if (other.unit, other.name) == (unit_name, item.name):
            del records.storage[other.id]
            break
    storage.attach(records, item, records.units[unit_name], now)


def remove_unit(session: Session) -> int:
    """Remove units: the others see them departing at once."""
    flags = (
        switch("destroy-storage"),
        switch("force"),
        switch("no-wait"),
        option("num-units"),
        switch("dry-run"),
    )
    args = arguments(session, flags, least=1, missing="no units specified")
    if "num-units" in args.given:
        raise UsageError("--num-units is for models on Kubernetes: name the units to remove")
    host = session.host()
    destroy = args.has("destroy-storage")
    with host.book.change() as records:
        units = [deployment.find_unit(records, name) for name in args.positional]
        now = host.book.now()
        for unit in units:
            if unit.principal:
                raise JujuError(
                    f"unit {go_quote(unit.name)} is a subordinate, to remove use remove-relation. "
                    f"Note: this will remove all units of {go_quote(unit.app)}"
                )
        for unit in [] if args.has("dry-run") else units:
            deployment.destroy_unit(records, unit, now, destroy_storage=destroy)
    for unit in units:
        session.err(f"will remove unit {unit.name}\n")
    if args.has("dry-run"):
        return 0
    if args.has("force"):
        for unit in units:
            host.bury(unit.name)
    return 0


def remove_application(session: Session) -> int:
    """Remove applications with their units."""
    flags = (switch("destroy-storage"), switch("force"), switch("no-wait"), switch("dry-run"))
    args = arguments(session, flags, least=1, missing="no application specified")
    host = session.host()
    with host.book.change() as records:
        apps = [deployment.find_application(records, name) for name in args.positional]
        units = [unit for app in apps for unit in records.units_of(app.name)]
        for app in [] if args.has("dry-run") else apps:
            deployment.destroy_application(
                records, app, host.book.now(), destroy_storage=args.has("destroy-storage")
            )
    for app in apps:
        session.err(f"will remove application {app.name}\n")
        for unit in units:
            if unit.app == app.name:
                session.err(f"- will remove unit {unit.name}\n")
    if args.has("force") and not args.has("dry-run"):
        for unit in units:
            host.bury(unit.name)
    return 0


def integrate(session: Session) -> int:
    """Relate two applications."""
    args = arguments(
        session,
        (option("via"),),
        least=2,
        most=2,
        missing="a relation must involve two applications",
    )
    with session.book().change() as records:
        first, second = args.positional
        deployment.relate(records, first, second, session.book().now())
    return 0


def remove_relation(session: Session) -> int:
    """Remove a relation, by its two ends or its number."""
    args = arguments(session, (switch("force"), switch("dry-run")), least=1, most=2)
    with session.book().change() as records:
        if len(args.positional) == 1:
            relation = records.relations.get(args.positional[0])
            if relation is None:
                raise JujuError(f"relation {args.positional[0]} not found")
        else:
            relation = deployment.find_relation(records, *args.positional)
        if relation.is_peer:
            raise JujuError("cannot remove a peer relation")
        if relation.life == ALIVE and not args.has("dry-run"):
            deployment.destroy_relation(records, relation, session.book().now())
    return 0


def suspend_relation(session: Session) -> int:
    """Suspend relations by number."""
    return _set_suspended(session, suspended=True)


def resume_relation(session: Session) -> int:
    """Resume suspended relations by number."""
    return _set_suspended(session, suspended=False)


def _set_suspended(session: Session, *, suspended: bool) -> int:
    args = arguments(session, (option("message"),), least=1, missing="no relation ids specified")
    with session.book().change() as records:
        for number in args.positional:
            if number not in records.relations:
                raise JujuError(f"relation {number} not found")
            records.relations[number].suspended = suspended
    return 0


def refresh(session: Session) -> int:
    """Upgrade an application's charm from a file, or attach resources."""
    flags = (
        option("base"), option("channel"), option("config"), option("path"), option("resource"),
        option("revision"), option("storage"), switch("trust"), switch("force"),
        switch("force-base"), switch("force-units"), option("switch"), option("bind"),
    )  # fmt: skip
    args = arguments(session, flags, least=1, most=1, missing="no application specified")
    host = session.host()
    name = args.positional[0]
    with host.book.read() as records:
        app = deployment.find_application(records, name)
        current = records.charms[app.charm]
    source = args.text("path") or args.text("switch") or current.name
    package, _ = find_package(session, source)
    declared = charm_package.read_package(package)
    if declared.name != current.name:
        raise JujuError(
            f"cannot refresh {go_quote(current.name)} to {go_quote(declared.name)}: different charms"
        )
    charm = store_charm(host, package, upload=bool(args.text("path")))
    with host.book.read() as records:
        check_upgrade(records, app, current, charm)
    settings = settings_from(session, args.repeated.get("config", []), name)
    uploads = pairs(args.repeated.get("resource", []))
    resources = _new_resources(session, host, app, charm, uploads)
    with host.book.change() as records:
        app.settings = _kept_settings(app, charm)
        app.settings |= {k: deployment.convert_setting(charm, k, v) for k, v in settings.items()}
        app.storage |= pairs(args.repeated.get("storage", []))
        app.trust = app.trust or args.has("trust")
        app.force_charm = args.has("force-units") or args.has("force")
        if resources:
            app.resources |= resources
            app.resources_version += 1
        changed = app.charm != charm.key
        app.charm = charm.key
        _add_new_peers(records, app, charm, host.book.now())
    if changed:
        session.err(f'Added local charm "{charm.name}", revision {charm.revision}, to the model\n')
    else:
        session.err(f"charm {go_quote(charm.name)} is already up to date\n")
    return 0


def _new_resources(
    session: Session, host: ModelHost, app: Application, charm: Charm, uploads: dict[str, str]
) -> dict[str, Resource]:
    found = {}
    for key, value in uploads.items():
        revision = app.resources[key].revision + 1 if key in app.resources else 0
        found[key] = store_resource(host, app.name, charm, key, session.path(value), revision)
    return found


def _kept_settings(app: Application, charm: Charm) -> dict[str, Any]:
    """Keep values whose option still exists with a type that they fit."""
    kept = {}
    for name, value in app.settings.items():
        try:
            kept[name] = deployment.convert_setting(charm, name, value)
        except JujuError:
            continue
    return kept


def _add_new_peers(records: Records, app: Application, charm: Charm, now: float) -> None:
    from localjuju.entities import End, Relation  # noqa: PLC0415

    present = {end.endpoint for r in records.relations_of(app.name) if r.is_peer for end in r.ends}
    for endpoint, body in charm_package.endpoints(charm.metadata).items():
        if body["role"] == "peer" and endpoint not in present:
            number = records.model.take_number("relation")
            end = End(app.name, endpoint, "peer", body["interface"], body["scope"])
            records.relations[str(number)] = Relation(number, [end], since=now)


def attach_resource(session: Session) -> int:
    """Upload a new revision of a resource; the units run upgrade-charm."""
    args = arguments(session, (), least=2, missing="expected application name and resource")
    host = session.host()
    name, *words = args.positional
    with host.book.read() as records:
        app = deployment.find_application(records, name)
        charm = records.charms[app.charm]
    resources = _new_resources(session, host, app, charm, pairs(words))
    with host.book.change():
        app.resources |= resources
        app.resources_version += 1
    return 0


def expose(session: Session) -> int:
    """Make an application reachable from outside (recorded only: one private subnet here)."""
    flags = (option("endpoints"), option("to-cidrs"), option("to-spaces"))
    args = arguments(session, flags, least=1, most=1, missing="no application name specified")
    cidrs, spaces = _listed(args, "to-cidrs"), _listed(args, "to-spaces")
    for cidr in cidrs:
        if not _is_cidr(cidr):
            raise JujuError(
                f"unable to parse {go_quote(cidr)} as a CIDR: invalid CIDR address: {cidr}"
            )
    for space in spaces:
        if space != SPACE:
            raise JujuError(f"space {go_quote(space)} not found")
    opened = {"expose-to-spaces": spaces} if spaces else {}
    if cidrs or not spaces:
        opened["expose-to-cidrs"] = cidrs or list(EVERYWHERE)
    with session.book().change() as records:
        app = deployment.find_application(records, args.positional[0])
        for endpoint in _endpoints(records, app, args) or [""]:
            app.exposed[endpoint] = opened
    return 0


def unexpose(session: Session) -> int:
    """Undo expose, for all endpoints or some."""
    args = arguments(
        session, (option("endpoints"),), least=1, most=1, missing="no application name specified"
    )
    with session.book().change() as records:
        app = deployment.find_application(records, args.positional[0])
        for endpoint in _endpoints(records, app, args) or list(app.exposed):
            if endpoint not in app.exposed:
                raise JujuError(f"endpoint {go_quote(endpoint)} is not exposed")
            del app.exposed[endpoint]
    return 0


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _listed(args: Arguments, flag: str) -> list[str]:
    return sorted({word.strip() for word in commas([args.text(flag)]) if word.strip()})


def _endpoints(records: Records, app: Application, args: Arguments) -> list[str]:
    """Return the endpoints that were named; refuse those that the charm does not have."""
    known = status.bindings(records.charms[app.charm].metadata)
    named = _listed(args, "endpoints")
    for endpoint in named:
        if endpoint not in known:
            raise JujuError(f"endpoint {go_quote(endpoint)} not found")
    return named


def trust(session: Session) -> int:
    """Trust an application with the cloud's credentials."""
    args = arguments(
        session,
        (switch("remove"), option("scope")),
        least=1,
        missing="no application name specified",
    )
    with session.book().change() as records:
        deployment.find_application(records, args.positional[0]).trust = not args.has("remove")
    return 0


def resolved(session: Session) -> int:
    """Mark unit errors resolved and retry their hooks."""
    flags = (switch("no-retry"), switch("all"))
    args = arguments(session, flags)
    if not args.positional and not args.has("all"):
        raise UsageError("no unit specified")
    with session.book().change() as records:
        failed = [unit for unit in records.units.values() if unit.local.failed]
        chosen = failed if args.has("all") else [
            deployment.find_unit(records, name) for name in args.positional
        ]  # fmt: skip
        for unit in chosen:
            if not unit.local.failed:
                raise JujuError(f"unit {go_quote(unit.name)} is not in an error state")
            unit.resolved = "skip" if args.has("no-retry") else "retry"
            unit.retries = 0
    return 0


COMMANDS = {
    "deploy": deploy,
    "refresh": refresh,
    "upgrade-charm": refresh,
    "attach-resource": attach_resource,
    "attach": attach_resource,
    "add-unit": add_unit,
    "remove-unit": remove_unit,
    "remove-application": remove_application,
    "integrate": integrate,
    "relate": integrate,
    "add-relation": integrate,
    "remove-relation": remove_relation,
    "suspend-relation": suspend_relation,
    "resume-relation": resume_relation,
    "expose": expose,
    "unexpose": unexpose,
    "trust": trust,
    "resolved": resolved,
    "resolve": resolved,
}
