"""Command lines in the manner of Juju's gnuflag: flags anywhere, ``-x v``, ``--x v``, ``--x=v``.

Raises UsageError with the texts that Juju prints. A lone ``--`` ends the flags; a lone ``-`` is
a positional argument.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from localjuju.errors import UsageError
from localjuju.formats import go_list, go_quote


class Help(Exception):  # noqa: N818
    """``--help`` was given."""


@dataclass(frozen=True)
class Flag:
    """One flag: its names without dashes, whether it takes a value, what it starts as."""

    names: tuple[str, ...]
    takes_value: bool = False
    default: str = ""


@dataclass
class Arguments:
    """A parsed command line."""

    positional: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, list[str]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def text(self, name: str) -> str:
        """Return the value of a flag."""
        return self.values.get(name, "")

    def has(self, name: str) -> bool:
        """Say whether a switch is on."""
        return self.values.get(name) == "true"


def switch(*names: str) -> Flag:
    """Declare a flag without value."""
    return Flag(names)


def option(*names: str, default: str = "") -> Flag:
    """Declare a flag with a value."""
    return Flag(names, takes_value=True, default=default)


FORMAT_SMART = (option("format", default="smart"), option("o", "output"))
FORMAT_YAML = (option("format", default="yaml"), option("o", "output"))


def _dashed(name: str) -> str:
    return f"-{name}" if len(name) == 1 else f"--{name}"


def parse(words: Sequence[str], flags: Sequence[Flag]) -> Arguments:
    """Parse a command line; the key of a flag is its last (longest) name."""
    known = {name: flag for flag in flags for name in flag.names}
    result = Arguments()
    for flag in flags:
        result.values[flag.names[-1]] = flag.default if flag.takes_value else "false"
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            result.positional += rest
            break
        if word == "-" or not word.startswith("-"):
            result.positional.append(word)
            continue
        name, given, value = _split(word)
        if not word.startswith("--") and len(name) > 1:
            # A bundle of single letters; the tail may be the value of the first.
            first = known.get(name[0])
            if first is not None and first.takes_value:
                name, given, value = name[0], True, name[1:] + ("=" + value if given else "")
            elif first is not None:
                rest.insert(0, "-" + name[1:])
                name = name[0]
        if name in {"h", "help"} and name not in known:
            raise Help
        if name not in known:
            raise UsageError(f"option provided but not defined: {_dashed(name)}")
        flag = known[name]
        if flag.takes_value and not given:
            if not rest:
                raise UsageError(f"option needs an argument: {_dashed(name)}")
            value = rest.pop(0)
        key = flag.names[-1]
        result.values[key] = value if flag.takes_value else _switch_value(name, given, value)
        result.repeated.setdefault(key, []).append(value)
        result.given.add(key)
    check_format(result, flags)
    return result


def _split(word: str) -> tuple[str, bool, str]:
    body = word.lstrip("-")
    name, equals, value = body.partition("=")
    return name, bool(equals), value


def _switch_value(name: str, given: bool, value: str) -> str:  # noqa: FBT001
    if not given:
        return "true"
    if value.lower() in {"1", "t", "true"}:
        return "true"
    if value.lower() in {"0", "f", "false"}:
        return "false"
    raise UsageError(
        f"invalid boolean value {go_quote(value)} for  {_dashed(name)}: strconv.ParseBool: parsing {go_quote(value)}: invalid syntax"
    )


def check_format(result: Arguments, flags: Sequence[Flag]) -> None:
    """Refuse an unknown ``--format``."""
    default = next((flag.default for flag in flags if "format" in flag.names), "")
    if not default or "format" not in result.given:
        return
    known = {"yaml", "json"} | ({"smart"} if default == "smart" else set())
    if default == "tabular":
        known |= {"tabular"}
    form = result.text("format")
    if form not in known:
        raise UsageError(
            f"invalid value {go_quote(form)} for option --format: unknown format {go_quote(form)}"
        )


def check_empty(words: Sequence[str]) -> None:
    """Refuse surplus arguments."""
    if words:
        raise UsageError(f"unrecognized args: {go_list(list(words))}")


def key_values(words: Sequence[str], *, empty: bool = True) -> dict[str, str]:
    """Parse ``key=value`` words; a key given twice is refused."""
    pairs: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f'expected "key=value", got {go_quote(word)}')
        if key in pairs:
            raise UsageError(f"key {go_quote(key)} specified more than once")
        if not value and not empty:
            raise UsageError(f'expected "key=value", got {go_quote(word)}')
        pairs[key] = value
    return pairs
