"""The disk model: one write queue for the log, one place for the backend's durable state.

A crash keeps what was synced, and of what was not any prefix of whole writes: that is what a file
with checksums, a chain and marked ends of writes gives (``tests/unit/raftkv/log`` shows that the
files do). The mutant ``torn-writes`` cuts inside a write, as the log once did.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from raftkv.replica.effects import Persist
from raftkv.values import NO_MEMBER, Entry, HardState, Index, Term
from tests.simulation.clusters.world import MILLISECOND, World

_NO_INDEX = Index(0)
_NO_TERM = Term(0)


@dataclass(frozen=True)
class BackendState:
    """What the backend holds at one applied index: the machine's and the replica's state."""

    index: Index = _NO_INDEX
    term: Term = _NO_TERM
    values: dict[int, int] = field(default_factory=dict)
    chain: int = 0
    replica_state: bytes = b""
    leases: dict[bytes, bytes] = field(default_factory=dict)
    """Rows of ``lease.lessor``."""


@dataclass
class LogFile:
    """The log as it would be read back."""

    hard_state: HardState = field(default_factory=HardState)
    start: Index = _NO_INDEX
    start_term: Term = _NO_TERM
    entries: list[Entry] = field(default_factory=list)

    def write(self, persist: Persist, *, entries_count: int | None = None) -> None:
        """Apply one write; ``entries_count`` cuts it short (a mutant)."""
        if persist.reset_to is not None:
            self.start, self.start_term = persist.reset_to
            self.entries = []
        if persist.hard_state is not None:
            self.hard_state = persist.hard_state
        entries = list(persist.entries[:entries_count])
        if entries:
            keep = entries[0].index - self.start - 1
            if keep > len(self.entries):
                raise AssertionError(f"gap in the log before entry {entries[0].index}")
            if keep < 0:
                entries = entries[-keep:]
                keep = 0
            self.entries[keep:] = entries

    def trim(self, index: int) -> None:
        """Drop a prefix."""
        count = index - self.start
        if 0 < count <= len(self.entries):
            self.start_term = self.entries[count - 1].term
            self.start = Index(index)
            del self.entries[:count]


class Disk:
    """One member's disk; outlives its crashes."""

    def __init__(self, world: World, *, forgets: frozenset[str] = frozenset()) -> None:
        self._world = world
        self.forgets = forgets
        """Mutants: parts of the hard state that never reach the disk."""
        self.log = LogFile()
        self.backend = BackendState()
        self.staged_backend: BackendState | None = None
        """Committed to the backend, sync not finished: survives a crash or does not."""
        self.queue: list[Persist] = []
        self.latency_max = 8 * MILLISECOND
        self.stalled_until = 0
        self.incarnation = 0

    def latency(self) -> int:
        """Return how long a sync begun now takes."""
        stall = max(0, self.stalled_until - self._world.now)
        return stall + self._world.between(200, self.latency_max)

    def enqueue(self, persist: Persist) -> bool:
        """Take a write, not synced yet; say whether it replaces entries."""
        last = self.log.start + len(self.log.entries)
        for earlier in self.queue:
            if earlier.entries:
                last = earlier.entries[-1].index
            elif earlier.reset_to is not None:
                last = earlier.reset_to[0]
        hard_state = persist.hard_state
        if hard_state is not None and self.forgets:
            if "vote" in self.forgets:
                hard_state = replace(hard_state, vote=NO_MEMBER)
            if "term" in self.forgets:
                hard_state = replace(hard_state, term=self.log.hard_state.term, vote=NO_MEMBER)
            if "commit" in self.forgets:
                hard_state = replace(hard_state, commit=Index(0))
            persist = replace(persist, hard_state=hard_state)
        self.queue.append(persist)
        return bool(persist.entries) and persist.entries[0].index <= last

    def sync_through(self, sequence: int) -> None:
        """Everything up to this write is durable."""
        while self.queue and self.queue[0].sequence <= sequence:
            self.log.write(self.queue.pop(0))

    def crash(self) -> None:
        """Lose what was not synced, from some point on."""
        world = self._world
        keep = world.below(len(self.queue) + 1)
        for persist in self.queue[:keep]:
            self.log.write(persist)
        if "atomicity" in self.forgets and keep < len(self.queue):
            torn = self.queue[keep]
            self.log.write(torn, entries_count=world.below(len(torn.entries) + 1))
        self.queue.clear()
        if self.staged_backend is not None and world.happens(0.5):
            self.backend = self.staged_backend
        self.staged_backend = None
