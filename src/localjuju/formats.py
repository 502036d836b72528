"""Output forms of Juju's tools: smart, yaml and json, with the quoting of Go's encoders.

Juju's YAML is go-yaml v2 with Juju's own changes (juju/yaml v2): a string that would read as
another type is in double quotes, one that merely cannot stand plain in single quotes, several
lines are a literal block; an exponent makes a number only with a sign (``1e3`` is text), dates
are checked; long lines are folded at 80 columns, sequences are not indented and map keys are
sorted naturally (``a2`` before ``a10``). Go's JSON is compact with sorted keys and escapes
``<``, ``>`` and ``&``.
"""

import json
import re
import unicodedata
from datetime import datetime
from functools import cmp_to_key
from typing import Any

import yaml

_WORDS = frozenset(
    word
    for base in ("y", "yes", "true", "on", "n", "no", "false", "off", "null")
    for word in (base, base.capitalize(), base.upper())
) | {"", "~", ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
     ".nan", ".NaN", ".NAN"}  # fmt: skip
_INTEGER = re.compile(
    r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)$", re.ASCII
)
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]+)?([eE][-+][0-9]+)?$", re.ASCII)
_POINT_FLOAT = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?$", re.ASCII)
_BASE60 = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$", re.ASCII)
_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[Tt](\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?(?:Z|[-+]\d\d:\d\d)"
    r"| (\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?)?$",
    re.ASCII,
)
_INT_MIN, _UINT_MAX = -(1 << 63), (1 << 64) - 1
SIMPLE_KEY_BYTES = 128
PLAIN_EXPONENT_MAX = 6  # of floats; beyond it Go writes an exponent
_BEYOND_BMP = re.compile("[\x85\U00010000-\U0010ffff]")


def _looks_typed(text: str) -> bool:
    """Say whether a plain scalar would be read as something else than a string."""
    if text in _WORDS or _BASE60.match(text):
        return True
    first = text[0]
    if first == ".":
        return bool(_POINT_FLOAT.match(text)) and abs(float(text)) != float("inf")
    if first not in "+-0123456789":
        return False
    return _is_time(text) or _is_number(text.replace("_", ""))


def _is_number(text: str) -> bool:
    match = _INTEGER.match(text)
    if match is not None:
        digits = match[2]
        octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xXbBoO"
        value = int("0o" + digits[1:] if octal else digits, 0)
        value = -value if match[1] == "-" else value
        if _INT_MIN <= value <= (_UINT_MAX if not match[1] else _UINT_MAX >> 1):
            return True
    if not _FLOAT.match(text) or not re.search("[0-9]", text):
        return False
    return abs(float(text)) != float("inf")


def _is_time(text: str) -> bool:
    match = _TIME.match(text)
    if match is None:
        return False
    numbers = [int(part) for part in match.groups() if part is not None]
    try:
        datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001  # only whether it exists
    except ValueError:
        return False
    return True


class Ordered(dict[str, Any]):
    """A mapping that keeps its field order, as a Go struct does."""


class Moment(str):
    """A time in RFC 3339: unquoted in YAML, a string in JSON."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    def analyze_scalar(self, scalar: str) -> Any:
        """Take what go-yaml does not print as it is for special: NEL and all beyond the BMP."""
        analysis = super().analyze_scalar(scalar)
        if _BEYOND_BMP.search(scalar):
            analysis.allow_flow_plain = analysis.allow_block_plain = False
            analysis.allow_single_quoted = analysis.allow_block = False
        return analysis

    def check_simple_key(self) -> bool:
        """Say whether a key is written before its colon on one line, as libyaml decides."""
        event = self.event
        if not isinstance(event, yaml.ScalarEvent):
            return bool(super().check_simple_key())
        if self.analysis is None:
            self.analysis = self.analyze_scalar(event.value)
        length = len(event.value.encode(errors="surrogateescape"))
        return length <= SIMPLE_KEY_BYTES and not re.search("[\r\n\x85\u2028\u2029]", event.value)

    def write_double_quoted(self, text: str, split: bool = True) -> None:  # noqa: FBT001, FBT002
        """Write with escapes; a long line is folded at a space only, as libyaml does."""
        self.write_indicator('"', True)
        after_space = False
        for position, character in enumerate(text):
            if character != " ":
                self._write(_yaml_character(character))
                after_space = False
                continue
            inside = 0 < position < len(text) - 1
            if split and inside and not after_space and self.column > self.best_width:
                self.write_indent()
                if text[position + 1] == " ":
                    self._write("\\")
            else:
                self._write(" ")
            after_space = True
        self.write_indicator('"', False)

    def _write(self, text: str) -> None:
        self.column += len(text)
        self.stream.write(text)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


_YAML_ESCAPES = {
    "\0": "0", "\a": "a", "\b": "b", "\t": "t", "\n": "n", "\v": "v", "\f": "f", "\r": "r", "\x1b": "e",
    '"': '"', "\\": "\\", "\x85": "N", "\u2028": "L", "\u2029": "P",
}  # fmt: skip


def _yaml_character(character: str) -> str:
    code = ord(character)
    if character in _YAML_ESCAPES:
        return "\\" + _YAML_ESCAPES[character]
    if 0x20 <= code <= 0x7E or (0xA0 <= code <= 0xFFFD and code != 0xFEFF):
        return character
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    tag = "tag:yaml.org,2002:str"
    if "\n" in text:
        return dumper.represent_scalar(tag, text, style="|")
    if _looks_typed(text):
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
    """Return a sort key in which digits count as numbers, for tables."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _compare_keys(one: str, other: str) -> int:
    """Order map keys as go-yaml does: numbers in them by value, letters after all else."""
    for position, (a, b) in enumerate(zip(one, other, strict=False)):
        if a == b:
            continue
        if a.isalpha() or b.isalpha():
            if a.isalpha() and b.isalpha():
                return -1 if a < b else 1
            return -1 if b.isalpha() else 1
        before = re.search(r"\d*$", one[:position])
        lead = int(bool("0" in {a, b} and before and before[0].strip("0")))
        found = [re.match(r"\d*", text[position:]) for text in (one, other)]
        digits = [match[0] if match else "" for match in found]
        numbers = [int(f"{lead}{text}") for text in digits]
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        if len(digits[0]) != len(digits[1]):
            return -1 if len(digits[0]) < len(digits[1]) else 1
        return -1 if a < b else 1
    return len(one) - len(other)


