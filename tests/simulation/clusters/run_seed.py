"""Run one seed, with or without a mutant, and say what happened."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from raftkv.raft.errors import InvariantViolated
from tests.simulation.clusters.cluster import Cluster, SeedReport
from tests.simulation.clusters.mutants import DISK_MUTANTS, planted
from tests.simulation.clusters.world import Violation, World

TIMELINE_LINES_MAX = 400


@dataclass(frozen=True)
class Failure:
    """A seed that found something, and its story."""

    seed: int
    reason: str
    timeline: list[str]
    trace_hash: str


def run_seed(seed: int, mutant: str | None = None) -> SeedReport | Failure:
    """Run a seed; when it fails, run it again with the timeline on."""
    try:
        return _run(World(seed), mutant)
    except (Violation, InvariantViolated, AssertionError) as first:
        world = World(seed, is_talking=True)
        reason = f"{type(first).__name__}: {first}"
        with contextlib.suppress(Violation, InvariantViolated, AssertionError):
            _run(world, mutant)
            reason += " (DID NOT REPEAT: the simulation is not deterministic)"
        return Failure(seed, reason, world.timeline[-TIMELINE_LINES_MAX:], world.trace_hash())


def _run(world: World, mutant: str | None) -> SeedReport:
    forgets = DISK_MUTANTS.get(mutant or "", frozenset())
    with planted(mutant):
        return Cluster(world, disk_forgets=forgets).run()
