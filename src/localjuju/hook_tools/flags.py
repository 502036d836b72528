"""Command lines in the manner of Juju's gnuflag: flags anywhere, ``-x v``, ``-xv``, ``--x v``, ``--x=v``.

Flags are taken from left to right and each value is checked when it is met, so the first wrong
one is the one that is reported. A lone ``--`` ends the flags; a lone ``-`` is a positional
argument. Raises UsageError with the texts that Juju prints (juju/gnuflag: flag.go).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from localjuju.errors import UsageError
from localjuju.formats import go_list, go_quote

TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
GO_INTEGER = re.compile(
    r"[-+]?(0[xX](_?[0-9a-fA-F])+|0[bB](_?[01])+|0[oO](_?[0-7])+|0(_?[0-7])*|[1-9](_?[0-9])*)$"
)
KINDS_OF_FORMAT = {"smart": ("json", "smart", "yaml"), "yaml": ("json", "yaml")}

Check = Callable[[str], str]
"""Returns what is wrong with a value, or nothing."""


class Help(Exception):  # noqa: N818
    """``--help`` was given."""


@dataclass(frozen=True)
class Flag:
    """One flag: its names without dashes, whether it takes a value, what it starts as.

    ``plain`` says that help shows the default without quotes, as for values with a parser.
    """

    names: tuple[str, ...]
    takes_value: bool = False
    default: str = ""
    usage: str = ""
    plain: bool = False

    @property
    def key(self) -> str:
        """Return the name under which the value is found: the last (longest)."""
        return self.names[-1]


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


def switch(*names: str, usage: str = "") -> Flag:
    """Declare a flag without value."""
    return Flag(names, usage=usage)


def option(*names: str, default: str = "", usage: str = "", plain: bool = False) -> Flag:
    """Declare a flag with a value."""
    return Flag(names, takes_value=True, default=default, usage=usage, plain=plain)


def _format(default: str) -> tuple[Flag, Flag]:
    choices = "|".join(KINDS_OF_FORMAT[default])
    usage = f"Specify output format ({choices})"
    return (
        option("format", default=default, usage=usage, plain=True),
        option("o", "output", usage="Specify an output file"),
    )


FORMAT_SMART = _format("smart")
FORMAT_YAML = _format("yaml")


def dashed(name: str) -> str:
    """Return a flag's name as people type it."""
    return f"-{name}" if len(name) == 1 else f"--{name}"


class _Reader:
    """Takes words one after another, as gnuflag's parser does."""

    def __init__(
        self, words: Sequence[str], flags: Sequence[Flag], checks: Mapping[str, Check]
    ) -> None:
        self.rest = list(words)
        self.known = {name: flag for flag in flags for name in flag.names}
        self.checks = checks
        self.result = Arguments()
        for flag in flags:
            self.result.values[flag.key] = flag.default if flag.takes_value else "false"

    def run(self) -> Arguments:
        """Read everything."""
        while self.rest:
            word = self.rest.pop(0)
            if word == "--":
                self.result.positional += self.rest
                break
            if word == "-" or not word.startswith("-"):
                self.result.positional.append(word)
            elif word.startswith("--"):
                self._long(word)
            else:
                self._bundle(word[1:])
        return self.result

    def _long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name:
            raise UsageError(f"empty option in argument {go_quote(word)}")
        flag = self._find(name)
        if equals:
            self._take(name, flag, value)
        elif flag.takes_value:
            self._take(name, flag, self._next(name))
        else:
            self._take(name, flag, "true")

    def _bundle(self, letters: str) -> None:
        """Read ``-abc``; what follows a letter with a value is that value, ``=`` included."""
        while letters:
            name, letters = letters[0], letters[1:]
            flag = self._find(name)
            if not flag.takes_value and not letters.startswith("="):
                self._take(name, flag, "true")
                continue
            self._take(name, flag, letters or self._next(name))
            return

    def _find(self, name: str) -> Flag:
        flag = self.known.get(name)
        if flag is not None:
            return flag
        if name in {"h", "help"}:
            raise Help
        raise UsageError(f"option provided but not defined: {dashed(name)}")

    def _next(self, name: str) -> str:
        if not self.rest:
            raise UsageError(f"option needs an argument: {dashed(name)}")
        return self.rest.pop(0)

    def _take(self, name: str, flag: Flag, value: str) -> None:
        problem = self._problem(flag, value)
        if problem:
            raise UsageError(
                f"invalid value {go_quote(value)} for option {dashed(name)}: {problem}"
            )
        if not flag.takes_value:
            value = "true" if value in TRUE else "false"
        self.result.values[flag.key] = value
        self.result.repeated.setdefault(flag.key, []).append(value)
        self.result.given.add(flag.key)

    def _problem(self, flag: Flag, value: str) -> str:
        if not flag.takes_value:
            return "" if value in TRUE | FALSE else go_error("ParseBool", value)
        if flag.key == "format" and flag.default and not _knows_format(flag.default, value):
            return f"unknown format {go_quote(value)}"
        check = self.checks.get(flag.key)
        return check(value) if check is not None else ""


def parse(
    words: Sequence[str], flags: Sequence[Flag], checks: Mapping[str, Check] | None = None
) -> Arguments:
    """Parse a command line; ``checks`` hold more parsers of values, by flag key."""
    return _Reader(words, flags, checks or {}).run()


def _knows_format(default: str, form: str) -> bool:
    """Say whether an output form is one of a flag with this default."""
    return form in {"yaml", "json", default}


def go_error(function: str, text: str) -> str:
    """Return what Go's strconv says of text that it cannot parse."""
    return f"strconv.{function}: parsing {go_quote(text)}: invalid syntax"


def integer_problem(text: str) -> str:
    """Check the value of an integer flag, in any base that Go knows."""
    return "" if GO_INTEGER.match(text) else go_error("ParseInt", text)


def check_empty(words: Sequence[str]) -> None:
    """Refuse surplus arguments."""
    if words:
        raise UsageError(f"unrecognized args: {go_list(list(words))}")


def key_values(words: Sequence[str], *, empty: bool = True) -> dict[str, str]:
    """Parse ``key=value`` words, both sides trimmed; a key given twice is refused.

    Empty words are passed over (juju/utils: keyvalues.go).
    """
    pairs: dict[str, str] = {}
    for word in words:
        if not word:
            continue
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f'expected "key=value", got {go_quote(word)}')
        key, value = key.strip(), value.strip()
        if not key or (not value and not empty):
            raise UsageError(f'expected "key=value", got "{key}={value}"')
        if key in pairs:
            raise UsageError(f"key {go_quote(key)} specified more than once")
        pairs[key] = value
    return pairs


def options_help(flags: Sequence[Flag], defaults: Mapping[str, str]) -> str:
    """Return the Options section of a help text (gnuflag: PrintDefaults)."""
    lines = []
    for flag in sorted(flags, key=lambda flag: min(flag.names, key=len)):
        names = ", ".join(dashed(name) for name in sorted(flag.names, key=lambda n: (len(n), n)))
        default = defaults.get(flag.key, flag.default if flag.takes_value else "false")
        if flag.takes_value and not flag.plain:
            lines.append(f"{names} (= {go_quote(default)})")
        else:
            lines.append(f"{names}  (= {default})")
        lines.append(f"    {flag.usage}")
    return "\n".join(lines) + "\n"
