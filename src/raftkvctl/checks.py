"""Commands of the v3 mode: ``check perf`` and ``check datascale`` load a cluster and judge it.

The loads and the marks are etcdctl's.
"""

from __future__ import annotations

import argparse
import math
import os
import queue
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from etcdwire import messages as m
from kvclient import Client, KvClientError, prefix_end
from raftkvctl import scraping
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, connect
from raftkvctl.printing import UnsupportedFormatError
from raftkvctl.requests import to_bytes

EXIT_BAD_INPUT: Final = 3
DELETE_TIMEOUT_S: Final = 30.0
SLOWEST_MAX_S: Final = 0.5
DEVIATION_MAX_S: Final = 0.1
RATE_SHARE_MIN: Final = 0.9


@dataclass(frozen=True, slots=True)
class PerfLoad:
    """So many writes a second, by so many clients, for so long."""

    writes_per_s: int
    clients: int
    duration_s: int


@dataclass(frozen=True, slots=True)
class ScaleLoad:
    """So many pairs, by so many clients."""

    pairs: int
    clients: int


_PERF: Final = {
    "s": PerfLoad(150, 50, 60),
    "m": PerfLoad(1000, 200, 60),
    "l": PerfLoad(8000, 500, 60),
    "xl": PerfLoad(15000, 1000, 60),
}
_SCALE: Final = {
    "s": ScaleLoad(10_000, 50),
    "m": ScaleLoad(100_000, 200),
    "l": ScaleLoad(1_000_000, 500),
    "xl": ScaleLoad(3_000_000, 1000),
}
_ALIASES: Final = {"small": "s", "medium": "m", "large": "l", "xLarge": "xl"}


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the family."""
    check = commands.add_parser("check", help="load a cluster and judge it")
    inner = check.add_subparsers(dest="check_command", metavar="COMMAND", required=True)
    for name, run, prefix in (
        ("perf", _perf, "/etcdctl-check-perf/"),
        ("datascale", _datascale, "/etcdctl-check-datascale/"),
    ):
        command = inner.add_parser(name, parents=[common], allow_abbrev=False)
        command.add_argument("--load", default="s", metavar="s|m|l|xl")
        command.add_argument("--prefix", default=prefix)
        command.add_argument("--auto-compact", action="store_true")
        command.add_argument("--auto-defrag", action="store_true")
        command.set_defaults(run=run)


def _model(text: str) -> str:
    name = _ALIASES.get(text, text)
    if name not in _PERF:
        raise UnsupportedFormatError(f"unknown load option {text}")
    return name


@dataclass(slots=True)
class Report:
    """What came of the writes: latencies in seconds, and errors by their text."""

    took_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0

    @property
    def per_s(self) -> float:
        """Writes a second over the whole run."""
        return len(self.took_s) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def deviation_s(self) -> float:
        """Standard deviation of the latencies."""
        if not self.took_s:
            return 0.0
        mean = sum(self.took_s) / len(self.took_s)
        return math.sqrt(sum((t - mean) ** 2 for t in self.took_s) / len(self.took_s))


class Writers:
    """Clients that put what is queued, each on a connection of its own."""

    def __init__(self, options: Options, count: int, written: Callable[[], None]) -> None:
        self.report = Report()
        self._written = written
        self._lock = threading.Lock()
        self._queue: queue.Queue[tuple[bytes, bytes] | None] = queue.Queue(count)
        self._threads = [
            threading.Thread(target=self._run, args=(connect(options),), daemon=True)
            for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, key: bytes, value: bytes) -> None:
        """Hand over one write; waits while all clients are busy."""
        self._queue.put((key, value))

    def finish(self) -> None:
        """Wait for what is queued."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self, client: Client) -> None:
        with client:
            while (pair := self._queue.get()) is not None:
                started = time.monotonic()
                try:
                    client.put(*pair)
                except KvClientError as error:
                    with self._lock:
                        self.report.errors[error.message] += 1
                else:
                    with self._lock:
                        self.report.took_s.append(time.monotonic() - started)
                self._written()


def _is_empty(client: Client, prefix: str) -> bool:
    key = to_bytes(prefix)
    request = m.RangeRequest(key, prefix_end(key), 1)
    if not client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse).kvs:
        return True
    print(
        f'Error: prefix "{prefix}" has keys. Delete with etcdctl del --prefix {prefix} first.',
        file=sys.stderr,
    )
    return False


