"""A proxy of version 2 beside the programs that use it: `raftkvd --proxy on` under systemd.

It is started from the cluster string that the relation gives, as etcd's own proxy was.
"""

import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

SERVICE = "etcd-proxy"
FOLLOWER = "etcd-follower"
URL = "http://127.0.0.1:2379"


def run(home: Path, bundle: Path, cluster: str, charm: Path) -> None:
    """Run the proxy for this cluster, and the program that follows a key through it."""
    packages = home / "packages"
    if not packages.is_dir():
        unpack(bundle, packages)
    files = home / "proxy"
    flags = [
        "--proxy", "on",
        "--data-dir", str(home / "proxy-data"),
        "--listen-client-urls", URL,
        "--initial-cluster", cluster,
        "--peer-cert-file", str(files / "tls.crt"),
        "--peer-key-file", str(files / "tls.key"),
        "--peer-trusted-ca-file", str(files / "ca.crt"),
    ]  # fmt: skip
    environment = f"Environment=PYTHONPATH={packages}\n"
    program = f"{sys.executable} -m raftkv {' '.join(flags)}"
    follower = f"{sys.executable} {charm}/src/follow.py {URL} {home}/rendered.conf"
    for name, text in (
        (SERVICE, f"[Service]\n{environment}ExecStart={program}\nRestart=always\nRestartSec=1\n"),
        (FOLLOWER, f"[Service]\nExecStart={follower}\nRestart=always\nRestartSec=1\n"),
    ):
        unit = Path(f"/etc/systemd/system/{name}.service")
        if unit.is_file() and unit.read_text() == text:
            continue
        unit.write_text(text)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        subprocess.run(["systemctl", "restart", name], check=True)


def stop() -> None:
    """Stop both; the relation is gone, or not complete yet."""
    for name in (SERVICE, FOLLOWER):
        unit = Path(f"/etc/systemd/system/{name}.service")
        if unit.is_file():
            subprocess.run(["systemctl", "stop", name], check=False)
            unit.unlink()


def unpack(bundle: Path, target: Path) -> None:
    """Unpack the wheels that fit this interpreter."""
    minor = f"cp3{sys.version_info[1]}"
    target.mkdir(parents=True)
    with tarfile.open(bundle) as archive:
        for member in archive:
            name = Path(member.name).name
            fits = name.endswith("-none-any.whl") or (
                platform.machine() in name and (f"-{minor}-" in name or "-abi3-" in name)
            )
            stream = archive.extractfile(member) if member.isfile() and fits else None
            if stream is not None:
                with zipfile.ZipFile(stream) as wheel:
                    wheel.extractall(target)
