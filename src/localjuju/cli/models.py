"""Models, switching, version; and commands about clouds that have no meaning here."""

import platform
from typing import Any

from localjuju import deployment
from localjuju.cli.grammar import FORMAT, FORMAT_YAML, arguments, pairs
from localjuju.cli.rendering import emit, moment, table
from localjuju.cli.session import Session
from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.hook_env import JUJU_VERSION
from localjuju.hook_tools.flags import option, switch
from localjuju.model_host import ModelHost
from localjuju.status import ARCHITECTURES, CLOUD, CONTROLLER

DESTROY_SECONDS = 600.0


def full_version() -> str:
    """Return the version in the form of ``juju version``."""
    machine = platform.machine()
    return f"{JUJU_VERSION}-debian-{ARCHITECTURES.get(machine, machine)}"


def version(session: Session) -> int:
    """Print the version of Juju that is spoken here."""
    flags = (option("format", default="smart"), option("o", "output"), switch("all"))
    args = arguments(session, flags)
    text = full_version()
    if args.has("all") or args.text("format") == "json":
        value: Any = {"version": text, "git-commit": "", "compiler": "localjuju"}
        if args.text("format") == "json" and not args.has("all"):
            value = text
        emit(session, args, value, ordered=True)
    else:
        session.out(text + "\n")
    return 0


def add_model(session: Session) -> int:
    """Add a model."""
    flags = (
        switch("no-switch"),
        option("c", "controller"),
        option("config"),
        option("credential"),
        option("owner"),
    )
    args = arguments(session, flags, least=1, most=2, missing="model name is required")
    name = args.positional[0]
    if (
        not deployment.APPLICATION.match(name.replace("_", ""))
        and not name.replace("-", "").isalnum()
    ):
        raise JujuError(
            f"{go_quote(name)} is not a valid name: model names may only contain lowercase letters, digits and hyphens"
        )
    session.controller.add_model(name, dict(pairs(args.repeated.get("config", []))))
    if not args.has("no-switch"):
        session.select_model(name)
    session.err(f"Added '{name}' model on {CLOUD}/{CLOUD} with no credential for user 'admin'\n")
    return 0


def switch_model(session: Session) -> int:
    """Select a model, or print the selected one."""
    args = arguments(session, (), most=1)
    if not args.positional:
        name = session.selected_model()
        if not name:
            raise JujuError("no currently specified model")
        session.out(f"{CONTROLLER}:admin/{name}\n")
        return 0
    host = session.controller.find(args.positional[0])
    name = host.book.records.model.name
    before = session.selected_model()
    session.select_model(name)
    arrow = f"{CONTROLLER}:admin/{before} -> " if before else ""
    session.err(f"{arrow}{CONTROLLER}:admin/{name}\n")
    return 0


def models(session: Session) -> int:
    """List models."""
    args = arguments(
        session, (*FORMAT, option("c", "controller"), switch("all"), switch("uuid"), switch("utc"))
    )
    current = session.selected_model()
    rows, listed = [], []
    for name, host in sorted(session.controller.hosts.items()):
        with host.book.read() as records:
            shown = _summary(host)
            listed.append(shown)
            star = "*" if name == current else ""
            units, machines = len(records.units), len(records.machines)
            rows.append(
                [
                    f"{name}{star}",
                    f"{CLOUD}/{CLOUD}",
                    CLOUD,
                    "available",
                    str(machines),
                    str(units),
                    "admin",
                    "just now",
                ]
            )
    if args.text("format") != "tabular":
        emit(session, args, {"models": listed, "current-model": current}, ordered=True)
        return 0
    session.out(f"Controller: {CONTROLLER}\n\n")
    header = [
        "Model",
        "Cloud/Region",
        "Type",
        "Status",
        "Machines",
        "Units",
        "Access",
        "Last connection",
    ]
    session.out(table([header, *rows], right={4, 5}))
    return 0


