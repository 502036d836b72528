"""A support bundle: what somebody who helps wants to see, and no secret.

Nothing below the directories of keys is read. The engine's configuration names files, never their
content; the log of the engine holds no values.
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from etcd_charm.workload import host
from etcd_charm.workload.paths import Paths

LOG_LINES = 5000
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "systemctl-status.txt": ("systemctl", "status", "--no-pager", "--full", "{service}"),
    "journal.txt": ("journalctl", "--no-pager", "-n", str(LOG_LINES), "-u", "{service}"),
    "disks.txt": ("df", "-h"),
    "mounts.txt": ("findmnt", "--df"),
    "addresses.txt": ("ip", "-brief", "address"),
    "listeners.txt": ("ss", "-ltn"),
    "memory.txt": ("free", "-m"),
    "kernel.txt": ("dmesg", "--level", "err,warn"),
}


def pack_bundle(target: Path, paths: Paths, service: str, texts: Mapping[str, str]) -> None:
    """Write the archive: the given texts, the configuration, and what the commands print."""
    files = dict(texts)
    for name, command in COMMANDS.items():
        files[name] = _run([word.format(service=service) for word in command])
    for path in (paths.config, paths.find_unit_file(service)):
        if path.is_file():
            files[path.name] = path.read_text()
    with tarfile.open(target, "w:gz") as archive:
        for name, text in sorted(files.items()):
            data = text.encode()
            info = tarfile.TarInfo(f"etcd-debug/{name}")
            info.size, info.mode = len(data), 0o600
            archive.addfile(info, io.BytesIO(data))


def _run(command: list[str]) -> str:
    try:
        return host.run_program(command, timeout_s=20.0)
    except host.ProgramFailed as error:
        return f"{error}\n"
