"""The member's log as the algorithm sees it: all retained entries in memory.

::

        start │ start+1 ......... applied .... commit ......... last │
      trimmed │ ◄── entries[0] ...                   ... entries[-1] │
                          ◄── stable: on disk ──►◄── not yet on disk ─►

Files are the driver's business: :meth:`LogView.take_unwritten` hands out what must be written,
in order, and :meth:`LogView.mark_stable` hears that it is on disk. Everything retained stays in
memory, because it is bounded (``retain_entries``, ``retain_bytes``) and because the same
immutable entries go to disk and to the followers.
"""

from __future__ import annotations

from collections.abc import Sequence

from raftkv.raft.errors import InvariantViolated
from raftkv.values import Entry, Index, Term


class LogView:
    """Entries ``start + 1 .. last`` and the marks commit, applied, stable.

    Invariants: start <= applied <= commit <= last, stable <= last, committed entries are never
    replaced. Indexes are plain integers inside, because this is the hot path.
    """

    __slots__ = (
        "_entries",
        "_truncate_from",
        "_unwritten_from",
        "applied",
        "commit",
        "last",
        "last_term",
        "size_bytes",
        "stable",
        "start",
        "start_term",
    )

    def __init__(self, start: Index, start_term: Term, entries: Sequence[Entry]) -> None:
        self.start: int = start
        self.start_term: int = start_term
        self._entries: list[Entry] = list(entries)
        self.size_bytes: int = 0
        """Data bytes of all that is retained."""
        for offset, entry in enumerate(self._entries):
            if entry.index != start + 1 + offset:
                raise InvariantViolated(f"log has entry {entry.index} at {start + 1 + offset}")
            self.size_bytes += len(entry.data)
        self.last: int = start + len(self._entries)
        self.last_term: int = self._entries[-1].term if self._entries else start_term
        self.commit: int = start
        self.applied: int = start
        self.stable: int = self.last
        self._unwritten_from: int = self.last + 1
        self._truncate_from: int | None = None

    def term_at(self, index: int) -> int | None:
        """Return the term of the entry at ``index``; None when trimmed or not there."""
        if index == self.last:
            return self.last_term
        if index == self.start:
            return self.start_term
        if self.start < index < self.last:
            return self._entries[index - self.start - 1].term
        return None

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Tell whether a log that ends there is at least as complete as ours (paper 5.4.1)."""
        own = self.last_term
        return last_term > own or (last_term == own and last_index >= self.last)

    def read(self, first: int, size_bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from ``first`` on, limited by data bytes; at least one, if any."""
        entries = self._entries
        position = first - self.start - 1
        if position < 0:
            raise InvariantViolated(f"entry {first} was trimmed, log starts after {self.start}")
        count = len(entries)
        if position == count - 1:
            return (entries[position],)
        end = position
        size_bytes = 0
        while end < count:
            size_bytes += len(entries[end].data)
            if size_bytes > size_bytes_max and end > position:
                break
            end += 1
        return tuple(entries[position:end])

    def slice_applicable(self) -> list[Entry]:
        """Return the entries that are committed and not yet applied."""
        start = self.start
        return self._entries[self.applied - start : self.commit - start]

    def append(self, entry: Entry) -> None:
        """Add the leader's next entry."""
        self._entries.append(entry)
        self.size_bytes += len(entry.data)
        self.last += 1
        self.last_term = entry.term

    def accept(self, prev_index: int, entries: tuple[Entry, ...]) -> int | None:
        """Take a leader's entries whose predecessor is known to match.

        Returns the index from which own entries were replaced, None when none were.

        Entries that we have already stay: an old, delayed append must not cut off what came
        after it (paper 5.3, receiver rule 3: only a *conflict* removes entries).
        """
        if not entries:
            return None
        skipped = 0
        replaced_from = None
        if prev_index < self.last:
            for entry in entries:
                if self.term_at(entry.index) != entry.term:
                    break
                skipped += 1
            if skipped == len(entries):
                return None
            first_new = prev_index + 1 + skipped
            if first_new <= self.last:
                self._truncate(first_new)
                replaced_from = first_new
        taken = entries[skipped:] if skipped else entries
        self._entries.extend(taken)
        for entry in taken:
            self.size_bytes += len(entry.data)
        self.last = prev_index + len(entries)
        self.last_term = entries[-1].term
        return replaced_from

    def find_conflict(self, index: int, term: int) -> tuple[int, int]:
        """Return the highest index <= ``index`` whose term is <= ``term``, with its term.

        Both sides use it to skip a whole term of conflicting entries per round trip
        (etcd: findConflictByTerm). The term is 0 when that entry was trimmed.
        """
        position = min(index, self.last)
        while position > self.start:
            own = self._entries[position - self.start - 1].term
            if own <= term:
                return position, own
            position -= 1
        return position, self.start_term if position == self.start else 0

    def take_unwritten(self) -> tuple[list[Entry], int | None]:
        """Return (entries to write, index from which the file's entries are replaced)."""
        first = self._unwritten_from
        truncate_from = self._truncate_from
        self._truncate_from = None
        if first > self.last:
            return [], truncate_from
        self._unwritten_from = self.last + 1
        return self._entries[first - self.start - 1 :], truncate_from

    @property
    def has_unwritten(self) -> bool:
        """Tell whether there is something to write."""
        return self._unwritten_from <= self.last or self._truncate_from is not None

    def mark_stable(self, index: int) -> None:
        """Everything up to ``index`` is on disk."""
        if index > self.stable:
            self.stable = index

    def trim_to(self, index: int) -> None:
        """Forget entries up to and including ``index``."""
        if index <= self.start:
            return
        if index > self.applied:
            raise InvariantViolated(f"trim to {index} beyond applied {self.applied}")
        term = self.term_at(index)
        assert term is not None
        self.size_bytes -= self.retained_bytes(self.start + 1, index + 1)
        del self._entries[: index - self.start]
        self.start = index
        self.start_term = term

    def reset(self, index: int, term: int) -> None:
        """Replace all by a snapshot that ends at ``index``."""
        self._entries.clear()
        self.size_bytes = 0
        self.start = self.last = self.commit = self.applied = self.stable = index
        self.start_term = self.last_term = term
        self._unwritten_from = index + 1
        self._truncate_from = None

    def retained_bytes(self, first: int, end: int) -> int:
        """Return the data bytes of entries ``first .. end - 1``. Linear; used on trimming only."""
        start = self.start + 1
        return sum(len(entry.data) for entry in self._entries[first - start : end - start])

    def _truncate(self, first: int) -> None:
        if first <= self.commit:
            raise InvariantViolated(
                f"leader asks to replace committed entry {first} (commit {self.commit})"
            )
        self.size_bytes -= self.retained_bytes(first, self.last + 1)
        del self._entries[first - self.start - 1 :]
        self.last = first - 1
        self.last_term = self._entries[-1].term if self._entries else self.start_term
        self.stable = min(self.stable, self.last)
        if first < self._unwritten_from:
            self._unwritten_from = first
            previous = self._truncate_from
            self._truncate_from = first if previous is None else min(previous, first)
