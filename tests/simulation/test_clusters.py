"""Whole clusters under faults. ``SIMULATION_SEEDS=1000`` runs more; ``./run simulate`` shows more.

A failing seed prints its story; ``./run simulate --seeds 1 --seed S`` replays it exactly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.clusters.cluster import FAULTS_MIN, OPERATIONS_MIN, SeedReport
from tests.simulation.clusters.mutants import MUTANTS
from tests.simulation.clusters.run_seed import Failure, run_seed

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "200"))
CHUNK = 10
_ROOT = Path(__file__).parents[2]
_REGRESSIONS = [
    int(line.split()[0])
    for line in (Path(__file__).parent / "regressions.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
QUICK_MUTANTS = {
    "ack-before-fsync": 120,
    "apply-out-of-order": 5,
    "commit-beyond-match": 10,
    "duplicates-applied": 30,
    "learner-counted-as-voter": 30,
    "read-before-own-commit": 30,
    "sessions-not-in-snapshot": 40,
    "snapshot-forgets-configuration": 20,
    "term-not-persisted": 100,
    "torn-writes": 40,
    "truncate-on-stale-append": 60,
    "two-changes-at-once": 60,
    "vote-not-persisted": 80,
    "vote-without-log-check": 50,
}
"""Mutants that are found soon, and the seeds within which they must be. The others are left to
``./run simulate --mutant``."""


def _check(outcome: SeedReport | Failure) -> SeedReport:
    if isinstance(outcome, Failure):
        story = "\n".join(outcome.timeline)
        pytest.fail(f"{story}\nseed {outcome.seed}: {outcome.reason}", pytrace=False)
    return outcome


@pytest.mark.parametrize("first", range(1, SEEDS + 1, CHUNK))
def test_seeds(first: int) -> None:
    for seed in range(first, min(first + CHUNK, SEEDS + 1)):
        report = _check(run_seed(seed))
        assert report.simulated_s >= 30
        assert report.operations_count >= OPERATIONS_MIN
        assert report.faults_count >= FAULTS_MIN


@pytest.mark.parametrize("seed", _REGRESSIONS)
def test_regression(seed: int) -> None:
    _check(run_seed(seed))


@pytest.mark.parametrize("mutant", sorted(QUICK_MUTANTS))
def test_planted_bug_is_found(mutant: str) -> None:
    for seed in range(1, QUICK_MUTANTS[mutant] + 1):
        outcome = run_seed(seed, mutant)
        if isinstance(outcome, Failure):
            assert "DID NOT REPEAT" not in outcome.reason
            assert outcome.timeline
            return
    pytest.fail(f"{mutant} was not found")


def test_every_quick_mutant_exists() -> None:
    assert set(QUICK_MUTANTS) <= set(MUTANTS)


def test_a_seed_gives_the_same_trace_under_any_hash_seed() -> None:
    hashes = set()
    for hash_seed in ("0", "1", "4242"):
        result = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", "2", "--seed", "5"],
            capture_output=True,
            check=True,
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            text=True,
        )
        hashes.add(tuple(line for line in result.stdout.splitlines() if "trace" in line))
    assert len(hashes) == 1
    assert len(hashes.pop()) == 2
