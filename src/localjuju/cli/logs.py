"""debug-log, and how long hooks took."""

import statistics

from localjuju.cli.grammar import arguments, number
from localjuju.cli.rendering import table
from localjuju.cli.session import POLL_SECONDS, Session
from localjuju.debug_log import LEVELS, show
from localjuju.errors import UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import Arguments, option, switch

DEFAULT_LINES = 10


def debug_log(session: Session) -> int:
    """Show the model's log; --tail follows it."""
    flags = (
        option("limit"), option("n", "lines"), switch("replay"), switch("tail"), switch("no-tail"),
        option("l", "level"), option("i", "include"), option("x", "exclude"), switch("date"),
        option("include-module"), option("exclude-module"), switch("ms"), switch("utc"),
        switch("color"), switch("location"), option("include-labels"), option("T"),
    )  # fmt: skip
    args = arguments(session, flags)
    host = session.host()
    count = args.text("limit") or args.text("lines")
    wanted = number(args, "limit" if args.text("limit") else "lines", DEFAULT_LINES)
    level = args.text("level").upper()
    if level and level not in LEVELS:
        known = ", ".join(map(go_quote, LEVELS))
        raise UsageError(f"level value {go_quote(args.text('level'))} is not one of {known}")
    lines = [line for line in host.log.tail(None) if _matches(args, line)]
    for line in lines if args.has("replay") else lines[-wanted:]:
        session.out(show(line, date=args.has("date"), ms=args.has("ms")))
    follow = args.has("tail") or (not count and not args.has("no-tail") and session.tty)
    if follow:
        for line in host.log.follow(POLL_SECONDS):
            session.check_caller()
            if line and _matches(args, line):
                session.out(show(line, date=args.has("date"), ms=args.has("ms")))
    return 0


def _matches(args: Arguments, line: str) -> bool:
    _, entity, level, module, *_ = [*line.split("\t", 4), "", "", "", ""]
    wanted = args.text("level").upper()
    if wanted in LEVELS and level in LEVELS and LEVELS.index(level) < LEVELS.index(wanted):
        return False
    includes = args.repeated.get("include", [])
    if includes and not any(_names(text, entity) for text in includes):
        return False
    if any(_names(text, entity) for text in args.repeated.get("exclude", [])):
        return False
    if any(module.startswith(text) for text in args.repeated.get("exclude-module", [])):
        return False
    modules = args.repeated.get("include-module", [])
    return not modules or any(module.startswith(text) for text in modules)


def _names(text: str, entity: str) -> bool:
    tag = text if text.startswith(("unit-", "machine-")) else "unit-" + text.replace("/", "-")
    return entity == tag or (tag.endswith("*") and entity.startswith(tag[:-1]))


def hook_times(session: Session) -> int:
    """Show how long hooks and actions took."""
    arguments(session)
    file = session.host().folder / "hooks.tsv"
    times: dict[tuple[str, str], list[float]] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        _, unit, hook, seconds, _ = line.split("\t")
        times.setdefault((unit, hook), []).append(float(seconds))
    rows = [["Unit", "Hook", "Runs", "Median", "Max", "Total"]]
    for (unit, hook), taken in sorted(times.items()):
        numbers = [statistics.median(taken), max(taken), sum(taken)]
        rows.append([unit, hook, str(len(taken)), *(f"{seconds:.2f}" for seconds in numbers)])
    session.out(table(rows, right={2, 3, 4, 5}))
    return 0


COMMANDS = {"debug-log": debug_log, "hook-times": hook_times}
