"""Checking action parameters against the JSON schema subset that charms use."""

from typing import Any

from localjuju.errors import JujuError

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def fill_and_check(action: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters with defaults; refuse what the schema forbids."""
    properties = action.get("params") or {}
    filled = dict(params)
    for name, schema in properties.items():
        if name not in filled and isinstance(schema, dict) and "default" in schema:
            filled[name] = schema["default"]
    for name in action.get("required") or []:
        if name not in filled:
            raise JujuError(
                f'validation failed: (root) : "{name}" property is missing and required, given {_go(params)}'
            )
    if action.get("additionalProperties") is False:
        for name in filled:
            if name not in properties:
                raise JujuError(
                    f'validation failed: (root) : additional property "{name}" is not allowed, given {_go(params)}'
                )
    for name, value in filled.items():
        if isinstance(properties.get(name), dict):
            _check(f"(root).{name}", value, properties[name])
    return filled


def _go(value: Any) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value, separators=(",", ":"))


def _check(path: str, value: Any, schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    if kind is not None:
        kinds = kind if isinstance(kind, list) else [kind]
        if not any(_is_a(value, name) for name in kinds):
            raise JujuError(
                f"validation failed: {path} : must be of type {kind}, given {_go(value)}"
            )
    if "enum" in schema and value not in schema["enum"]:
        raise JujuError(
            f"validation failed: {path} : must match one of the enum values {_go(schema['enum'])}, given {_go(value)}"
        )
    if isinstance(value, int | float) and not isinstance(value, bool):
        if "minimum" in schema and value < schema["minimum"]:
            raise JujuError(
                f"validation failed: {path} : must be greater than or equal to {schema['minimum']}, given {value}"
            )
        if "maximum" in schema and value > schema["maximum"]:
            raise JujuError(
                f"validation failed: {path} : must be less than or equal to {schema['maximum']}, given {value}"
            )


def _is_a(value: Any, name: str) -> bool:
    if isinstance(value, bool) and name in {"integer", "number"}:
        return False
    return isinstance(value, TYPES.get(name, (object,)))
