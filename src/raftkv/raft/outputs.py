"""What leaves the core, and the rule when it may leave.

Messages are of two kinds. Most leave at once. Votes, vote requests and append acknowledgements
are promises about this member's disk: they wait until everything that was unwritten when they
were made is on stable storage. A promise to oneself (a candidate's own vote) waits the same way.

Writes are numbered. The driver reports the highest number that is on disk; numbers may be
skipped, never reordered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from raftkv.raft.messages import AppendReply, Message
from raftkv.values import Entry, HardState, Index, MemberId, Term


@dataclass(frozen=True, slots=True)
class LogWrite:
    """One write to the log; ``replica.effects`` hands it out as ``Persist``.

    ``reset_to`` first empties the log, which then starts after that (index, term): a snapshot
    was installed. ``truncate_from``: entries at and after this index are replaced. ``entries``
    follow on. ``hard_state`` is None when unchanged. ``must_sync`` False allows to batch with a
    later one (only the commit index moved); nothing waits for its ``Persisted``.
    """

    sequence: int
    hard_state: HardState | None
    entries: Sequence[Entry]
    truncate_from: Index | None
    must_sync: bool
    reset_to: tuple[Index, Term] | None = None


class PendingWrite:
    """A write that is not known to be on disk, and the promises that wait for it."""

    __slots__ = ("last_index", "messages", "sequence", "ticks")

    def __init__(
        self, sequence: int, last_index: int, messages: list[tuple[MemberId, Message]]
    ) -> None:
        self.sequence = sequence
        self.last_index = last_index
        self.messages = messages
        self.ticks = 0


class Outputs:
    """Collects messages and writes during steps."""

    __slots__ = (
        "_promises",
        "install",
        "messages",
        "pending",
        "reads",
        "sequence",
        "snapshots",
    )

    def __init__(self) -> None:
        self.messages: list[tuple[MemberId, Message]] = []
        self._promises: list[tuple[MemberId, Message]] = []
        self.snapshots: list[tuple[MemberId, Index]] = []
        """(follower, least index) that need the state instead of entries."""
        self.reads: list[tuple[int, Index]] = []
        """(context, index) of this member's own reads that a quorum confirmed."""
        self.install: tuple[Index, Term] | None = None
        """A received snapshot that the driver should install now."""
        self.pending: deque[PendingWrite] = deque()
        self.sequence = 0

    def send(self, to: MemberId, message: Message) -> None:
        """Send at once."""
        self.messages.append((to, message))

    def promise(self, to: MemberId, message: Message) -> None:
        """Send when all that is unwritten or unsynced now is on disk."""
        self._promises.append((to, message))

    @property
    def has_promises(self) -> bool:
        """Promises were made since the last write."""
        return bool(self._promises)

    def begin_write(self, last_index: int) -> int:
        """Number a write that ends at ``last_index``; promises made so far wait for it."""
        self.sequence += 1
        self.pending.append(PendingWrite(self.sequence, last_index, self._promises))
        self._promises = []
        return self.sequence

    def release_unbound(self) -> list[tuple[MemberId, Message]]:
        """Bind promises to the newest pending write; without one they may leave: return them."""
        promises = self._promises
        self._promises = []
        if self.pending:
            self.pending[-1].messages.extend(promises)
            return []
        return promises

    def limit_pending(self, last_index: int) -> None:
        """Entries after ``last_index`` were replaced: no older write makes them stable."""
        for write in self.pending:
            write.last_index = min(write.last_index, last_index)

    def finish_writes(self, sequence: int) -> tuple[int, list[tuple[MemberId, Message]]]:
        """Return (highest index now stable, promises that may leave).

        Of several acknowledgements to one leader in one term only the last is sent: they are
        cumulative.
        """
        stable = 0
        promises: list[tuple[MemberId, Message]] = []
        pending = self.pending
        while pending and pending[0].sequence <= sequence:
            write = pending.popleft()
            stable = write.last_index
            for promise in write.messages:
                if promises and _supersedes(promise, promises[-1]):
                    promises[-1] = promise
                else:
                    promises.append(promise)
        return stable, promises


def _supersedes(new: tuple[MemberId, Message], old: tuple[MemberId, Message]) -> bool:
    new_message, old_message = new[1], old[1]
    return (
        type(new_message) is AppendReply
        and type(old_message) is AppendReply
        and new[0] == old[0]
        and new_message.term == old_message.term
        and new_message.match >= old_message.match
    )
