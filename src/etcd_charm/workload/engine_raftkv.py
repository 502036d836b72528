"""The engine `raftkv`: from the attached bundle, else from the wheels in the charm."""

import json
from collections.abc import Mapping
from pathlib import Path

from etcd_charm.cluster.facts import LogPosition
from etcd_charm.cluster.settings import Settings
from etcd_charm.workload import host, install
from etcd_charm.workload.engine import RestoreOrder, Supplies
from etcd_charm.workload.paths import Paths

RESTORE_TIMEOUT_S = 1800.0
"""Writing a database of the largest quota anew on a slow disk."""


class RaftkvEngine:
    """What is particular to raftkv. See `engine.Engine`."""

    name = "raftkv"
    service = "raftkvd"
    description = "raftkvd, an etcd-compatible key/value store"
    rereads_authorities = True
    feeds_watchdog = True
    keeps_v2_in_snapshot = True

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def install(self, supplies: Supplies) -> str:
        """Install the engine and return its version; costs nothing when it is there."""
        return install.install_engine(self._paths, supplies.files.get("raftkv"))

    def identify(self) -> str:
        """Return what changes with the version that starts next."""
        return str(self._paths.engine.resolve())

    @property
    def program(self) -> Path:
        """The daemon."""
        return self._paths.engine / "bin/raftkvd"

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the daemon."""
        return {}

    def list_options(self, settings: Settings) -> Mapping[str, object]:
        """Return the options that this engine needs beyond those of both.

        Its v2 asks for a user with all keys while auth is on, so v2 is always there.
        """
        del settings
        return {"enable-v2": True}

    def list_client_options(self, revoked: Path) -> tuple[Mapping[str, object], dict[str, str]]:
        """Return options for the file of revoked certificates."""
        return {}, {"crl-file": str(revoked)}

    def restore(self, order: RestoreOrder) -> None:
        """Make a data directory from a database.

        Raises:
            host.ProgramFailed: with the tool's last line.
        """
        host.run_program(
            [
                str(self._paths.engine / "bin/raftkvctl"),
                "snapshot",
                "restore",
                *order.list_arguments(),
            ],
            timeout_s=RESTORE_TIMEOUT_S,
        )

    def read_position(self, data: Path) -> LogPosition | None:
        """Return where the log of a stopped member ends."""
        tool = str(self._paths.engine / "bin/raftkvctl")
        try:
            found = json.loads(host.run_program([tool, "inspect", str(data)]))
        except host.ProgramFailed:
            return LogPosition()
        return LogPosition(int(found["lastTerm"]), int(found["lastIndex"]))
