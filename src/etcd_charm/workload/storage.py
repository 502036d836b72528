"""The data directory: where it is, whose data it holds, and how it is moved aside.

A file beside the data names the cluster that it belongs to, because an engine's own files cannot
be read by everybody, and storage may come from another application.
"""

import time
from pathlib import Path

from etcd_charm.cluster.facts import DataState
from etcd_charm.workload import host
from etcd_charm.workload.memory import MemoryFile
from etcd_charm.workload.paths import USER, Paths

DATA = "data"
MARK_FILE = "cluster-token"


class DataDirectory:
    """The data of this unit's member."""

    def __init__(self, paths: Paths, memory: MemoryFile) -> None:
        self._paths = paths
        self._memory = memory

    def choose_home(self, storage: Path | None) -> Path:
        """Return the directory that holds the data: decided once, when there is none yet.

        Storage that is attached later is not taken: it would put an empty directory in the place
        of a member's data.
        """
        home = self._memory.load().home
        if home:
            return Path(home)
        return storage or self._paths.var / "local"

    @property
    def former_token(self) -> str:
        """The token of the cluster that was before a restore that went wrong."""
        return self._memory.load().former_token

    def mark(self, home: Path, token: str) -> None:
        """Say whose data this is."""
        host.write_file(home / MARK_FILE, f"{token}\n", mode=0o644)

    def read_state(self, token: str, storage: Path | None) -> DataState:
        """Return what the directory holds, by the token of this application's cluster.

        Between a restore and the leader's record of it, the data has the token of the restore.
        """
        home = self.choose_home(storage)
        is_attached = home.parent == self._paths.var or (storage is not None and home == storage)
        if not is_attached:
            return DataState.DETACHED
        if not self._has_data(home):
            return DataState.NEW
        mark = home / MARK_FILE
        restore = self._memory.load().restore
        ours = {token, restore.token if restore else ""} - {""}
        if token and mark.is_file() and mark.read_text().strip() in ours:
            return DataState.OURS
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
        present = home / MARK_FILE
        former = present.read_text().strip() if present.is_file() else ""
        self._memory.change(home=str(home), former_token=former)
        self.mark(home, token)
        self._link(data)
        return data

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
        self._memory.change(home="", first_start=None, started_with="")
        return aside
