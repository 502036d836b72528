"""What one machine remembers beside the engine's data: a small JSON file, root's own.

It holds no second truth about the cluster. It says what was done here and cannot be seen later:
with which files the engine was started, which cluster was founded, how to start a member that has
not been ready yet, and since when units have been missing.
"""

import dataclasses
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from etcd_charm.workload import host


@dataclass(frozen=True, slots=True)
class FirstStart:
    """The parameters of a member's first start; void as soon as it was ready once."""

    initial_cluster: str
    state: str


@dataclass(frozen=True, slots=True)
class RestoreMemory:
    """How far a restore on this machine is, and what it needs to go on."""

    restore_id: str
    token: str
    former_token: str
    """The cluster that it replaces: once another has taken that one's place, it counts no more."""
    state: str
    target: str
    keeps_backup: bool
    former: str = ""
    """Where the data from before is."""
    backup: str = ""
    problem: str = ""
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Memory:
    """The content of the file."""

    home: str = ""
    """Directory that holds the data: attached storage, or a directory on the root disk."""
    engine: str = "raftkv"
    """Which engine this machine runs: the data is of its kind."""
    first_start: FirstStart | None = None
    started_with: str = ""
    founded_token: str = ""
    has_left: bool = False
    absences: dict[str, int] = field(default_factory=dict)
    """Hexadecimal member id to seconds."""
    restore: RestoreMemory | None = None
    serving_url: str = ""
    """Where the engine was told to listen for clients when it was last started."""
    serving_ports: tuple[int, int] = (0, 0)
    """The ports for clients and members that go with it."""
    doors: tuple[str, ...] = ()
    """Client URLs of the members when they last answered with a quorum: Juju may have dropped the
    relation to the only unit that still knows."""
    renews: bool = False
    """An operator wants this unit's certificates issued anew."""
    paused: bool = False
    force_alone: bool = False
    """The next start makes this member the only one of its cluster."""
    rebuild_id: str = ""
    rebuild_state: str = "none"
    log_term: int = 0
    log_index: int = 0
    """Where the log ended when the engine was stopped for that rebuild."""
    home_was_mount: bool = False
    """Whether storage was mounted at the home: an empty mount point is not an empty member."""
    former_home: str = ""
    """Where the data was before it was moved to other storage."""
    sync_counts: tuple[int, ...] = ()
    """What the engine's histogram of log syncs showed at the look that gave `sync_p99_ms`."""
    sync_p99_ms: int = 0


class MemoryFile:
    """Reads and replaces the file. Every change is on disk before the next effect."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Memory:
        """Return what is remembered; an absent file is an empty memory.

        What a newer charm remembered is left out, so that there is a way back to this one.
        """
        if not self._path.is_file():
            return Memory()
        fields: dict[str, Any] = json.loads(self._path.read_text())
        first = fields.pop("first_start", None)
        restore = fields.pop("restore", None)
        doors = fields.pop("doors", ())
        counts = fields.pop("sync_counts", ())
        ports = fields.pop("serving_ports", (0, 0))
        known = {entry.name for entry in dataclasses.fields(Memory)}
        fields = {name: value for name, value in fields.items() if name in known}
        return Memory(
            first_start=FirstStart(**first) if first else None,
            restore=RestoreMemory(**restore) if restore else None,
            doors=tuple(doors),
            sync_counts=tuple(counts),
            serving_ports=(int(ports[0]), int(ports[1])),
            **fields,
        )

    def change(self, **changes: Any) -> Memory:
        """Replace some fields and return the whole."""
        memory = replace(self.load(), **changes)
        host.write_file(self._path, json.dumps(asdict(memory), indent=1) + "\n", mode=0o600)
        return memory
