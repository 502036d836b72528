"""What a charm may declare, with Juju's complaints (juju/charm: meta.go, config.go, actions.go)."""

import re
from typing import Any

from localjuju.errors import JujuError

SECTIONS = ("provides", "requires", "peers")
SCOPES = ("global", "container")
STORAGE_KINDS = ("filesystem", "block")
OPTION_TYPES = ("string", "int", "float", "boolean", "secret")
RESERVED_ACTIONS = ("juju", "juju-")

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*")
_ACTION = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_RANGE = re.compile(r"[0-9]+|[0-9]+-[0-9]*|[0-9]+\+")


def check_metadata(metadata: Any) -> None:
    """Refuse metadata that Juju would not read."""
    if not isinstance(metadata, dict):
        raise JujuError("metadata.yaml: expected a map")
    name = _text(metadata, "name", "name")
    if not _NAME.fullmatch(name):
        raise _wrong(f'name: invalid charm name "{name}"')
    seen: set[str] = set()
    for section in SECTIONS:
        for endpoint, body in _map(metadata, section).items():
            _check_endpoint(f"{section}.{endpoint}", body)
            if endpoint in seen:
                raise JujuError(f'charm "{name}" using a duplicated relation name: "{endpoint}"')
            if _is_reserved(str(endpoint), section):
                raise JujuError(f'charm "{name}" using a reserved relation name: "{endpoint}"')
            seen.add(endpoint)
    for store, body in _map(metadata, "storage").items():
        _check_storage(f"storage.{store}", body)
    for resource, body in _map(metadata, "resources").items():
        if not isinstance(body, dict):
            raise _wrong(f"resources.{resource}: expected map, got {_kind(body)}")
    subordinate = metadata.get("subordinate")
    if subordinate is not None and not isinstance(subordinate, bool):
        raise _wrong(f"subordinate: expected bool, got {_kind(subordinate)}")
    if subordinate and not _has_container_scope(metadata):
        raise JujuError(
            f'subordinate charm "{name}" lacks "requires" relation with container scope'
        )


def check_options(config: dict[str, Any]) -> dict[str, Any]:
    """Return the charm's options; refuse ones that Juju would not read."""
    options = config.get("options") or {}
    if not isinstance(options, dict):
        raise JujuError(f"invalid config: options: expected map, got {_kind(options)}")
    for name, body in options.items():
        kind = body.get("type", "string") if isinstance(body, dict) else body
        if kind not in OPTION_TYPES:
            raise JujuError(f'invalid config: option "{name}" has unknown type "{kind}"')
        default = body.get("default") if isinstance(body, dict) else None
        if default is not None and not _fits(default, kind):
            raise JujuError(
                f"invalid config default: option {str(name)!r} expected {kind}, got {default!r}"
                .replace("'", '"')
            )  # fmt: skip
    return options


def check_actions(actions: dict[str, Any]) -> dict[str, Any]:
    """Return the charm's actions; refuse names that Juju would not take."""
    for name, body in actions.items():
        if not _ACTION.fullmatch(str(name)):
            raise JujuError(f"bad action name {name}")
        if str(name).startswith(RESERVED_ACTIONS):
            raise JujuError(f'cannot use action name {name}: "juju" is a reserved name')
        if not isinstance(body, dict):
            raise JujuError(f"actions.{name}: expected map, got {_kind(body)}")
        params = body.get("params", {})
        if not isinstance(params, dict):
            raise JujuError("params failed to parse as a map")
    return actions


def _check_endpoint(path: str, body: Any) -> None:
    if isinstance(body, str):
        return
    if not isinstance(body, dict):
        raise _wrong(f"{path}: expected map, got {_kind(body)}")
    interface = body.get("interface")
    if not isinstance(interface, str):
        raise _wrong(f"{path}.interface: expected string, got {_kind(interface)}")
    limit = body.get("limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int)):
        raise _wrong(f"{path}.limit: expected int, got {_kind(limit)}")
    scope = body.get("scope", "global")
    if scope not in SCOPES:
        raise _wrong(f"{path}.scope: unexpected value {_shown(scope)}")


def _check_storage(path: str, body: Any) -> None:
    if not isinstance(body, dict):
        raise _wrong(f"{path}: expected map, got {_kind(body)}")
    kind = body.get("type")
    if kind not in STORAGE_KINDS:
        raise _wrong(f"{path}.type: unexpected value {_shown(kind)}")
    count = (body.get("multiple") or {}).get("range")
    if count is not None and not _RANGE.fullmatch(str(count)):
        raise _wrong(f"{path}.multiple.range: value {_shown(count)} does not match 'm', 'm-n', "
                     "or 'm+'")  # fmt: skip


def _is_reserved(name: str, section: str) -> bool:
    """Juju keeps "juju" and what begins with "juju-" for itself, except for requirers."""
    return name == "juju" or (name.startswith("juju-") and section != "requires")


def _has_container_scope(metadata: dict[str, Any]) -> bool:
    bodies = (metadata.get("requires") or {}).values()
    return any(isinstance(body, dict) and body.get("scope") == "container" for body in bodies)


def _map(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    found = metadata.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _wrong(f"{key}: expected map, got {_kind(found)}")
    return found


def _text(metadata: dict[str, Any], key: str, path: str) -> str:
    found = metadata.get(key)
    if not isinstance(found, str):
        raise _wrong(f"{path}: expected string, got {_kind(found)}")
    return found


def _fits(value: Any, kind: str) -> bool:
    if kind in {"string", "secret"}:
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    numbers = (int,) if kind == "int" else (int, float)
    return isinstance(value, numbers) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    """Return a value as Go's schema package shows what it did not expect."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f'string("{value}")'
    if isinstance(value, bool):
        return f"bool({str(value).lower()})"
    if isinstance(value, int):
        return f"int({value})"
    if isinstance(value, float):
        return f"float64({value})"
    return "list" if isinstance(value, list) else "map"


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else _kind(value)


def _wrong(text: str) -> JujuError:
    return JujuError(f"metadata: {text}")
