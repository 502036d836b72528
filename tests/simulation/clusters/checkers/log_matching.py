"""Log matching and leader completeness.

Log matching: if two logs hold an entry with the same index and term, they are equal up to there.
Checked with a running digest per (index, term): the same entry must follow on the same past.

Leader completeness: a new leader's log holds every entry that anybody has applied.
"""

from __future__ import annotations

import zlib

from raftkv.raft.log_view import LogView
from raftkv.values import Entry
from tests.simulation.clusters.world import Violation


class LogChecker:
    """Remembers every entry that ever was in a log, with the term of its predecessor."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], tuple[int, int]] = {}
        self._committed: dict[int, int] = {}

    def on_write(self, member: int, entries: list[Entry], previous_term: int | None) -> None:
        """A member writes these consecutive entries; ``previous_term`` is of the one before."""
        for entry in entries:
            digest = zlib.crc32(entry.data)
            key = (entry.index, entry.term)
            known = self._entries.get(key)
            if previous_term is None:
                previous_term = known[0] if known else -1
            if known is None:
                self._entries[key] = (previous_term, digest)
            elif known[1] != digest or (known[0] not in (previous_term, -1)):
                raise Violation(
                    f"log matching: member {member} holds another entry {entry.index} of term "
                    f"{entry.term}, or after another past"
                )
            previous_term = entry.term

    def on_commit(self, member: int, index: int, term: int) -> None:
        """A member knows this entry to be committed."""
        known = self._committed.setdefault(index, term)
        if known != term:
            raise Violation(
                f"commit safety: entry {index} is committed with term {known}, on member {member} "
                f"with term {term}"
            )

    def on_leader(self, member: int, term: int, log: LogView) -> None:
        """A member became leader."""
        for index in sorted(self._committed, reverse=True)[:50]:
            own = log.term_at(index)
            if index > log.last or (own is not None and own != self._committed[index]):
                raise Violation(
                    f"leader completeness: leader {member} of term {term} lacks committed entry "
                    f"{index} of term {self._committed[index]}"
                )
