"""Tables and times as Juju writes them."""

from collections.abc import Sequence
from datetime import datetime, timezone


def table(rows: Sequence[Sequence[str]], right: set[int] | None = None) -> str:
    """Return columns two spaces apart, without trailing blanks."""
    if not rows:
        return ""
    right = right or set()
    widths = [max(len(row[i]) if i < len(row) else 0 for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def moment(seconds: float) -> str:
    """Return a time as Juju prints it: ``21 Nov 2026 10:00:00Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%d %b %Y %H:%M:%SZ")


def iso(seconds: float) -> str:
    """Return a time in RFC 3339."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(seconds: float, *, utc: bool = False) -> str:
    """Return a time of day."""
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return (
        when.strftime("%H:%M:%SZ")
        if utc
        else when.astimezone().strftime("%H:%M:%S%z")[:-2] + ":00"
    )
