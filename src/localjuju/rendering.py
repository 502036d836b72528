"""Tables and times as Juju writes them."""

from collections.abc import Sequence
from datetime import datetime, timezone

GREEN, YELLOW, RED, BOLD, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1;39m", "\x1b[0m"
STATUS_COLOURS = {
    **dict.fromkeys(
        ("active", "running", "idle", "started", "executing", "attaching", "attached"), GREEN
    ),
    **dict.fromkeys(
        (
            "allocating", "lost", "maintenance", "pending", "rebooting", "stopped", "unknown",
            "waiting", "detaching", "detached",
        ),
        YELLOW,
    ),
    **dict.fromkeys(("blocked", "down", "error", "failed", "terminated"), RED),
}  # fmt: skip
STATUS_COLUMNS = {"Status", "Workload", "Agent", "State"}


def table(
    rows: Sequence[Sequence[str]], right: set[int] | None = None, *, colour: bool = False
) -> str:
    """Return columns two spaces apart, without trailing blanks; in ``colour`` for a terminal."""
    if not rows:
        return ""
    right = right or set()
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(len(rows[0]))]
    statuses = {i for i, name in enumerate(rows[0]) if colour and name in STATUS_COLUMNS}
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        for i in statuses if number else ():
            cells[i] = (
                STATUS_COLOURS.get(row[i], "") + cells[i] + PLAIN * (row[i] in STATUS_COLOURS)
            )
        line = "  ".join(cells).rstrip()
        lines.append(BOLD + line + PLAIN if colour and not number else line)
    return "\n".join(lines) + "\n"


def moment(seconds: float) -> str:
    """Return a time as Juju prints it: ``21 Nov 2026 10:00:00Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%d %b %Y %H:%M:%SZ")


def iso(seconds: float) -> str:
    """Return a time in RFC 3339."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def go_time(seconds: float, *, utc: bool = False) -> str:
    """Return a time as Go's ``time.Time`` prints itself, to the second."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return (when if utc else when.astimezone()).strftime("%Y-%m-%d %H:%M:%S %z %Z")


def plain_time(seconds: float, *, utc: bool = False) -> str:
    """Return a time for tables of operations; nothing for 0."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return (when if utc else when.astimezone()).strftime("%Y-%m-%dT%H:%M:%S") if seconds else ""


def clock(seconds: float, *, utc: bool = False) -> str:
    """Return a time of day."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return (
        when.strftime("%H:%M:%SZ")
        if utc
        else when.astimezone().strftime("%H:%M:%S%z")[:-2] + ":00"
    )


def ago(when: float, now: float) -> str:
    """Return how long ago something was, as Juju says it; a date after a day."""
    seconds = int(now - when)
    if seconds >= 24 * 3600:
        return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%d")
    for length, unit in ((3600, "hour"), (60, "minute")):
        if seconds >= length:
            return f"{seconds // length} {unit}{'s' * (seconds // length != 1)} ago"
    return f"{seconds} seconds ago" if seconds >= 2 else "just now"


def mebibytes(count: int) -> str:
    """Return a size as humanize.IBytes does: one decimal below ten."""
    size, unit = float(count), "MiB"
    for larger in ("GiB", "TiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    size = int(size * 10 + 0.5) / 10
    return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"
