"""Snapshots of the data, and the way back from one.

A snapshot is asked of the running engine through its API: copying the files of a live database
gives a broken copy. The archive holds one file, `snapshot.db`, as etcd's own tools make it.
A restore writes a new directory beside the old one and swaps them, so that nothing is lost if it
fails half-way.
"""

import hashlib
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.workload import host
from etcd_charm.workload.engine import SnapshotEntry, SnapshotFile
from etcd_charm.workload.paths import LOGIN_USER

DATABASE = "snapshot.db"
V2_KEYS = "v2-keys.json"


def write_for_login_user(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that only the login user (or root, where there is none) can read.

    It is private before it has content, and appears under its name only when whole. One that was
    there before is renamed by its time.
    """
    owner = LOGIN_USER if host.user_exists(LOGIN_USER) else "root"
    if not path.parent.is_dir():
        host.ensure_directory(path.parent, mode=0o700, user=owner, group=owner)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".archive-") as directory:
        temporary = Path(directory) / path.name
        write(temporary)
        temporary.chmod(0o600)
        host.change_owner(temporary, owner, owner)
        if path.exists():
            made = time.strftime("%Y-%m-%d-%H.%M.%S", time.gmtime(path.stat().st_mtime))
            path.rename(path.with_name(f"{made}-{path.name}"))
        temporary.replace(path)


def pack_snapshot(
    save: Callable[[Callable[[bytes], object]], int],
    target: Path,
    v2_tree: Mapping[str, Any] | None,
) -> SnapshotFile:
    """Stream a snapshot into an archive named by the time; return the archive's checksum.

    A tree of v2 keys, which the engine's own snapshot does not hold, is put beside it.
    """
    stamp = time.strftime("%Y-%m-%d-%H.%M.%S", time.gmtime())
    path = target / f"etcd-snapshot-{stamp}.tar.gz"

    def write(temporary: Path) -> None:
        database = temporary.with_name(DATABASE)
        with database.open("wb") as stream:
            database.chmod(0o600)
            save(stream.write)
        with tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
            archive.add(database, arcname=DATABASE)
            if v2_tree is not None:
                keys = temporary.with_name(V2_KEYS)
                keys.write_text(json.dumps(v2_tree))
                archive.add(keys, arcname=V2_KEYS)

    write_for_login_user(path, write)
    return SnapshotFile(path, _hash_file(path), path.stat().st_size)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class SnapshotContent:
    """What an archive holds: the database, and beside it the v2 keys where it has them not."""

    database: Path
    v2_keys: Path | None = None


def unpack_content(source: Path, directory: Path) -> SnapshotContent:
    """Return the content of a snapshot: the file itself, or what an archive holds.

    Raises:
        NeedsOperator: if an archive does not hold exactly one database.
    """
    if not source.is_file():
        raise NeedsOperator(f"there is no file {source}")
    if not tarfile.is_tarfile(source):
        return SnapshotContent(source)
    with tarfile.open(source) as archive:
        files = [member for member in archive if member.isfile()]
        v2 = next((m for m in files if Path(m.name).name == V2_KEYS), None)
        files = [member for member in files if member is not v2]
        databases = [m for m in files if Path(m.name).name.endswith(("snapshot.db", ".db"))]
        chosen = databases or files
        if len(chosen) != 1:
            names = ", ".join(member.name for member in chosen[:5]) or "nothing"
            raise NeedsOperator(f"the snapshot must hold one database and holds {names}")
        database = _extract(archive, chosen[0], directory / DATABASE)
        keys = _extract(archive, v2, directory / V2_KEYS) if v2 is not None else None
    return SnapshotContent(database, keys)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> Path:
    stream = archive.extractfile(member)
    assert stream is not None, "a plain file has content"
    with target.open("wb") as output:
        target.chmod(0o600)
        shutil.copyfileobj(stream, output)
    return target


def keep_backup(data: Path, target: Path) -> Path:
    """Archive a stopped engine's data directory and return the archive."""
    stamp = time.strftime("%Y-%m-%d-%H.%M.%S", time.gmtime())
    path = target / f"etcd-data-before-restore-{stamp}.tar.gz"

    def write(temporary: Path) -> None:
        with tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
            archive.add(data.resolve(), arcname="data")

    write_for_login_user(path, write)
    return path


def list_snapshots(target: Path) -> tuple[SnapshotEntry, ...]:
    """Return the snapshots in a folder, the newest first."""
    found = sorted(target.glob("etcd-snapshot-*.tar.gz"), key=lambda path: path.name, reverse=True)
    return tuple(
        SnapshotEntry(
            path,
            path.stat().st_size,
            time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(path.stat().st_mtime)),
        )
        for path in found
    )
