"""Snapshots of the data, and the way back from one.

A snapshot is asked of the running engine through its API: copying the files of a live database
gives a broken copy. The archive holds one file, `snapshot.db`, as etcd's own tools make it.
A restore writes a new directory beside the old one and swaps them, so that nothing is lost if it
fails half-way.
"""

import hashlib
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from etcd_charm.cluster.errors import NeedsOperator
from etcd_charm.workload import host
from etcd_charm.workload.engine import SnapshotFile, Wanted
from etcd_charm.workload.paths import LOGIN_USER, USER, Paths

DATABASE = "snapshot.db"
RESTORE_TIMEOUT_S = 1800.0
"""Writing a database of the largest quota anew on a slow disk."""


def write_for_login_user(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file that only the login user (or root, where there is none) can read.

    It is private before it has content, and appears under its name only when whole.
    """
    owner = LOGIN_USER if host.user_exists(LOGIN_USER) else "root"
    if not path.parent.is_dir():
        host.ensure_directory(path.parent, mode=0o700, user=owner, group=owner)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".archive-") as directory:
        temporary = Path(directory) / path.name
        write(temporary)
        temporary.chmod(0o600)
        host.change_owner(temporary, owner, owner)
        temporary.replace(path)


def pack_snapshot(save: Callable[[Callable[[bytes], object]], int], target: Path) -> SnapshotFile:
    """Stream a snapshot into an archive named by the time; return the archive's checksum."""
    stamp = time.strftime("%Y-%m-%d-%H.%M.%S", time.gmtime())
    path = target / f"etcd-snapshot-{stamp}.tar.gz"

    def write(temporary: Path) -> None:
        database = temporary.with_name(DATABASE)
        with database.open("wb") as stream:
            database.chmod(0o600)
            save(stream.write)
        with tarfile.open(temporary, "w:gz", compresslevel=1) as archive:
            archive.add(database, arcname=DATABASE)

    write_for_login_user(path, write)
    return SnapshotFile(path, _hash_file(path), path.stat().st_size)


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def unpack_database(source: Path, directory: Path) -> Path:
    """Return the database of a snapshot: the file itself, or the one that an archive holds.

    Raises:
        NeedsOperator: if an archive does not hold exactly one database.
    """
    if not tarfile.is_tarfile(source):
        return source
    target = directory / DATABASE
    with tarfile.open(source) as archive:
        files = [member for member in archive if member.isfile()]
        databases = [m for m in files if Path(m.name).name.endswith(("snapshot.db", ".db"))]
        chosen = databases or files
        if len(chosen) != 1:
            names = ", ".join(member.name for member in chosen[:5]) or "nothing"
            raise NeedsOperator(f"the snapshot must hold one database and holds {names}")
        stream = archive.extractfile(chosen[0])
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


def restore_into(paths: Paths, database: Path, wanted: Wanted, target: Path) -> None:
    """Make a new data directory of one member from a database.

    The cluster token is a new one: members of the former cluster must never mix in.

    Raises:
        NeedsOperator: with the tool's last line.
    """
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    try:
        host.run_program(
            [
                str(paths.engine / "bin/raftkvctl"),
                "snapshot",
                "restore",
                str(database),
                "--name",
                wanted.member_name,
                "--data-dir",
                str(target),
                "--initial-cluster",
                f"{wanted.member_name}={wanted.peer_url}",
                "--initial-advertise-peer-urls",
                wanted.peer_url,
                "--initial-cluster-token",
                f"{wanted.token}-{stamp}",
            ],
            timeout_s=RESTORE_TIMEOUT_S,
        )
    except host.ProgramFailed as error:
        raise NeedsOperator(f"the snapshot cannot be restored: {error}") from error
    target.chmod(0o700)
    host.change_owner(target, USER, USER)
