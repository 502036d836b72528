"""Bases of machines: this host's own system, or a cached debootstrap tree."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

from localjuju.errors import Refused

SUITES = {
    "debian@12": "bookworm", "debian@13": "trixie",
    "ubuntu@22.04": "jammy", "ubuntu@24.04": "noble", "ubuntu@26.04": "resolute",
}  # fmt: skip
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,sudo,ca-certificates,iproute2,curl"


def find_base(data: Path, name: str) -> Path:
    """Return the directory that serves as lower layer."""
    if name in {"", "host"}:
        return Path("/")
    suite = SUITES.get(name)
    if suite is None:
        raise Refused(f"no base {name}: know host, {', '.join(SUITES)}")
    tree = data / "bases" / name.replace("@", "-")
    if not (tree / "usr/bin/python3").exists():
        _make(tree, suite, name)
    return tree


def _make(tree: Path, suite: str, name: str) -> None:
    if shutil.which("debootstrap") is None:
        raise Refused(f"base {name} needs debootstrap: apt install debootstrap")
    beside = tree.with_name(tree.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={PACKAGES}",
        suite,
        str(beside),
    ]  # no mirror: debootstrap knows each distribution's own
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(beside, ignore_errors=True)
        raise Refused(f"debootstrap of {name} failed: {done.stdout[-300:]}{done.stderr[-300:]}")
    beside.replace(tree)


def host_base() -> dict[str, str]:
    """Return name and channel of this host's system as a base."""
    try:
        text = Path("/etc/os-release").read_text()
    except OSError:
        return {"name": "linux", "channel": platform.release()}
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return {"name": fields.get("ID", "linux"), "channel": fields.get("VERSION_ID", "unknown")}
