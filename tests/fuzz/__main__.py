"""``python -m tests.fuzz [--minutes M] [--target NAME ...] [--seed S]``: all parsers in turn.

With atheris (``pip install atheris``; CPython on x86 Linux) inputs are chosen by what code they
reach; without it they are mutated blindly. A find ends the run with exit code 1, and its input is
kept below ``tests/fuzz/corpus``, where ``./run test`` tries it from then on. Told at the end, for
each target: inputs, the slowest one, and by how much the process has grown.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.fuzz.mutations import mutate

CORPUS = Path(__file__).parent / "corpus"
SLOW_S = 1.0
GROWTH_KIB_MAX = 256 << 10


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="for all targets together")
    parser.add_argument("--target", action="append", help="one of them; may be repeated")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        return _run_one(options.target[0], options.minutes * 60, options.seed)
    known = sorted(import_module("tests.fuzz.targets").TARGETS)
    names = options.target or known
    for name in names:
        if name not in known:
            parser.error(f"no target {name!r}: one of {', '.join(known)}")
    worst = 0
    for name in names:
        # A process for each: what one has grown by is its own.
        worst |= subprocess.run(
            [sys.executable, "-m", "tests.fuzz", "--in-process", f"--target={name}",
             f"--minutes={options.minutes / len(names)}", f"--seed={options.seed}"], check=False,
        ).returncode  # fmt: skip
    return 1 if worst else 0


def _run_one(name: str, seconds: float, seed: int) -> int:
    if find_spec("atheris") is None:
        return _blind(Trial(name, import_module("tests.fuzz.targets")), seconds, seed)
    atheris = import_module("atheris")  # not among the locked packages
    with atheris.instrument_imports(include=["etcdwire", "raftkv", "raftkvctl"]):
        targets = import_module("tests.fuzz.targets")
    return _guided(Trial(name, targets), seconds, atheris)


class Trial:
    """One target, and what is told of its run."""

    def __init__(self, name: str, targets: Any) -> None:
        self.name = name
        self.corpus: list[bytes] = targets.load_corpus(name)
        self.bytes_max: int = targets.input_bytes_max(name)
        self.count = 0
        self.slowest_s = 0.0
        self._target = targets.TARGETS[name]
        self._grown_from = 0

    def run(self, data: bytes) -> None:
        """Try one input.

        Raises:
            Exception: a find; the input is kept.
        """
        began = time.process_time()
        try:
            self._target.run(data)
        except self._target.errors:
            pass
        except Exception:
            self._keep(data)
            raise
        elapsed = time.process_time() - began
        self.slowest_s = max(self.slowest_s, elapsed)
        self.count += 1
        if elapsed > SLOW_S:
            self._keep(data)
            raise AssertionError(f"{len(data)} bytes took {elapsed:.1f} s")
        if self.count == 1000:
            self._grown_from = self.size_kib
        elif self.count % 1000 == 0 and self.grown_kib > GROWTH_KIB_MAX:
            raise AssertionError(f"the process has grown by {self.grown_kib >> 10} MiB")

    @property
    def size_kib(self) -> int:
        """The most that this process has used."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @property
    def grown_kib(self) -> int:
        """Since its first thousand inputs."""
        return self.size_kib - self._grown_from if self._grown_from else 0

    def _keep(self, data: bytes) -> None:
        folder = CORPUS / self.name
        folder.mkdir(exist_ok=True)
        path = folder / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        print(f"{self.name}: kept as {path}", file=sys.stderr)

    def tell(self, how: str, seconds: float) -> None:
        """One line."""
        print(
            f"{self.name}: {self.count} inputs, {how}, {seconds:.0f} s, the slowest "
            f"{self.slowest_s * 1000:.0f} ms, grown by {self.grown_kib} KiB",
            flush=True,
        )


def _blind(trial: Trial, seconds: float, seed: int) -> int:
    chance = random.Random(f"{trial.name}{seed}")
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        try:
            trial.run(mutate(chance, trial.corpus, trial.bytes_max))
        except Exception:  # noqa: BLE001 - whatever it is, it is what was looked for
            traceback.print_exc()
            return 1
    trial.tell("mutated", time.monotonic() - began)
    return 0


def _guided(trial: Trial, seconds: float, atheris: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(trial.corpus):
            (Path(folder) / str(number)).write_bytes(data)
        began = time.monotonic()

        def one(data: bytes) -> None:
            trial.run(data)
            if time.monotonic() - began > seconds:
                trial.tell("guided by coverage", time.monotonic() - began)
                os._exit(0)  # its own loop has no end

        atheris.Setup(
            [sys.argv[0], folder, f"-max_len={trial.bytes_max}", "-verbosity=0", "-timeout=30",
             "-rss_limit_mb=2048", f"-artifact_prefix={CORPUS / trial.name}-"], one,
        )  # fmt: skip
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
