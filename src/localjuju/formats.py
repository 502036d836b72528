"""Output forms of Juju's tools: smart, yaml and json, with the quoting of Go's encoders.

go-yaml v2 writes a string that would read as another type in double quotes, one that merely
cannot stand plain in single quotes, several lines as a literal block; sequences are not
indented and map keys are sorted naturally (``a2`` before ``a10``). Go's JSON is compact with
sorted keys and escapes ``<``, ``>`` and ``&``.
"""

import json
import re
from typing import Any

import yaml

_WORDS = frozenset(
    word
    for base in ("yes", "true", "on", "no", "false", "off", "null")
    for word in (base, base.capitalize(), base.upper())
) | {"", "~", "<<", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
     "-.INF", ".nan", ".NaN", ".NAN"}  # fmt: skip
_NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"
    r"|[-+]?0x[0-9a-fA-F_]+$|[-+]?0b[01_]+$|[-+]?0o[0-7_]+$"
)
_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
_TIME = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}"
    r"([Tt]\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?(Z|[-+]\d\d:\d\d)| \d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?)?$"
)


class Ordered(dict[str, Any]):
    """A mapping that keeps its field order, as a Go struct does."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def check_simple_key(self) -> bool:
        """Write an empty key as ``"":`` where PyYAML would take two lines for it."""
        empty = isinstance(self.event, yaml.ScalarEvent) and self.event.value == ""
        return empty or bool(super().check_simple_key())


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    tag = "tag:yaml.org,2002:str"
    if "\n" in text:
        return dumper.represent_scalar(tag, text, style="|")
    looks_typed = text in _WORDS or any(p.match(text) for p in (_NUMBER, _BASE60, _TIME))
    if looks_typed:
        return dumper.represent_scalar(tag, text, style='"')
    return dumper.represent_scalar(tag, text)


def in_order(value: Any) -> Any:
    """Return a value whose mappings keep the order in which they were made."""
    if isinstance(value, dict):
        return Ordered({key: in_order(item) for key, item in value.items()})
    if isinstance(value, list):
        return [in_order(item) for item in value]
    return value


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key in which digits count as numbers."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _represent_map(dumper: yaml.SafeDumper, mapping: dict[Any, Any]) -> yaml.Node:
    keys = list(mapping)
    if not isinstance(mapping, Ordered):
        keys.sort(key=lambda key: natural_key(str(key)))
    pairs = [(key, mapping[key]) for key in keys]
    return dumper.represent_mapping("tag:yaml.org,2002:map", pairs, flow_style=False)


def _represent_float(dumper: yaml.SafeDumper, number: float) -> yaml.Node:
    text = go_number(number)
    kind = "int" if text.lstrip("-").isdigit() else "float"
    return dumper.represent_scalar(f"tag:yaml.org,2002:{kind}", text)


# What looks like a time to PyYAML is more than what does to go-yaml: _represent_text decides.
_Dumper.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeDumper.yaml_implicit_resolvers.items()
}
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_map)
_Dumper.add_representer(Ordered, _represent_map)
_Dumper.add_representer(float, _represent_float)


def go_number(number: float) -> str:
    """Write a float as Go's ``%g`` does: whole numbers without a point."""
    if number == int(number) and abs(number) < 1e21:
        return str(int(number))
    text = repr(number)
    return re.sub(r"e([-+])(\d)$", r"e\g<1>0\2", text)


def to_yaml(value: Any) -> str:
    """Return YAML without the trailing newline; nothing for null."""
    if value is None:
        return ""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        width=1 << 30,
        explicit_end=False,
    )
    return text.removesuffix("...\n").rstrip("\n")


def to_json(value: Any) -> str:
    """Return JSON in Go's form."""
    text = json.dumps(_plain(value), separators=(",", ":"), sort_keys=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _plain(value: Any) -> Any:
    """Sort mappings by key (structs excepted) and make whole floats integers."""
    if isinstance(value, dict):
        keys = list(value) if isinstance(value, Ordered) else sorted(value, key=str)
        return {str(key): _plain(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value == int(value):
        return int(value)
    return value


def to_smart(value: Any) -> str:
    """Return the form for shell scripts."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return "\n".join(value)
        return to_yaml(list(value))
    return to_yaml(value)


FORMATTERS = {"smart": to_smart, "yaml": to_yaml, "json": to_json}


def render(form: str, value: Any) -> str:
    """Return a value in a form with one newline at its end, or nothing at all."""
    text = FORMATTERS[form](value)
    return text + "\n" if text else ""


def go_quote(text: str) -> str:
    """Quote as Go's ``%q``."""
    return json.dumps(text, ensure_ascii=False)


def go_list(words: list[str]) -> str:
    """Write a list of strings as Go's ``%q``."""
    return "[" + " ".join(go_quote(word) for word in words) + "]"
