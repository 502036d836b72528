"""A machine whose clock is wrong, by libfaketime: what starts in it from now on sees another time.

The kernel has one wall clock for all machines. Services that the machine's systemd starts, hooks
and actions get libfaketime loaded into them; a file, read again every second, says how wrong the
clock is. What runs already, statically linked programs and logins see the true time. A reboot
mends it, as it mends a clock that is set by the network.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from localjuju.errors import JujuError

OFFSET = "run/localjuju-clock"
OFFSETS = re.compile(r"[+-][0-9]+(\.[0-9]+)?[smhdy]?( x[0-9]+(\.[0-9]+)?)?")
LIBRARIES = ("usr/lib/*/faketime/libfaketimeMT.so.1", "usr/lib*/faketime/libfaketimeMT.so.1")

Call = Callable[[Sequence[str]], object]
"""Runs a command in the machine."""


def shift(root: Path, call: Call, offset: str) -> None:
    """Set the clock of a running machine forward or back: ``+5m``, ``-1h``, ``+0 x1.5``."""
    if not OFFSETS.fullmatch(offset):
        raise JujuError(f"cannot shift a clock by {offset!r}: say +5m, -90s, or +0 x1.5 to drift")
    if not _library(root):
        raise JujuError("no libfaketime in the machine: apt install libfaketime there, or here")
    (root / OFFSET).write_text(offset + "\n")
    settings = [f"{name}={value}" for name, value in environment(root).items()]
    call(["systemctl", "set-environment", *settings])


def right(root: Path, call: Call) -> None:
    """Let the machine see the true time again."""
    if (root / OFFSET).exists():
        call(["systemctl", "unset-environment", *environment(root)])
        (root / OFFSET).write_text("+0\n")


def environment(root: Path) -> dict[str, str]:
    """Return what a program of the machine needs in order to see the machine's time."""
    library = _library(root) if (root / OFFSET).exists() else ""
    if not library or (root / OFFSET).read_text() == "+0\n":
        return {}
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": f"/{OFFSET}",
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }


def _library(root: Path) -> str:
    found = [file for pattern in LIBRARIES for file in root.glob(pattern)]
    return f"/{found[0].relative_to(root)}" if found else ""
