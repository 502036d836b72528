"""``python -m tests.differential --seeds 1000``: etcd and raftkv, the same random requests."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.differential.comparison import compare
from tests.kit.servers import Cluster, command_of


def main() -> int:
    """Run; 1 when something differed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--steps", type=int, default=150, help="requests of each")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so long")
    options = parser.parse_args()
    if command_of("etcd") is None:
        print("etcd is not in PATH", file=sys.stderr)
        return 2
    until = time.monotonic() + options.minutes * 60
    found = 0
    done = 0
    with tempfile.TemporaryDirectory() as directory:
        places = Path(directory) / "etcd", Path(directory) / "raftkv"
        for place in places:
            place.mkdir()
        with Cluster("etcd", places[0]) as theirs, Cluster("raftkv", places[1]) as ours:
            for seed in range(options.first, options.first + options.seeds):
                if options.minutes and time.monotonic() > until:
                    break
                difference = compare(theirs.endpoints[0], ours.endpoints[0], seed, options.steps)
                done += 1
                if difference is not None:
                    found += 1
                    print(difference, flush=True)
    print(f"{done} seeds of {options.steps} requests, {found} with a difference")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
