"""config, model-config and resources."""

from typing import Any

from localjuju import deployment
from localjuju.cli.applications import settings_from
from localjuju.cli.grammar import FORMAT, FORMAT_YAML, arguments, commas
from localjuju.cli.rendering import emit, iso, table
from localjuju.cli.session import Session
from localjuju.entities import Application, Charm
from localjuju.errors import JujuError
from localjuju.formats import go_quote, to_smart
from localjuju.hook_tools.flags import option
from localjuju.rendering import plain_time

MODEL_DEFAULTS: dict[str, Any] = {
    "agent-version": "3.6.9",
    "apt-http-proxy": "",
    "automatically-retry-hooks": True,
    "juju-http-proxy": "",
    "juju-https-proxy": "",
    "juju-no-proxy": "127.0.0.1,localhost,::1",
    "localjuju-busy-seconds": 30,
    "localjuju-lease-seconds": 60,
    "localjuju-machine-base": "host",
    "localjuju-peer-app-echo": True,
    "localjuju-retry-seconds": 5,
    "logging-config": "<root>=INFO",
    "type": "lxd",
    "update-status-hook-interval": "5m",
}


def config(session: Session) -> int:
    """Show or change an application's configuration."""
    flags = (*FORMAT_YAML, option("file"), option("reset"), option("color"))
    args = arguments(session, flags, least=1, missing="no application name specified")
    book = session.book()
    name, *words = args.positional
    resets = commas(args.repeated.get("reset", []))
    changes = settings_from(session, [word for word in words if "=" in word], name)
    if args.text("file"):
        changes = {**settings_from(session, [args.text("file")], name), **changes}
    with book.change() as records:
        app = deployment.find_application(records, name)
        charm = records.charms[app.charm]
        if changes or resets:
            _change(app, charm, changes, resets)
            return 0
        if words:
            if words[0] not in charm.options and words[0] != "trust":
                raise JujuError(
                    f"key {go_quote(words[0])} not found in {go_quote(name)} application config or charm settings."
                )
            value = (
                app.trust
                if words[0] == "trust"
                else app.settings.get(words[0], charm.options[words[0]].get("default"))
            )
            text = str(value).lower() if isinstance(value, bool) else to_smart(value)
            session.out(f"{text}\n")
            return 0
        shown = _describe(app, charm)
    emit(session, args, shown)
    return 0


def _change(app: Application, charm: Charm, changes: dict[str, Any], resets: list[str]) -> None:
    trust = changes.pop("trust", None)
    converted = {k: deployment.convert_setting(charm, k, v) for k, v in changes.items()}
    for key in resets:
        if key not in charm.options and key != "trust":
            raise JujuError(f"unknown option {go_quote(key)}")
    if trust is not None:
        app.trust = str(trust).lower() == "true"
    app.settings.update(converted)
    for key in resets:
        app.settings.pop(key, None)
        if key == "trust":
            app.trust = False


def _describe(app: Application, charm: Charm) -> dict[str, Any]:
    settings = {}
    for key, declared in sorted(charm.options.items()):
        entry: dict[str, Any] = {}
        if "default" in declared:
            entry["default"] = declared["default"]
        entry["description"] = str(declared.get("description", ""))
        entry["source"] = (
            "user" if key in app.settings else ("default" if "default" in declared else "unset")
        )
        entry["type"] = declared.get("type", "string")
        value = app.settings.get(key, declared.get("default"))
        if value is not None:
            entry["value"] = value
        settings[key] = entry
    trust = {
        "default": False,
        "description": "Does this application have access to trusted credentials",
        "source": "user" if app.trust else "default",
        "type": "bool",
        "value": app.trust,
    }
    return {
        "application": app.name,
        "application-config": {"trust": trust},
        "charm": charm.name,
        "settings": settings,
    }


def model_config(session: Session) -> int:
    """Show or change the model's configuration."""
    args = arguments(session, (*FORMAT, option("reset"), option("file"), option("color")))
    book = session.book()
    resets = commas(args.repeated.get("reset", []))
    changes = {
        word.partition("=")[0]: word.partition("=")[2] for word in args.positional if "=" in word
    }
    with book.change() as records:
        model = records.model
        if changes or resets:
            for key in resets:
                model.config.pop(key, None)
            model.config.update({key: _typed(key, value) for key, value in changes.items()})
            if "update-status-hook-interval" in changes:
                for unit in records.units.values():
                    unit.next_update_status = min(unit.next_update_status, book.now())
            return 0
        values = {**MODEL_DEFAULTS, "name": model.name, "uuid": model.uuid, **model.config}
        known = set(model.config)
    if args.positional:
        key = args.positional[0]
        if key not in values:
            raise JujuError(f"key {go_quote(key)} not found in {go_quote(model.name)} model.")
        session.out(f"{_text(values[key])}\n")
        return 0
    if args.text("format") == "tabular":
        rows = [["Attribute", "From", "Value"]]
        rows += [
            [k, "model" if k in known else "default", _text(v)] for k, v in sorted(values.items())
        ]
        session.out(table(rows))
        return 0
    shown = {
        k: {"Value": v, "Source": "model" if k in known else "default"}
        for k, v in sorted(values.items())
    }
    emit(session, args, shown)
    return 0


def _typed(key: str, value: str) -> Any:
    default = MODEL_DEFAULTS.get(key)
    if isinstance(default, bool):
        if value.lower() not in {"true", "false"}:
            raise JujuError(f"{key}: expected bool, got string({go_quote(value)})")
        return value.lower() == "true"
    if isinstance(default, int):
        return float(value)
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def resources(session: Session) -> int:
    """List the resources of an application."""
    args = arguments(
        session,
        (*FORMAT, option("details")),
        least=1,
        most=1,
        missing="missing application or unit name",
    )
    name = args.positional[0].partition("/")[0]
    with session.book().read() as records:
        app = deployment.find_application(records, name)
        declared = records.charms[app.charm].metadata.get("resources") or {}
        rows = [["Resource", "Supplied by", "Revision"]]
        listed = []
        for key, body in sorted(declared.items()):
            found = app.resources.get(key)
            uploaded = plain_time(found.created, utc=True)[:16] if found else "0"
            rows.append([key, "admin" if found else "charmstore", uploaded])
            listed.append({
                "resourceid": f"{name}/{key}", "applicationid": name, "name": key,
                "type": (body or {}).get("type", "file"), "path": (body or {}).get("filename", ""),
                "revision": str(found.revision) if found else "0",
                "fingerprint": found.fingerprint if found else "", "size": found.size if found else 0,
                "origin": "upload" if found else "store", "used": found is not None,
                "timestamp": iso(found.created) if found else "0001-01-01T00:00:00Z",
                **({"username": "admin"} if found else {}),
            })  # fmt: skip
    if args.text("format") == "tabular":
        session.out(table(rows) if len(rows) > 1 else "No resources to display.\n")
    else:
        emit(session, args, {"resources": listed})
    return 0


COMMANDS = {
    "config": config,
    "model-config": model_config,
    "model-defaults": model_config,
    "resources": resources,
    "list-resources": resources,
}
