"""``./run simulate --seeds N [--seed S] [--mutant NAME] [--list-mutants]``.

Prints one line per seed with its trace hash, and the story of each seed that failed. The exit code
is 1 when a seed failed, also when the bug was planted; with ``--mutant`` the first find ends the run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.clusters.cluster import SeedReport
from tests.simulation.clusters.mutants import MUTANTS
from tests.simulation.clusters.run_seed import Failure, run_seed


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds to run")
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--mutant", choices=MUTANTS, help="plant this bug; stop at the first find")
    parser.add_argument("--list-mutants", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quiet", action="store_true", help="no line per good seed")
    arguments = parser.parse_args()
    if arguments.list_mutants:
        print("\n".join(MUTANTS))
        return 0
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    began = time.monotonic()
    failures: list[Failure] = []
    simulated_s = 0.0
    for outcome in _run_all(seeds, arguments.mutant, arguments.jobs):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            _print_failure(outcome, arguments.mutant)
            if arguments.mutant:
                break
        else:
            simulated_s += outcome.simulated_s
            if not arguments.quiet:
                _print_report(outcome)
    elapsed = time.monotonic() - began
    print(
        f"{len(seeds)} seeds, {len(failures)} failed, {simulated_s:.0f} cluster-seconds in "
        f"{elapsed:.1f} s ({simulated_s / elapsed:.0f} per second)"
    )
    if arguments.mutant:
        _conclude_mutant(arguments.mutant, failures, arguments.seed)
    return 1 if failures else 0


def _run_all(seeds: range, mutant: str | None, jobs: int) -> Iterator[SeedReport | Failure]:
    if jobs <= 1 or len(seeds) == 1:
        for seed in seeds:
            yield run_seed(seed, mutant)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(run_seed, seeds, [mutant] * len(seeds), chunksize=1)
        finally:
            pool.shutdown(cancel_futures=True)


def _print_report(report: SeedReport) -> None:
    print(
        f"seed {report.seed:6}  trace {report.trace_hash}  {report.simulated_s:5.1f} s  "
        f"{report.operations_count} operations ({report.completed_count} completed)  "
        f"{report.faults_count} faults  {report.elections_count} elections  "
        f"{report.snapshots_count} snapshots  {report.changes_count} changes",
        flush=True,
    )


def _print_failure(failure: Failure, mutant: str | None) -> None:
    print("\n".join(failure.timeline))
    print(f"seed {failure.seed:6}  trace {failure.trace_hash}  FAILED: {failure.reason}")
    planted = f" --mutant {mutant}" if mutant else ""
    print(f"again: ./run simulate --seeds 1 --seed {failure.seed}{planted}", flush=True)


def _conclude_mutant(mutant: str, failures: list[Failure], first_seed: int) -> None:
    if not failures:
        print(f"mutant {mutant}: NOT FOUND")
        return
    found = failures[0]
    count = found.seed - first_seed + 1
    print(f"mutant {mutant}: found by seed {found.seed} (after {count} seeds): {found.reason}")


if __name__ == "__main__":
    sys.exit(main())
