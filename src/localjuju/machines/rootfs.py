"""The file system of a machine: overlays of a base's system directories, plain ones elsewhere.

With the host as base a machine sees the host's packages (``/usr``, ``/etc``, the package
databases) and nothing else of it: no homes, no ``/opt``, no state of the host's services. An
overlay of ``/var`` as a whole is impossible when the state directory lies under ``/var`` (the
kernel refuses overlapping layers), so only the package databases below it are overlaid.
"""

import os
import shutil
from pathlib import Path

from localjuju.errors import Refused

OVERLAID = ("usr", "etc", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
OVERLAID_STATE = (
    "var/lib/dpkg", "var/lib/apt", "var/lib/ucf", "var/lib/pam", "var/lib/python",
    "var/lib/xml-core", "var/lib/sgml-base", "var/lib/ca-certificates-java",
    "var/lib/systemd/deb-systemd-helper-enabled", "var/cache/debconf",
)  # fmt: skip
PLAIN = (
    "proc", "sys", "dev", "run", "root", "home", "srv", "mnt", "media", "opt", "boot",
    "var/lib/juju", "var/log/journal", "var/log/juju", "var/log/apt", "var/cache/apt/archives/partial",
    "var/spool", "var/backups", "var/mail", "var/lib/misc", "var/lib/private", "var/local",
)  # fmt: skip
STICKY = ("tmp", "var/tmp")

MASKED = (
    "systemd-timesyncd.service", "systemd-resolved.service", "systemd-networkd.service",
    "systemd-networkd.socket", "systemd-networkd-wait-online.service", "console-getty.service",
    "getty.target", "systemd-journald-audit.socket", "systemd-random-seed.service",
    "systemd-rfkill.socket", "ldconfig.service", "systemd-update-utmp.service",
)  # fmt: skip


def layout(base: Path, machine: Path) -> list[tuple[Path, Path, Path, Path]]:
    """Make the plain directories; return lower, upper, work and target of each overlay."""
    root = machine / "root"
    overlays = []
    for name in PLAIN + STICKY:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in STICKY:
        (root / name).chmod(0o1777)
    (root / "root").chmod(0o700)
    for name in OVERLAID + OVERLAID_STATE:
        lower = base / name
        target = root / name
        if lower.is_symlink():
            if not target.is_symlink():
                target.symlink_to(lower.readlink())
        elif lower.is_dir():
            if machine.resolve().is_relative_to(lower.resolve()):
                raise Refused(f"the state directory may not lie below {lower}")
            upper, work = machine / "upper" / name, machine / "work" / name
            for folder in (target, upper, work):
                folder.mkdir(parents=True, exist_ok=True)
            shutil.copystat(lower, upper)
            overlays.append((lower, upper, work, target))
    _state_skeleton(base, root)
    return overlays


def _state_skeleton(base: Path, root: Path) -> None:
    """Recreate the directories of ``/var/lib`` and ``/var/log`` empty, with owner and mode."""
    for parent in ("var/lib", "var/log", "var/cache", "var/spool"):
        for entry in sorted((base / parent).iterdir()) if (base / parent).is_dir() else []:
            target = root / parent / entry.name
            if entry.is_symlink() or not entry.is_dir() or target.exists():
                continue
            if "juju" in entry.name:
                continue
            target.mkdir()
            state = entry.stat()
            target.chmod(state.st_mode & 0o7777)
            os.chown(target, state.st_uid, state.st_gid)
    for name, place in (("run", "/run"), ("lock", "/run/lock")):
        link = root / "var" / name
        if not link.is_symlink():
            link.symlink_to(place)


def neutralise(root: Path, *, hostname: str, machine_id: str, apt_proxy: str) -> None:
    """Turn a copy of some system's ``/etc`` into that of a plain new machine.

    ``root`` is the machine's root as seen through ``/proc/<pid>/root`` of its supervisor.
    """
    etc = root / "etc"
    system = etc / "systemd" / "system"
    shutil.rmtree(system, ignore_errors=True)
    (system / "multi-user.target.wants").mkdir(parents=True)
    (system / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    for unit in MASKED:
        (system / unit).symlink_to("/dev/null")
    for level in etc.glob("rc?.d"):
        shutil.rmtree(level)
        level.mkdir()
    for name, text in {
        "machine-id": machine_id + "\n",
        "hostname": hostname + "\n",
        "fstab": "",
        "environment": "",
        "resolv.conf": "",
        "apt/apt.conf.d/95-juju-proxy-settings": (
            f'Acquire::http::Proxy "{apt_proxy}";\nAcquire::https::Proxy "{apt_proxy}";\n'
        ),
    }.items():
        _write(etc / name, text)
    _add_ubuntu_user(root)


def _write(file: Path, text: str) -> None:
    if file.is_symlink():
        file.unlink()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def write_hosts(root: Path, hostname: str, known: dict[str, str]) -> None:
    """Write ``/etc/hosts``: loopback, the machine itself and the others by name."""
    own = known.get(hostname, "127.0.1.1")
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines.append(f"{own} {hostname}")
    lines += [f"{address} {name}" for name, address in known.items() if name != hostname]
    _write(root / "etc/hosts", "\n".join(lines) + "\n")


def _add_ubuntu_user(root: Path) -> None:
    """Add the user that ``juju ssh`` and ``juju scp`` log in as."""
    etc = root / "etc"
    home = root / "home/ubuntu"
    accounts = [line.split(":") for line in (etc / "passwd").read_text().splitlines() if line]
    own = next((fields for fields in accounts if fields[0] == "ubuntu"), None)
    if own is None:
        used = {int(fields[2]) for fields in accounts}
        groups = [line.split(":") for line in (etc / "group").read_text().splitlines() if line]
        used |= {int(fields[2]) for fields in groups}
        number = next(n for n in range(1000, 60000) if n not in used)
        _append(etc / "passwd", f"ubuntu:x:{number}:{number}:Ubuntu:/home/ubuntu:/bin/bash")
        _append(etc / "group", f"ubuntu:x:{number}:")
        _append(etc / "shadow", "ubuntu:*:19000:0:99999:7:::")
    else:
        number = int(own[2])
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, number, number)
    home.chmod(0o755)
    sudoers = etc / "sudoers.d"
    sudoers.mkdir(exist_ok=True)
    _write(sudoers / "90-juju-ubuntu", "ubuntu ALL=(ALL) NOPASSWD:ALL\n")
    (sudoers / "90-juju-ubuntu").chmod(0o440)


def _append(file: Path, line: str) -> None:
    text = file.read_text() if file.exists() else ""
    mode = file.stat().st_mode & 0o7777 if file.exists() else 0o640
    if text and not text.endswith("\n"):
        text += "\n"
    file.write_text(text + line + "\n")
    file.chmod(mode)
