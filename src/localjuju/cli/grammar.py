"""Parsing command lines of ``juju``; the flags are those of hook tools, the model comes with them."""

from collections.abc import Sequence

from localjuju.cli.session import Session
from localjuju.errors import UsageError
from localjuju.hook_tools.flags import Arguments, Flag, option, parse, switch

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
