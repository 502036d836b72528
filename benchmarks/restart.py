"""``./run bench restart``: how long a member with a million keys takes to serve again.

One member of each engine, 1,000,000 keys with values of 256 bytes, written in transactions of 128.
The member is stopped, and started several times, in turns with the other engine; measured is the
time from starting the process to the first answer to a linearizable read, and the memory of its own
(PSS) then. Writes ``benchmarks/results/restart.md``.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.side_by_side import FLAGS, VALUE, describe_run  # noqa: E402
from etcdwire import messages as m  # noqa: E402
from kvclient import Client, KvClientError  # noqa: E402
from tests.kit.servers import Cluster, Process  # noqa: E402

PER_TXN = 128
GIVE_UP_S = 300.0


def fill(member: Process, count: int) -> None:
    """Write the keys."""
    with Client([member.client_url], timeout_s=30) as client:
        for first in range(0, count, PER_TXN):
            client.txn(
                m.TxnRequest(
                    success=[
                        m.RequestOp(request_put=m.PutRequest(b"key/%08d" % number, VALUE))
                        for number in range(first, min(first + PER_TXN, count))
                    ]
                )
            )


def start(member: Process) -> tuple[float, float]:
    """(seconds until it serves, MiB of memory then)."""
    began = time.monotonic()
    member.start()
    with Client([member.client_url], timeout_s=GIVE_UP_S) as client:
        while True:
            try:
                assert client.get(b"key/%08d" % 7) == VALUE
                break
            except KvClientError:
                if time.monotonic() - began > GIVE_UP_S:
                    raise
                time.sleep(0.01)
    elapsed = time.monotonic() - began
    assert member.process is not None
    rollup = Path(f"/proc/{member.process.pid}/smaps_rollup").read_text()
    return elapsed, sum(
        int(kib) for kib in re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)
    ) / 1024


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/restart.md")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {"raftkv": [], "etcd": []}
    with tempfile.TemporaryDirectory() as directory:
        members: dict[str, Process] = {}
        for engine in found:
            place = Path(directory) / engine
            place.mkdir()
            cluster = Cluster(engine, place, 1, FLAGS)
            cluster.__enter__()
            (members[engine],) = cluster.members
            fill(members[engine], options.keys)
            members[engine].stop()
        for _ in range(options.rounds):
            for engine, member in members.items():
                found[engine].append(start(member))
                print(f"{engine}: {found[engine][-1]}", file=sys.stderr)
                member.stop()
    seconds = {engine: statistics.median(s for s, _ in rows) for engine, rows in found.items()}
    memory = {engine: statistics.median(mib for _, mib in rows) for engine, rows in found.items()}
    options.out.write_text(
        f"# Restart with {options.keys:,} keys\n\n"
        f"Values of {len(VALUE)} bytes, one member, medians of {options.rounds} starts of each "
        f"engine in turns (`./run bench restart`). {describe_run()}.\n\n"
        "| engine | until it serves | memory then (PSS) |\n|---|---|---|\n"
        + "".join(f"| {e} | {seconds[e]:.2f} s | {memory[e]:.0f} MiB |\n" for e in found)
        + f"\nraftkv / etcd: {seconds['raftkv'] / seconds['etcd']:.2f} in time, "
        f"{memory['raftkv'] / memory['etcd']:.2f} in memory.\n"
    )
    print(options.out.read_text())


if __name__ == "__main__":
    main()
