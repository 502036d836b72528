"""Linearizability over all keys at once (strict serializability).

The log order is the linearization: a write takes effect at its index, a read at the applied index
at which it was answered. Then only real time must be checked: whatever completed before an
operation began lies before it. That is complete and costs one comparison per operation, because
``apply_equality`` already shows that all members agree on the order and on the state at each index.
"""

from __future__ import annotations

from tests.simulation.clusters.world import Violation


class LinearizabilityChecker:
    """Keeps the highest position that any client has seen."""

    def __init__(self) -> None:
        self.floor = 0

    def on_write_done(self, operation: int, index: int, floor: int) -> None:
        """A write was acknowledged; ``floor`` was the highest position when it began."""
        if index <= floor:
            raise Violation(
                f"linearizability: write {operation} took effect at {index}, before {floor}, "
                "which was seen before it began"
            )
        self.floor = max(self.floor, index)

    def on_read_done(self, operation: int, applied: int, floor: int) -> None:
        """A read was answered from the state at ``applied``."""
        if applied < floor:
            raise Violation(
                f"linearizability: read {operation} saw the state at {applied}; the state at "
                f"{floor} was seen before it began"
            )
        self.floor = max(self.floor, applied)
