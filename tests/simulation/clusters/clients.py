"""Clients: each sends one request at a time to some member and checks the answer.

A request without a certain outcome (its member crashed, LEADER_CHANGED) may have been applied or
not, and may still be. One that was refused with NO_LEADER must never be.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftkv.replica.effects import Effects, Rejection
from raftkv.replica.inputs import Propose, Read
from tests.simulation.clusters.machine import KEYS_COUNT, encode_put
from tests.simulation.clusters.member import SimulatedMember
from tests.simulation.clusters.watching import Watching
from tests.simulation.clusters.world import MILLISECOND, SECOND, Violation, World

ANSWER_WITHIN = 20 * SECOND
"""A living member answers each token: with the result, or with a rejection."""


@dataclass
class Operation:
    """One request; serves as its own token."""

    number: int
    client: int
    is_write: bool
    floor: int
    member: int
    life: int
    began: int
    is_done: bool = False


class Clients:
    """All clients of a run."""

    def __init__(
        self, world: World, watching: Watching, members: dict[int, SimulatedMember]
    ) -> None:
        self._world = world
        self._watching = watching
        self._members = members
        self.operations_count = 0
        self.completed_count = 0
        self.is_open = True
        self._pending: dict[int, Operation] = {}

    def start(self, count: int, pause_max: int) -> None:
        """Begin ``count`` clients."""
        for client in range(count):
            self._world.after(self._world.below(pause_max), self._begin, client, pause_max)

    def _begin(self, client: int, pause_max: int) -> None:
        if not self.is_open:
            return
        world = self._world
        running = [m for m in self._members.values() if m.is_running]
        if not running:
            world.after(pause_max, self._begin, client, pause_max)
            return
        member: SimulatedMember = world.choose(running)
        is_write = world.happens(0.6)
        for _ in range(world.between(1, 3)):
            self._request(client, member, is_write=is_write)
        world.after(world.between(MILLISECOND, pause_max), self._begin, client, pause_max)

    def _request(self, client: int, member: SimulatedMember, *, is_write: bool) -> None:
        world = self._world
        self.operations_count += 1
        number = self.operations_count
        floor = self._watching.linearizability.floor
        operation = Operation(
            number, client, is_write, floor, member.member_id, member.life, world.now
        )
        self._pending[number] = operation
        if is_write:
            key = world.below(KEYS_COUNT)
            member.submit(Propose((encode_put(number, key, number),), (operation,)))
        else:
            member.submit(Read((operation,)))

    def on_effects(self, member: SimulatedMember, effects: Effects) -> None:
        """Take the answers of one step."""
        for tokens, results in effects.replies:
            for token, result in zip(tokens, results, strict=True):
                if isinstance(token, Operation):
                    self._finish_write(token, result)
        for token in effects.reads_ready:
            assert isinstance(token, Operation)
            assert member.replica is not None
            self._settle(token)
            self._watching.linearizability.on_read_done(
                token.number, member.replica.applied_index, token.floor
            )
            self.completed_count += 1
        for rejected in effects.rejected:
            for token in rejected.tokens:
                if isinstance(token, Operation):
                    self._settle(token)
                    if token.is_write and rejected.reason is Rejection.NO_LEADER:
                        self._watching.applied.deny(token.number)

    def _finish_write(self, operation: Operation, result: object) -> None:
        self._settle(operation)
        assert isinstance(result, tuple)
        if result[0] != operation.number:
            raise Violation(f"result of {result[0]} was given to operation {operation.number}")
        index = self._watching.applied.index_of[operation.number]
        self._watching.linearizability.on_write_done(operation.number, index, operation.floor)
        self._watching.durability.on_acknowledged(index)
        self.completed_count += 1

    def _settle(self, operation: Operation) -> None:
        if operation.is_done:
            raise Violation(f"operation {operation.number} was answered twice")
        operation.is_done = True
        del self._pending[operation.number]

    def check_answers(self) -> None:
        """No token may be forgotten by a member that lives."""
        now = self._world.now
        for operation in self._pending.values():
            member = self._members[operation.member]
            if member.life == operation.life and now - operation.began > ANSWER_WITHIN:
                raise Violation(
                    f"operation {operation.number} got no answer from member {operation.member}"
                )
