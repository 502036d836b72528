"""The checker is checked: histories that are known to be good, and to be bad."""

from __future__ import annotations

import math
import random

import pytest

from tests.kit.linearizability import Kind, Operation, find_violation

UNKNOWN = math.inf


def write(value: str, began: float, ended: float = UNKNOWN, key: str = "x") -> Operation:
    return Operation(key, Kind.WRITE, began, ended, value)


def read(value: str | None, began: float, ended: float, key: str = "x") -> Operation:
    return Operation(key, Kind.READ, began, ended, value)


def swap(
    expected: str | None, value: str, began: float, ended: float, *, succeeded: bool = True
) -> Operation:
    return Operation("x", Kind.SWAP, began, ended, value, expected, succeeded)


GOOD = {
    "one after the other": [write("1", 0, 1), read("1", 2, 3)],
    "empty register": [read(None, 0, 1), write("1", 2, 3)],
    "overlapping reads see it early and late": [
        write("1", 0, 10), read("1", 1, 2), read("1", 5, 6), read(None, 0, 1),
    ],
    "unknown write happens late": [write("1", 0), read(None, 1, 2), read("1", 90, 91)],
    "unknown write never happens": [write("1", 0), write("2", 1, 2), read("2", 3, 4)],
    "overlapping writes in either order": [
        write("1", 0, 5), write("2", 1, 4), read("1", 6, 7),
    ],
    "swaps": [
        swap(None, "1", 0, 1), swap("1", "2", 2, 3), swap("1", "3", 4, 5, succeeded=False),
        read("2", 6, 7),
    ],
    "unknown swap": [write("1", 0, 1), swap("1", "2", 2, UNKNOWN), read("1", 3, 4), read("2", 5, 6)],
    "keys are apart": [write("1", 0, 1), read(None, 2, 3, key="y")],
}  # fmt: skip
BAD = {
    "stale read": [write("1", 0, 1), write("2", 2, 3), read("1", 4, 5)],
    "lost write": [write("1", 0, 1), read(None, 2, 3)],
    "read goes back": [write("1", 0, 10), read("1", 1, 2), read(None, 3, 4)],
    "value from nowhere": [read("7", 0, 1)],
    "write seen before it began": [read("1", 0, 1), write("1", 2, 3)],
    "unknown write seen, then not": [write("1", 0), read("1", 1, 2), read(None, 3, 4)],
    "both swaps of one value": [
        write("1", 0, 1), swap("1", "2", 2, 5), swap("1", "3", 2, 5),
    ],
    "swap failed though it had to succeed": [
        write("1", 0, 1), swap("1", "2", 2, 3, succeeded=False),
    ],
    "two orders needed at once": [
        write("1", 0, 5), write("2", 0, 5), read("1", 6, 7), read("2", 8, 9),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert find_violation(GOOD[name]) == ""


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    assert "no order explains" in find_violation(BAD[name])


def simulate(seed: int, clients: int, steps: int) -> list[Operation]:
    """Clients of a real register: each operation takes effect somewhere between its ends."""
    chance = random.Random(seed)
    state: dict[str, str | None] = {}
    history: list[Operation] = []
    free_at = [0.0] * clients
    for number in range(steps):
        client = min(range(clients), key=lambda c: free_at[c])
        began = free_at[client]
        effect = began + chance.random()
        history.append(Operation("x", chance.choice(list(Kind)), began, effect, str(number)))
        free_at[client] = effect + chance.random()
    done: list[Operation] = []
    for operation in sorted(history, key=lambda o: o.ended):
        ended = operation.ended + 0.5 * chance.random()
        key = operation.key
        now = state.get(key)
        if operation.kind is Kind.READ:
            done.append(Operation(key, Kind.READ, operation.began, ended, now))
            continue
        expected = now if chance.random() < 0.5 else "nothing"
        succeeded = operation.kind is Kind.WRITE or now == expected
        is_lost = chance.random() < 0.2
        if succeeded:
            state[key] = operation.value
        end = UNKNOWN if is_lost else ended
        done.append(
            Operation(
                key, operation.kind, operation.began, end, operation.value, expected, succeeded
            )
        )
    return done


@pytest.mark.parametrize("seed", range(20))
def test_histories_of_a_real_register_pass(seed: int) -> None:
    assert find_violation(simulate(seed, 6, 300)) == ""


@pytest.mark.parametrize("seed", range(20))
def test_one_stale_read_in_a_long_history_is_found(seed: int) -> None:
    history = simulate(seed, 4, 200)
    finished = [o for o in history if o.kind is Kind.WRITE and not o.is_unknown]
    first, second, third = finished[3], finished[len(finished) // 2], finished[-1]
    assert first.ended < second.began
    after = max(o.ended for o in history if not o.is_unknown) + 1
    assert third.value != first.value
    stale = Operation("x", Kind.READ, after, after + 1, first.value)
    assert "no order explains" in find_violation([*history, stale])