def _summary(host: ModelHost) -> dict[str, Any]:
    records = host.book.records
    model = records.model
    return {
        "name": f"admin/{model.name}",
        "short-name": model.name,
        "model-uuid": model.uuid,
        "model-type": "iaas",
        "controller-uuid": model.uuid,
        "controller-name": CONTROLLER,
        "is-controller": False,
        "owner": "admin",
        "cloud": CLOUD,
        "region": CLOUD,
        "type": "lxd",
        "life": model.life,
        "status": {"current": "available", "since": moment(model.created)},
        "users": {"admin": {"display-name": "admin", "access": "admin", "last-connection": "just now"}},
        "machines": {
            m.number: {"cores": 0} for m in records.machines.values()
        },
        "agent-version": JUJU_VERSION,
    }  # fmt: skip


def show_model(session: Session) -> int:
    """Show a model."""
    args = arguments(session, FORMAT_YAML, most=1)
    name = args.positional[0] if args.positional else ""
    host = session.controller.find(name) if name else session.host()
    with host.book.read():
        shown = _summary(host)
    emit(session, args, {shown["short-name"]: shown}, ordered=True)
    return 0


def destroy_model(session: Session) -> int:
    """Destroy a model with everything in it."""
    flags = (
        switch("destroy-storage"), switch("release-storage"), switch("force"), switch("no-wait"),
        option("t", "timeout"),
    )  # fmt: skip
    args = arguments(session, flags, least=1, most=1, missing="no model specified")
    host = session.controller.find(args.positional[0])
    name = host.book.records.model.name
    session.err("Destroying model\n")
    if not args.has("force"):
        _drain(session, host)
    session.controller.remove_model(name)
    session.err("Model destroyed.\n")
    return 0


def _drain(session: Session, host: ModelHost) -> None:
    """Let the units run their teardown hooks; a unit in error or unreachable is not waited for."""
    with host.book.change() as records:
        now = host.book.now()
        for app in list(records.applications.values()):
            deployment.destroy_application(records, app, now, destroy_storage=True)

    def settled() -> bool:
        units = host.book.records.units.values()
        return all(unit.local.failed or not _is_up(host, unit.machine) for unit in units)

    session.wait(host.book, settled, DESTROY_SECONDS)


def _is_up(host: ModelHost, number: str) -> bool:
    machine = host.book.records.machines.get(number)
    return (
        machine is not None
        and machine.agent.current in {"started", "pending", "rebooting"}
        and (machine.wanted and not machine.frozen and not machine.partitioned)
    )


def controllers(session: Session) -> int:
    """Show the one controller there is."""
    args = arguments(session, FORMAT)
    shown = {
        CONTROLLER: {
            "details": {"agent-version": JUJU_VERSION, "cloud": CLOUD, "region": CLOUD},
            "current-model": f"admin/{session.selected_model()}",
        }
    }
    if args.text("format") == "tabular":
        row = [
            f"{CONTROLLER}*",
            session.selected_model() or "-",
            "admin",
            "superuser",
            f"{CLOUD}/{CLOUD}",
            JUJU_VERSION,
        ]
        session.out(
            table([["Controller", "Model", "User", "Access", "Cloud/Region", "Version"], row])
        )
    else:
        emit(session, args, shown, ordered=True)
    return 0


def whoami(session: Session) -> int:
    """Show who is asking, and for which model."""
    args = arguments(session, FORMAT)
    model = session.selected_model()
    if args.text("format") != "tabular":
        emit(
            session,
            args,
            {"controller": CONTROLLER, "model": model, "user": "admin"},
            ordered=True,
        )
        return 0
    rows = [
        ("Controller", CONTROLLER),
        ("Model", model or "<no-current-model>"),
        ("User", "admin"),
    ]
    session.out("".join(f"{name + ':':<13}{value}\n" for name, value in rows))
    return 0


def accepted(session: Session) -> int:
    """Accepted for compatibility; there is nothing to do in a local model."""
    del session
    return 0


def refused(session: Session) -> int:
    """Not available in a local model."""
    session.words.clear()
    raise JujuError("not supported by the local model: there is one machine and no cloud")


COMMANDS = {
    "version": version,
    "add-model": add_model,
    "switch": switch_model,
    "models": models,
    "list-models": models,
    "show-model": show_model,
    "destroy-model": destroy_model,
    "controllers": controllers,
    "whoami": whoami,
    "show-controller": controllers,
    "bootstrap": accepted,
    "set-constraints": accepted,
    "add-cloud": refused,
    "add-credential": refused,
    "update-cloud": refused,
    "offer": refused,
    "consume": refused,
    "add-space": refused,
    "add-k8s": refused,
}
