"""The data directory: where it is, whose data it holds, and how it is moved aside.

A file beside the data names the cluster that it belongs to, because an engine's own files cannot
be read by everybody, and storage may come from another application.
"""

import hashlib
import os
import shutil
import time
import uuid
from pathlib import Path

from etcd_charm.cluster.errors import NeedsOperator, Retry
from etcd_charm.cluster.facts import DataState, Disk
from etcd_charm.workload import host
from etcd_charm.workload.memory import MemoryFile
from etcd_charm.workload.paths import USER, Paths

DATA = "data"
MARK_FILE = "cluster-token"
OWNER_FILE = "member-owner"
"""Names the machine whose member the data is: storage may come back to it under another name."""
DIVERGED_FILE = Path("member") / "diverged"
"""Left by raftkvd where a majority had another state."""
MOVE_TIMEOUT_S = 3600.0
SPACE_PERCENT = 120
"""Room on new storage, in percent of the data."""


class DataDirectory:
    """The data of this unit's member."""

    def __init__(self, paths: Paths, memory: MemoryFile) -> None:
        self._paths = paths
        self._memory = memory

    def choose_home(self, storage: Path | None) -> Path:
        """Return the directory that holds the data: decided once, when there is none yet.

        Storage that is attached later does not take its place: an empty directory would hide a
        member's data. The data is moved there in this unit's turn to restart; see `move`. Storage
        of this very member that comes back under another name is taken at once.
        """
        home = self._memory.load().home
        if home and storage is not None and Path(home) != storage and self._is_same(storage):
            self._memory.change(home=str(storage), home_was_mount=storage.is_mount())
            self._link(storage / DATA)
            return storage
        if home:
            return Path(home)
        return storage or self._paths.var / "local"

    def _is_same(self, storage: Path) -> bool:
        """Whether storage holds this machine's member, and its home of before does not."""
        home = Path(self._memory.load().home)
        mark = storage / OWNER_FILE
        is_ours = mark.is_file() and mark.read_text().strip() == self._read_owner()
        return is_ours and self._has_data(storage) and not self._has_data(home)

    def _read_owner(self) -> str:
        """Return what tells this machine from all others, drawn once."""
        file = self._paths.var / OWNER_FILE
        if not file.is_file():
            host.write_file(file, f"{uuid.uuid4()}\n", mode=0o600)
        return file.read_text().strip()

    def find_target(self, storage: Path | None) -> Path | None:
        """Return storage to which the data is still to be moved."""
        home = self._memory.load().home
        if not home or storage is None or Path(home) == storage or not storage.is_dir():
            return None
        return storage if self._has_data(Path(home)) else None

    def check_target(self, target: Path) -> None:
        """Refuse storage that cannot take the data, before anything stops.

        Raises:
            NeedsOperator: it is too small, or holds data already.
        """
        if self._has_data(target):
            raise NeedsOperator(
                "the attached storage holds data already, and this unit has its own: detach it, "
                "or empty its folder `data`"
            )
        source = Path(self._memory.load().home) / DATA
        needed = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
        free = shutil.disk_usage(target).free
        if free < needed * SPACE_PERCENT // 100:
            raise NeedsOperator(
                f"the attached storage has {free >> 20} MiB free and the data needs "
                f"{needed >> 20} MiB: attach larger storage"
            )

    def move(self, target: Path) -> None:
        """Copy a stopped engine's data to storage, compare, and live there from now on.

        The copy from before stays until the member is healthy on the new storage.

        Raises:
            Retry: the copy is not equal; the data stays where it is.
        """
        home = Path(self._memory.load().home)
        fresh = target / ".data"
        shutil.rmtree(fresh, ignore_errors=True)
        host.run_program(
            ["cp", "-a", "--sparse=always", str(home / DATA), str(fresh)], timeout_s=MOVE_TIMEOUT_S
        )
        host.run_program(["sync", "-f", str(fresh)])
        if _hash_tree(home / DATA) != _hash_tree(fresh):
            shutil.rmtree(fresh)
            raise Retry("the copy on the new storage is not equal: the data stays where it is")
        if (target / DATA).is_dir():
            (target / DATA).rmdir()  # empty: `check_target` saw to that
        fresh.replace(target / DATA)
        self.mark(target, (home / MARK_FILE).read_text().strip())
        self._link(target / DATA)
        self._memory.change(
            home=str(target), former_home=str(home), home_was_mount=target.is_mount()
        )

    def drop_former(self) -> None:
        """Delete the copy that a move left behind."""
        former = self._memory.load().former_home
        if former:
            shutil.rmtree(Path(former) / DATA, ignore_errors=True)
            (Path(former) / MARK_FILE).unlink(missing_ok=True)
        self._memory.change(former_home="")

    def read_disk(self, storage: Path | None) -> Disk:
        """Return how full the file system under the data is."""
        home = self.choose_home(storage)
        if not home.is_dir():
            return Disk()
        usage, flags = shutil.disk_usage(home), os.statvfs(home).f_flag
        return Disk(usage.total, usage.free, bool(flags & os.ST_RDONLY))

    def mark(self, home: Path, token: str) -> None:
        """Say whose data this is."""
        host.write_file(home / MARK_FILE, f"{token}\n", mode=0o644)
        host.write_file(home / OWNER_FILE, f"{self._read_owner()}\n", mode=0o644)

    def read_state(self, token: str, storage: Path | None) -> DataState:
        """Return what the directory holds, by the token of this application's cluster.

        Between a restore and the leader's record of it, the data has the token of the restore. It
        counts only as long as the cluster that it replaces is the application's: after another
        unit's later restore it is another cluster's data (the simulation found two clusters here).
        """
        home = self.choose_home(storage)
        is_attached = home.parent == self._paths.var or (storage is not None and home == storage)
        if not is_attached and self.find_target(storage) is None:
            return DataState.DETACHED
        if self._memory.load().home_was_mount and not home.is_mount():
            return DataState.UNMOUNTED
        if not self._has_data(home):
            return DataState.NEW
        mark = home / MARK_FILE
        restore = self._memory.load().restore
        ours = {token} if token else set()
        if restore is not None and restore.former_token == token:
            ours.add(restore.token)
        if token and mark.is_file() and mark.read_text().strip() in ours:
            is_diverged = (home / DATA / DIVERGED_FILE).exists()
            return DataState.DIVERGED if is_diverged else DataState.OURS
        return DataState.FOREIGN

    def _has_data(self, home: Path) -> bool:
        data = home / DATA
        return data.is_dir() and any(data.iterdir())

    def create(self, token: str, storage: Path | None) -> Path:
        """Make an empty data directory that belongs to this cluster; return it."""
        home = self.choose_home(storage)
        if home.parent == self._paths.var:
            host.ensure_directory(home, mode=0o755)
        data = home / DATA
        host.ensure_directory(data, mode=0o700, user=USER, group=USER)
        self._memory.change(home=str(home), home_was_mount=home.is_mount())
        self.mark(home, token)
        self._link(data)
        return data

    def link(self, home: Path) -> None:
        """Point the data directory of the engine at a home."""
        host.change_owner(home / DATA, USER, USER)
        self._link(home / DATA)

    def _link(self, data: Path) -> None:
        link = self._paths.data
        if link.is_symlink() and link.readlink() == data:
            return
        fresh = link.with_name(".data")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(data)
        fresh.replace(link)

    def set_aside(self) -> Path | None:
        """Move the data out of the way and forget where it was; return its new place."""
        home = self._memory.load().home
        aside = None
        if home and self._has_data(Path(home)):
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            aside = Path(home) / f"aside-{stamp}"
            (Path(home) / DATA).replace(aside)
        self._memory.change(home="", home_was_mount=False, first_start=None, started_with="")
        return aside


def _hash_tree(directory: Path) -> str:
    """Return a hash over names and contents."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        digest.update(f"{path.relative_to(directory)}\n".encode())
        if path.is_file():
            with path.open("rb") as stream:
                for chunk in iter(lambda: stream.read(1 << 20), b""):
                    digest.update(chunk)
    return digest.hexdigest()
