"""The replicated state of the simulation: ten registers and a hash chain over all that was applied."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from raftkv.values import Index, Term
from tests.simulation.clusters.checkers.apply_equality import ApplyChecker

_COMMAND = struct.Struct("<QBQ")
KEYS_COUNT = 10


def encode_put(operation_id: int, key: int, value: int) -> bytes:
    """Return the command that sets a register and returns its previous value."""
    return _COMMAND.pack(operation_id, key, value)


class Registers:
    """Implements ``replica.apply.StateMachine``; tells the checker about every batch."""

    def __init__(self, member: int, checker: ApplyChecker, values: dict[int, int]) -> None:
        self._member = member
        self._checker = checker
        self.values = values
        self.chain = 0

    def apply(
        self,
        index: Index,
        term: Term,
        commands: Sequence[bytes],
        _local: bool,
        /,
    ) -> Sequence[object]:
        chain = zlib.crc32(struct.pack("<QQ", index, term), self.chain)
        results: list[object] = []
        operations: list[int] = []
        for command in commands:
            operation, key, value = _COMMAND.unpack(command)
            results.append((operation, self.values.get(key, 0)))
            self.values[key] = value
            chain = zlib.crc32(command, chain)
            operations.append(operation)
        self.chain = chain
        self._checker.on_apply(self._member, index, term, chain, operations)
        return results
