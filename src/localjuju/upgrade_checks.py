"""What a newer charm may not take away from an application that runs (juju: state/application.go)."""

from typing import Any

from localjuju import charm_package
from localjuju.entities import Application, Charm, Records
from localjuju.errors import JujuError
from localjuju.formats import go_quote


def check_upgrade(records: Records, app: Application, old: Charm, new: Charm) -> None:
    """Refuse a charm that breaks relations or storage of the application."""
    if charm_package.is_subordinate(old.metadata) != charm_package.is_subordinate(new.metadata):
        raise _wrong(app, new, "cannot change an application's subordinacy")
    known = charm_package.endpoints(new.metadata)
    for relation in records.relations_of(app.name):
        for end in relation.ends:
            if end.app != app.name or end.is_implicit:
                continue
            found = known.get(end.endpoint)
            if found is None or (found["role"], found["interface"]) != (
                end.role,
                end.interface,
            ):
                raise _wrong(app, new, f"would break relation {go_quote(relation.key)}")
    stores: dict[str, Any] = new.metadata.get("storage") or {}
    for name, before in (old.metadata.get("storage") or {}).items():
        problem = _storage_problem(name, before, stores.get(name))
        if problem:
            raise _wrong(app, new, problem)


def _storage_problem(name: str, before: dict[str, Any], after: dict[str, Any] | None) -> str:
    shown = go_quote(name)
    if after is None:
        return f"existing storage {shown} removed"
    for key, default in (("type", ""), ("shared", False), ("read-only", False), ("location", "")):
        old, new = before.get(key, default), after.get(key, default)
        if old != new:
            if isinstance(default, bool):
                words = f"{str(old).lower()} to {str(new).lower()}"
                return f"existing storage {shown} {key} changed from {words}"
            return (
                f"existing storage {shown} {key} changed from {go_quote(old)} to {go_quote(new)}"
            )
    return ""


def _wrong(app: Application, charm: Charm, text: str) -> JujuError:
    return JujuError(
        f"cannot upgrade application {go_quote(app.name)} to charm {go_quote(charm.key)}: {text}"
    )
