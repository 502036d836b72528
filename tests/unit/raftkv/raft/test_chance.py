"""The generator is frozen: replays of old seeds depend on it."""

from __future__ import annotations

from raftkv.raft.chance import Chance


def test_values_are_frozen() -> None:
    chance = Chance(1)
    assert [chance.below(1000) for _ in range(5)] == VALUES_OF_SEED_1


def test_values_are_spread() -> None:
    counts = [0] * 10
    chance = Chance(7)
    for _ in range(10_000):
        counts[chance.below(10)] += 1
    assert all(850 < count < 1150 for count in counts)


def test_seeds_differ() -> None:
    assert len({Chance(seed).below(1 << 30) for seed in range(1000)}) > 990


VALUES_OF_SEED_1 = [53, 801, 758, 274, 326]
