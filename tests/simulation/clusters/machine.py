"""The replicated state of the simulation: ten registers, leases, a hash chain over all that was
applied.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

from etcdwire.errors import RequestError
from raftkv.lease.lessor import Lessor
from raftkv.replica.commands import (
    CommandKind,
    decode_checkpoint,
    decode_grant,
    decode_lease_expire,
)
from raftkv.values import Index, Term
from tests.simulation.clusters.checkers.apply_equality import ApplyChecker

_COMMAND = struct.Struct("<BQBQ")
KEYS_COUNT = 10


def encode_put(operation_id: int, key: int, value: int) -> bytes:
    """Return the command that sets a register and returns its previous value."""
    return _COMMAND.pack(0, operation_id, key, value)


class Registers:
    """Implements ``replica.apply.StateMachine``; tells the checker about every batch."""

    def __init__(
        self,
        member: int,
        checker: ApplyChecker,
        values: dict[int, int],
        leases: dict[bytes, bytes],
        on_lease_ended: Callable[[int], None],
    ) -> None:
        self._member = member
        self._checker = checker
        self._on_lease_ended = on_lease_ended
        self.values = values
        self.lessor = Lessor.load(leases.items())
        self.chain = 0
        self.chain_origin = 0
        self.level = 1

    def lease_rows(self) -> dict[bytes, bytes]:
        """All leases as rows of a backend."""
        everything = Lessor()
        for lease in self.lessor.leases.values():
            everything._write(lease)
        return {
            lease_id.to_bytes(8, "big", signed=True): row
            for lease_id, row in everything.writes.items()
            if row is not None
        }

    def _apply_lease(self, term: Term, command: bytes) -> object:
        lessor = self.lessor
        if command[0] == CommandKind.LEASE_GRANT:
            try:
                lessor.grant(*decode_grant(command))
            except RequestError as error:
                return error
        elif command[0] == CommandKind.LEASE_EXPIRE:
            proposed_in, lease_ids = decode_lease_expire(command)
            if not lessor.is_void(proposed_in, term):
                before = [i for i in lease_ids if i in lessor.leases]
                lessor.expire(lease_ids, lambda _: None)
                for lease_id in before:
                    self._on_lease_ended(lease_id)
        else:
            proposed_in, left = decode_checkpoint(command)
            if not lessor.is_void(proposed_in, term):
                for lease_id, left_s in left:
                    lessor.checkpoint(lease_id, left_s)
        return (0, 0)

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
            chain = zlib.crc32(command, chain)
            if command[0]:
                results.append(self._apply_lease(term, command))
                chain = zlib.crc32(repr(sorted(self.lessor.leases)).encode(), chain)
                continue
            _, operation, key, value = _COMMAND.unpack(command)
            results.append((operation, self.values.get(key, 0)))
            self.values[key] = value
            operations.append(operation)
        self.chain = chain
        self._checker.on_apply(self._member, index, term, chain, operations)
        return results
