"""Grey networks (row 21): one-way links are cut and stay cut; who can lead, leads, and goes on."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

import pytest

from raftkv.raft.core import RaftCore
from tests.simulation.clusters.cluster import Cluster
from tests.simulation.clusters.mutants import planted
from tests.simulation.clusters.world import MILLISECOND, SECOND, Violation, World

TICK_MAX = 55 * MILLISECOND
SETTLE_TIMEOUTS = 5
STAY_TIMEOUTS = 30
Cut = frozenset[tuple[int, int]]


def links(members: int) -> list[tuple[int, int]]:
    return [(a, b) for a in range(1, members + 1) for b in range(1, members + 1) if a != b]


def three_members() -> list[Cut]:
    every = links(3)
    return [frozenset(cut) for size in range(7) for cut in itertools.combinations(every, size)]


def five_members(count: int) -> list[Cut]:
    world = World(21)
    return [
        frozenset(link for link in links(5) if world.happens(share))
        for share in (0.1, 0.3, 0.5)
        for _ in range(count)
    ]


def has_hub(members: int, cut: Cut) -> bool:
    """Whether some member has two-way links to a majority."""
    for a in range(1, members + 1):
        others = [b for b in range(1, members + 1) if b != a]
        if 1 + sum({(a, b), (b, a)}.isdisjoint(cut) for b in others) > members // 2:
            return True
    return False


def leaders(cluster: Cluster) -> set[tuple[int, int]]:
    """(term, member) of those who lead in the newest term."""
    found = {
        (member.replica.term, member.member_id)
        for member in cluster.members.values()
        if member.replica is not None and member.leads
    }
    newest = max((term for term, _ in found), default=0)
    return {(term, member) for term, member in found if term == newest}


def check(seed: int, members: int, cut: Cut) -> None:
    cluster = Cluster(World(seed))
    cluster._bootstrap(members)
    world = cluster.world
    cluster.clients.start(2, 200 * MILLISECOND)
    world.run_until(5 * SECOND)
    assert leaders(cluster), "no leader before anything was cut"
    timeout = cluster._settings.election_ticks * TICK_MAX
    cluster.network.cut |= cut
    # A member that just lost its leader waits one timeout before it looks for another.
    world.run_until(world.now + (1 + SETTLE_TIMEOUTS) * timeout)
    settled = leaders(cluster)
    assert len(settled) == 1, f"seed {seed}: {sorted(cut)}: nobody leads"
    completed = cluster.clients.completed_count
    for _ in range(STAY_TIMEOUTS):
        world.run_until(world.now + timeout)
        assert leaders(cluster) == settled, f"seed {seed}: {sorted(cut)}: {settled} did not stay"
    assert cluster.clients.completed_count > completed, f"seed {seed}: {sorted(cut)}: no progress"
    cluster.network.cut.clear()
    world.run_until(world.now + 10 * timeout)
    cluster.clients.check_answers()


IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
THREE = [cut for cut in three_members() if has_hub(3, cut)]
FIVE = [cut for cut in five_members(200 if IS_LONG else 6) if has_hub(5, cut)]


def name_of(cut: Cut) -> str:
    return " ".join(f"{a}>{b}" for a, b in sorted(cut)) or "none"


@pytest.mark.parametrize("cut", THREE, ids=name_of)
def test_row_21_three_members(cut: Cut) -> None:
    for seed in range(1, 11 if IS_LONG else 2):
        check(seed, 3, cut)


@pytest.mark.parametrize("cut", FIVE, ids=name_of)
def test_row_21_five_members(cut: Cut) -> None:
    check(5, 5, cut)


def test_the_check_notices_members_that_disturb() -> None:
    """A member that hears nobody deposes leaders when nothing refuses it: that must be seen."""
    with (
        planted("vote-without-log-check"),
        patched_stickiness(),
        pytest.raises((AssertionError, Violation)),
    ):
        for cut in THREE:
            check(1, 3, cut)


@contextlib.contextmanager
def patched_stickiness() -> Iterator[None]:
    original = RaftCore._has_living_leader
    RaftCore._has_living_leader = lambda _: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        RaftCore._has_living_leader = original  # type: ignore[method-assign]
