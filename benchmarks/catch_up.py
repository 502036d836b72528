"""``./run bench catch-up``: what a member that lacks a gigabyte costs the others.

Three members; one is down while 1 GiB is written, and its log is trimmed away. Before it comes
back, and while it catches up, eight clients put as fast as they are answered. Writes
``benchmarks/results/catch-up.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.side_by_side import FLAGS, describe_run  # noqa: E402
from kvclient import Client, KvClientError  # noqa: E402
from tests.kit.servers import Cluster, Process  # noqa: E402

MIB = 1 << 20
CLIENTS = 8
NORMAL_S = 10.0
GIVE_UP_S = 900.0


class Load:
    """Clients that put until told to stop."""

    def __init__(self, endpoint: str) -> None:
        self.count = 0
        self.longest_s = 0.0
        self._endpoint = endpoint
        self._is_over = False
        self._threads = [threading.Thread(target=self._put, args=(i,)) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _put(self, number: int) -> None:
        key, value = b"load/%d" % number, os.urandom(256)
        with Client([self._endpoint], timeout_s=30) as client:
            while not self._is_over:
                began = time.monotonic()
                client.put(key, value)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.count += 1

    def rate_until(
        self, is_over: Callable[[], bool], limit_s: float
    ) -> tuple[float, float, float]:
        """(puts per second, seconds, longest put) until ``is_over()``."""
        self.longest_s = 0.0
        count, began = self.count, time.monotonic()
        while not is_over() and time.monotonic() - began < limit_s:
            time.sleep(0.1)
        elapsed = time.monotonic() - began
        return (self.count - count) / elapsed, elapsed, self.longest_s

    def stop(self) -> None:
        """Let them end."""
        self._is_over = True
        for thread in self._threads:
            thread.join()


def applied(member: Process) -> int:
    """The member's applied index; 0 while it does not answer."""
    try:
        with Client([member.client_url], timeout_s=2) as client:
            return client.status().raft_applied_index
    except KvClientError:
        return 0


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/catch-up.md")
    options = parser.parse_args()
    flags = [*FLAGS, "--snapshot-count=1000", "--quota-backend-bytes=8589934592"]
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with Cluster("raftkv", place, 3, flags) as cluster:
            first, second, behind = cluster.members
            cluster.lead(first)
            load = Load(first.client_url)
            normal, _, normal_longest = load.rate_until(lambda: False, NORMAL_S)
            load.stop()
            behind.kill()
            with Client([first.client_url], timeout_s=30) as client:
                term = client.status().raft_term
                for number in range(options.mib):
                    client.put(b"bulk/%d" % number, os.urandom(MIB))
            load = Load(first.client_url)
            load.rate_until(lambda: False, 3.0)  # past what the log keeps
            behind.start()

            def has_caught_up() -> bool:
                return applied(behind) + 1000 >= applied(second) > 0

            during, seconds, longest = load.rate_until(has_caught_up, GIVE_UP_S)
            load.stop()
            with Client([first.client_url]) as client:
                terms = client.status().raft_term - term
    options.out.write_text(
        f"# A member that lacks {options.mib} MiB catches up\n\n"
        f"Three members, {CLIENTS} clients that put 256 bytes as fast as they are answered "
        f"(`./run bench catch-up`). {describe_run()}.\n\n"
        "| | puts per second | longest put |\n|---|---|---|\n"
        f"| all three members | {normal:.0f} | {normal_longest * 1000:.0f} ms |\n"
        f"| while it catches up ({seconds:.0f} s) | {during:.0f} | {longest * 1000:.0f} ms |\n\n"
        f"Writes went on at {during / normal:.0%} of the normal rate; the leader changed {terms} "
        "times.\n"
    )
    print(options.out.read_text())


if __name__ == "__main__":
    main()
