"""State machine safety: at each index every member applies the same batch, in the same state.

The hash chain covers everything applied before, so one skipped, repeated or exchanged batch shows
at once. Also: no operation is applied at two indexes (exactly once), and none that its client was
told was certainly not applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.clusters.world import Violation


class ApplyChecker:
    """The one true history, as the first member to apply each index told it."""

    def __init__(self) -> None:
        self._history: dict[int, tuple[int, int]] = {}
        self.index_of: dict[int, int] = {}
        """Operation id → index at which it was applied."""
        self._denied: set[int] = set()
        self.last_index = 0
        self.last_term = 0

    def on_apply(
        self, member: int, index: int, term: int, chain: int, operations: Sequence[int]
    ) -> None:
        """A member applied a batch."""
        known = self._history.get(index)
        if known is not None:
            if known != (term, chain):
                raise Violation(
                    f"apply equality: member {member} applied another batch or state at {index} "
                    f"(term {term}, chain {chain:08x}; before: term {known[0]}, {known[1]:08x})"
                )
            return
        if index <= self.last_index:
            raise Violation(f"apply equality: member {member} applied {index}, others skipped it")
        self._history[index] = (term, chain)
        self.last_index, self.last_term = index, term
        for operation in operations:
            if operation in self.index_of:
                raise Violation(
                    f"exactly once: operation {operation} applied at {self.index_of[operation]} "
                    f"and at {index}"
                )
            if operation in self._denied:
                raise Violation(f"denied: operation {operation} was refused, applied at {index}")
            self.index_of[operation] = index

    def deny(self, operation: int) -> None:
        """The client was told that this will never be applied."""
        if operation in self.index_of:
            raise Violation(f"denied: operation {operation} was refused after it was applied")
        self._denied.add(operation)
