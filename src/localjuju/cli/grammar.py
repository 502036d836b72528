"""Parsing command lines of ``juju``; the flags are those of hook tools, the model comes with them."""

from collections.abc import Sequence
from typing import Any

import yaml

from localjuju.cli.session import Session
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import Arguments, Flag, dashed, option, parse, switch
from localjuju.hook_tools.relation import yaml_problem

MODEL = option("m", "model")
FORMAT = (option("format", default="tabular"), option("o", "output"))
FORMAT_YAML = (option("format", default="yaml"), option("o", "output"))
QUIET = (
    switch("no-prompt"),
    switch("y", "yes"),
    switch("debug"),
    switch("quiet"),
    switch("v", "verbose"),
)


def arguments(session: Session, flags: Sequence[Flag] = (), *, least: int = 0, most: int | None = None,
              missing: str = "missing arguments") -> Arguments:  # fmt: skip
    """Parse the session's words and select its model."""
    known = {name for flag in flags for name in flag.names}
    extra = [flag for flag in (MODEL, *QUIET) if not known & set(flag.names)]
    parsed = parse(session.words, (*flags, *extra))
    if parsed.text("model"):
        session.model_name = parsed.text("model")
    if len(parsed.positional) < least:
        raise UsageError(missing)
    if most is not None and len(parsed.positional) > most:
        from localjuju.hook_tools.flags import check_empty  # noqa: PLC0415

        check_empty(parsed.positional[most:])
    return parsed


def number(args: Arguments, flag: str, default: int = 0) -> int:
    """Return a flag's value as a whole number of at least 0."""
    text = args.text(flag)
    if not text:
        return default
    if not text.isdecimal():
        raise UsageError(
            f"invalid value {go_quote(text)} for option {dashed(flag)}: "
            f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax"
        )
    return int(text)


def read_file(session: Session, name: str) -> str:
    """Return the text of a file that the caller names. Raises JujuError."""
    try:
        return session.path(name).read_text()
    except OSError as error:
        raise JujuError(f"open {name}: {str(error.strerror).lower()}") from None
    except UnicodeDecodeError:
        raise JujuError(f"{name} is not text in UTF-8") from None


def parse_yaml(text: str) -> Any:
    """Return what YAML says. Raises JujuError."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JujuError(yaml_problem(error)) from None


def read_map(session: Session, name: str) -> dict[str, Any]:
    """Return the map in a YAML file; nothing for an empty one. Raises JujuError."""
    loaded = parse_yaml(read_file(session, name))
    if loaded is not None and not isinstance(loaded, dict):
        raise JujuError(f"{name} must contain a YAML map with string keys")
    return loaded or {}


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Parse ``key=value`` words; later ones win."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f'expected "key=value", got "{word}"')
        found[key] = value
    return found


def commas(values: Sequence[str]) -> list[str]:
    """Split repeated, comma-separated values."""
    return [part for value in values for part in value.split(",") if part]