def _clean_up(options: Options, arguments: argparse.Namespace) -> None:
    key = to_bytes(arguments.prefix)
    with connect(options) as client:
        request = m.DeleteRangeRequest(key, prefix_end(key))
        path = b"/etcdserverpb.KV/DeleteRange"
        answer = client.call(path, request, m.DeleteRangeResponse, is_write=True)
        revision = answer.header.revision if answer.header is not None else 0
        if arguments.auto_compact:
            print(f"Compacting with revision {revision}")
            client.compact(revision, physical=True)
            print(f"Compacted with revision {revision}")
    if arguments.auto_defrag:
        for endpoint in options.endpoints:
            print(f'Defragmenting "{endpoint}"')
            with connect(options, endpoint) as client:
                client.defragment()
            print(f'Defragmented "{endpoint}"')


def _perf(options: Options, arguments: argparse.Namespace) -> int:
    load = _PERF[_model(arguments.load)]
    with connect(options) as client:
        if not _is_empty(client, arguments.prefix):
            return EXIT_BAD_INPUT
    writers = Writers(options, load.clients, lambda: None)
    report = write_at_rate(writers, to_bytes(arguments.prefix), load)
    _clean_up(options, arguments)
    return judge(report, load)


def write_at_rate(writers: Writers, prefix: bytes, load: PerfLoad) -> Report:
    """Put at a steady rate for the load's time, then wait for what is under way."""
    value = bytes(1024)
    started = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - started) < load.duration_s:
        if sent < passed * load.writes_per_s:
            writers.put(prefix + os.urandom(8).hex().encode().ljust(256, b"\0"), value)
            sent += 1
        else:
            time.sleep(1 / load.writes_per_s)
    writers.finish()
    writers.report.elapsed_s = time.monotonic() - started
    return writers.report


def judge(report: Report, load: PerfLoad) -> int:
    """Print the marks; the exit code."""
    passed = not report.errors
    _print_errors(report)
    writes_per_s = int(report.per_s) + 1
    if report.per_s / load.writes_per_s <= RATE_SHARE_MIN:
        print(f"FAIL: Throughput too low: {writes_per_s} writes/s")
        passed = False
    else:
        print(f"PASS: Throughput is {writes_per_s} writes/s")
    slowest_s = max(report.took_s, default=0.0)
    if slowest_s > SLOWEST_MAX_S:
        print(f"Slowest request took too long: {slowest_s:.6f}s")
        passed = False
    else:
        print(f"PASS: Slowest request took {slowest_s:.6f}s")
    if report.deviation_s > DEVIATION_MAX_S:
        print(f"Stddev too high: {report.deviation_s:.6f}s")
        passed = False
    else:
        print(f"PASS: Stddev is {report.deviation_s:.6f}s")
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


def _print_errors(report: Report) -> None:
    if report.errors:
        print("FAIL: too many errors")
        for text, count in report.errors.items():
            print(f"FAIL: ERROR({text}) -> {count}")


def _datascale(options: Options, arguments: argparse.Namespace) -> int:
    load = _SCALE[_model(arguments.load)]
    with connect(options) as client:
        if not _is_empty(client, arguments.prefix):
            return EXIT_BAD_INPUT
    before = _memory_bytes(options)
    if not before:
        print("FAIL: Could not read process_resident_memory_bytes before the put operations.")
        return 1
    print(
        f"Start data scale check for work load [{load.pairs} key-value pairs, 1024 bytes per "
        f"key-value, {load.clients} concurrent clients].",
        flush=True,
    )
    writers = Writers(options, load.clients, lambda: None)
    prefix = to_bytes(arguments.prefix)
    for _ in range(load.pairs):
        writers.put(prefix + os.urandom(16).hex().encode().ljust(512, b"\0"), bytes(512))
    writers.finish()
    after = _memory_bytes(options)
    if not after:
        print("FAIL: Could not read process_resident_memory_bytes after the put operations.")
        return 1
    _clean_up(options, arguments)
    if writers.report.errors:
        _print_errors(writers.report)
        return 1
    used_mb = (after - before) / (1 << 20)
    print(f"PASS: Approximate system memory used : {used_mb:.2f} MB.")
    return 0


def _memory_bytes(options: Options) -> float:
    """Resident memory of the first endpoint, from its metrics; 0 when it does not tell."""
    text = scraping.fetch(options, options.endpoints[0], "/metrics")
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0
