"""Disks that are full or slow, on purpose.

Full: a file takes what is left of a file system that belongs to one storage instance (loop image,
tmpfs). Slow: the control group of the machine may start only so many writes and reads a second on
the disks behind its storage, or behind its root if it has none (version 1: ``blkio.throttle``, version 2: ``io.max``).
"""

import os
from contextlib import suppress
from pathlib import Path

from localjuju.errors import JujuError
from localjuju.machines import cgroups

FILLER = ".localjuju-fills-this-disk"
BLOCK_DEVICES = Path("/sys/dev/block")
PIECE_BYTES = 1 << 20
LIMITS = {"io.max", "blkio.throttle.read_iops_device", "blkio.throttle.write_iops_device"}


def fill(place: Path) -> None:
    """Leave no byte free on the file system of a directory."""
    handle = os.open(place / FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = PIECE_BYTES
        while size:
            try:
                while os.write(handle, bytes(size)):
                    os.fsync(handle)
            except OSError:
                size //= 16
    finally:
        os.close(handle)


def empty(place: Path) -> None:
    """Give the room back."""
    (place / FILLER).unlink(missing_ok=True)


def throttle(tag: str, machine: str, places: list[Path], operations: int) -> None:
    """Let a machine start only so many operations a second on the disks of some directories."""
    devices = sorted({device for place in places if (device := _device(place))})
    if not devices:
        raise JujuError("no disk lies behind this machine's files")
    groups = 0
    for hierarchy in cgroups.hierarchies():
        box = hierarchy / f"ljj{tag}" / machine / "box"
        for device in devices:
            groups += _throttle(box, device, operations)
    if not groups:
        raise JujuError("the kernel has no control groups for disks here (blkio or io)")


def lift(tag: str, machine: str) -> None:
    """Take every limit away: processes that wait for a slow disk cannot be killed."""
    for hierarchy in cgroups.hierarchies():
        for folder, _, files in os.walk(hierarchy / f"ljj{tag}" / machine / "box"):
            for name in LIMITS & set(files):
                file = Path(folder) / name
                for line in file.read_text().splitlines():
                    unlimited = "riops=max wiops=max" if name == "io.max" else "0"
                    with suppress(OSError):
                        file.write_text(f"{line.split()[0]} {unlimited}")


def _throttle(box: Path, device: str, operations: int) -> int:
    if (box / "io.max").exists():
        (box / "io.max").write_text(f"{device} riops={operations} wiops={operations}")
        return 1
    changed = 0
    for folder, _, files in os.walk(box):  # version 1 does not hand limits down
        for kind in ("read", "write"):
            name = f"blkio.throttle.{kind}_iops_device"
            if name in files:
                (Path(folder) / name).write_text(f"{device} {operations}")
                changed += 1
    return changed


def _device(place: Path) -> str:
    """Return the numbers of the whole disk below a directory, or nothing for memory."""
    number = place.stat().st_dev
    entry = BLOCK_DEVICES / f"{os.major(number)}:{os.minor(number)}"
    if not entry.exists():
        return ""
    if (entry / "partition").exists():
        entry = entry.resolve().parent
    return (entry / "dev").read_text().strip()