def _key_order(key: Any) -> Any:
    """Return a sort key for map keys: numbers first, then text."""
    if isinstance(key, str):
        return (1, 0, cmp_to_key(_compare_keys)(key))
    return (0, key, cmp_to_key(_compare_keys)(""))


def _represent_map(dumper: yaml.SafeDumper, mapping: dict[Any, Any]) -> yaml.Node:
    keys = list(mapping)
    if not isinstance(mapping, Ordered):
        keys.sort(key=_key_order)
    pairs = [(_represent_key(dumper, key), dumper.represent_data(mapping[key])) for key in keys]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=False)


def _represent_key(dumper: yaml.SafeDumper, key: Any) -> yaml.Node:
    """Represent a key; ``y`` and ``n`` stay plain there, as the recorded answers have them."""
    if isinstance(key, str) and key in {"y", "Y", "n", "N"}:
        return dumper.represent_scalar("tag:yaml.org,2002:str", key)
    return dumper.represent_data(key)


def _represent_float(dumper: yaml.SafeDumper, number: float) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", go_float(number))


def _represent_plain(dumper: yaml.SafeDumper, value: bool | int | None) -> yaml.Node:  # noqa: FBT001
    return dumper.represent_scalar("tag:yaml.org,2002:str", json.dumps(value))


def _represent_moment(dumper: yaml.SafeDumper, moment: Moment) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(moment))


# Which strings need quotes is decided by _looks_typed alone.
_Dumper.yaml_implicit_resolvers = {}
_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_map)
_Dumper.add_representer(Ordered, _represent_map)
_Dumper.add_representer(float, _represent_float)
for _plain in (bool, int, type(None)):
    _Dumper.add_representer(_plain, _represent_plain)
_Dumper.add_representer(Moment, _represent_moment)


def go_float(number: float) -> str:
    """Write a float as Go's ``FormatFloat(x, 'g', -1, 64)`` does: ``1e+06``, ``1.5``."""
    if number != number or abs(number) == float("inf"):  # NaN
        return ".nan" if number != number else (".inf" if number > 0 else "-.inf")
    sign, digits, exponent = _digits(number)
    if exponent < -4 or exponent >= PLAIN_EXPONENT_MAX:
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    return sign + _fixed(digits, exponent)


def json_float(number: float) -> str:
    """Write a float as Go's encoding/json does."""
    sign, digits, exponent = _digits(number)
    if number and (exponent < -6 or exponent >= 21):
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
    return sign + _fixed(digits, exponent)


def _digits(number: float) -> tuple[str, str, int]:
    """Return sign, shortest digits and the decimal exponent of the first of them."""
    mantissa, _, exponent = f"{number!r}".lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    power = int(exponent or 0) + len(whole) - 1
    digits = whole + fraction
    stripped = digits.lstrip("0")
    power -= len(digits) - len(stripped)
    return (sign, stripped.rstrip("0"), power) if stripped else (sign, "0", 0)


def _fixed(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :]}" if len(digits) > exponent + 1 else whole


def to_yaml(value: Any) -> str:
    """Return YAML without the trailing newline; nothing for null."""
    if value is None:
        return ""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        width=80,
        explicit_end=False,
    )
    return text.removesuffix("...\n").rstrip("\n")


def to_json(value: Any) -> str:
    """Return JSON in Go's form."""
    if isinstance(value, dict):
        keys = list(value) if isinstance(value, Ordered) else sorted(value, key=_utf8)
        return "{" + ",".join(f"{_json_text(str(k))}:{to_json(value[k])}" for k in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(to_json(item) for item in value) + "]"
    if isinstance(value, float):
        return json_float(value)
    if isinstance(value, str):
        return _json_text(value)
    return json.dumps(value)


def _utf8(key: Any) -> bytes:
    return str(key).encode(errors="surrogateescape")


def _json_text(text: str) -> str:
    quoted = json.dumps(
        text.encode(errors="surrogateescape").decode(errors="replace"), ensure_ascii=False
    )
    for character in "<>&\u2028\u2029":
        quoted = quoted.replace(character, f"\\u{ord(character):04x}")
    return quoted


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


_GO_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    '"': '\\"', "\\": "\\\\",
}  # fmt: skip
_NOT_GRAPHIC = ("C", "Z")


def _go_character(character: str) -> str:
    code = ord(character)
    if character in _GO_ESCAPES:
        return _GO_ESCAPES[character]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character == " " or unicodedata.category(character)[0] not in _NOT_GRAPHIC:
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_quote(text: str) -> str:
    """Quote as Go's ``%q``; bytes that are not UTF-8 come as surrogate escapes."""
    return '"' + "".join(map(_go_character, text)) + '"'


def go_list(words: list[str]) -> str:
    """Write a list of strings as Go's ``%q``."""
    return "[" + " ".join(go_quote(word) for word in words) + "]"
