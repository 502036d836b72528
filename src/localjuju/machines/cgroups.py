"""A control group for each machine in every mounted hierarchy, version 1 or 2.

Without a group of its own in each of them, nspawn makes ``payload`` and ``supervisor`` in the
root group and the machines share them. Below ``ljj<tag>/<machine>`` lie two leaves: ``launcher``
for the supervising shell and ``box`` for nspawn (version 2 allows processes in leaves only).
"""

import os
import signal
import time
from pathlib import Path

from localjuju.errors import JujuError

ROOT = Path("/sys/fs/cgroup")
LEAVES = ("launcher", "box")


def hierarchies() -> list[Path]:
    """Return the mount point of each control group hierarchy."""
    found = []
    with open("/proc/self/mounts", encoding="utf-8") as mounts:  # noqa: PTH123
        for line in mounts:
            _, point, kind, options, *_ = line.split()
            writable = "ro" not in options.split(",")
            if kind in {"cgroup", "cgroup2"} and writable and point.startswith(str(ROOT)):
                found.append(Path(point))
    return sorted(set(found))


def create(tag: str, machine: str) -> list[Path]:
    """Make the machine's groups and return its ``box`` in each hierarchy."""
    boxes = []
    for hierarchy in hierarchies():
        _delegate(hierarchy)
        group = hierarchy
        for part in (f"ljj{tag}", machine):
            group /= part
            group.mkdir(exist_ok=True)
            _prepare(group)
            _delegate(group)
        for leaf in LEAVES:
            (group / leaf).mkdir(exist_ok=True)
            _prepare(group / leaf)
        boxes.append(group / "box")
    return boxes


def _prepare(group: Path) -> None:
    """Give a version 1 cpuset what it needs before a process may enter."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if (
            file.exists()
            and not (group / "cgroup.controllers").exists()
            and not file.read_text().strip()
        ):
            file.write_text((group.parent / name).read_text())


def _delegate(group: Path) -> None:
    """Let the children of a version 2 group have its controllers, as far as that is allowed."""
    available = group / "cgroup.controllers"
    if not available.exists():
        return
    for controller in available.read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError:
            continue


def set_frozen(tag: str, machine: str, *, frozen: bool) -> None:
    """Freeze or thaw all processes of a machine; raises JujuError where nothing can freeze them."""
    for hierarchy in hierarchies():
        group = hierarchy / f"ljj{tag}" / machine / "box"
        if (group / "freezer.state").exists():
            (group / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
            return
    for hierarchy in hierarchies():
        group = hierarchy / f"ljj{tag}" / machine / "box"
        if (group / "cgroup.freeze").exists():
            (group / "cgroup.freeze").write_text("1" if frozen else "0")
            return
    if frozen:
        raise JujuError(
            "no control group here can be frozen: there is neither freezer nor version 2"
        )


def remove(tag: str, machine: str = "") -> None:
    """Kill what is left in the groups of a machine (or of all) and remove them."""
    for hierarchy in hierarchies():
        group = hierarchy / f"ljj{tag}" / machine if machine else hierarchy / f"ljj{tag}"
        if group.exists():
            _remove_tree(group)


def _remove_tree(group: Path) -> None:
    deadline = time.monotonic() + 3
    folders = sorted((Path(folder) for folder, _, _ in os.walk(group)), reverse=True)
    for folder in folders:
        while True:
            try:
                folder.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                _kill(folder)
                time.sleep(0.02)
                continue
            break


def _kill(group: Path) -> None:
    for line in (group / "cgroup.procs").read_text().split():
        try:
            os.kill(int(line), signal.SIGKILL)
        except ProcessLookupError:
            continue
