"""What a replica drives: the state machine's side of the border."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raftkv.lease.lessor import Lessor
from raftkv.values import Index, Term


class StateMachine(Protocol):
    """The replicated state. Called strictly in log order, each accepted batch exactly once."""

    @property
    def lessor(self) -> Lessor:
        """Its leases."""

    @property
    def chain(self) -> int:
        """A checksum chained over every result of a command since ``chain_origin``, 32 bits."""

    @property
    def chain_origin(self) -> int:
        """The index at which the chain began; 0 for a state that was never without one."""

    level: int
    """The cluster's level, set before the first batch that is applied at it."""

    def apply(
        self,
        index: Index,
        term: Term,
        commands: Sequence[bytes],
        local: bool,  # noqa: FBT001 - positional-only: called once per batch on the hot path
        /,
    ) -> Sequence[object]:
        """Apply one batch; return one result per command.

        Must depend on the state and the arguments other than ``local`` only. ``local`` tells
        that the results go to this member's clients; otherwise they are dropped and need not be
        computed. A failure that is not deterministic (disk) must raise: the process stops.
        """
        ...
