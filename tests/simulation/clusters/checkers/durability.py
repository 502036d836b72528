"""Durability and convergence: after all faults have healed, every member has everything that was
acknowledged, in equal states, and the cluster takes writes again.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.simulation.clusters.world import Violation


class DurabilityChecker:
    """Remembers the index of each acknowledged write."""

    def __init__(self) -> None:
        self.acknowledged_index = 0

    def on_acknowledged(self, index: int) -> None:
        """A client was told that its write at this index is done."""
        self.acknowledged_index = max(self.acknowledged_index, index)

    def check_end(self, ends: Iterable[tuple[int, int, int]]) -> None:
        """Take (member, applied index, chain) of all members."""
        ends = list(ends)
        chains = {chain for _, _, chain in ends}
        if len(chains) > 1:
            raise Violation(f"convergence: members end in different states: {ends}")
        for member, applied, _ in ends:
            if applied < self.acknowledged_index:
                raise Violation(
                    f"durability: member {member} ends at {applied}, acknowledged was "
                    f"{self.acknowledged_index}"
                )
