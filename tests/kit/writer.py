"""Clients that write without pause: what was acknowledged, how long it took, how much there is."""

from __future__ import annotations

import itertools
import os
import threading
import time
from statistics import quantiles
from types import TracebackType

from kvclient import Client, ClientTLS, KvClientError
from tests.kit.waiting import wait_for

MIB = 1 << 20
FILL_BYTES = MIB // 16


def fill(client: Client, prefix: bytes, size_mib: int) -> None:
    """So much that cannot be compressed, 16 keys a MiB: the prefix and six digits."""
    for number in range(size_mib * MIB // FILL_BYTES):
        client.put(prefix + b"%06d" % number, os.urandom(FILL_BYTES))


def p99(times: list[float]) -> float:
    """What 99 in a hundred are not above."""
    return quantiles(times, n=100)[98]


class TimedWriter(threading.Thread):
    """Puts one after another on one member, for as long as its block lasts.

    Keeps how long each took, in seconds; with ``reads`` it also reads, in turn with the puts.
    """

    def __init__(
        self, endpoint: str, *, username: str = "", password: str = "", reads: bool = False
    ) -> None:
        super().__init__()
        self._client = Client([endpoint], timeout_s=30, username=username, password=password)
        self._reads = reads
        self._is_over = False
        self.puts_s: list[float] = []
        self.gets_s: list[float] = []

    def __enter__(self) -> TimedWriter:  # noqa: PYI034 - Self needs Python 3.11
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        self.join()

    def run(self) -> None:
        with self._client as client:
            while not self._is_over:
                began = time.monotonic()
                client.put(b"beat", b"x")
                self.puts_s.append(time.monotonic() - began)
                if self._reads:
                    began = time.monotonic()
                    client.get(b"beat")
                    self.gets_s.append(time.monotonic() - began)


class ContinuousWriter(threading.Thread):
    """Writes ascending numbers to ascending keys, with failover; every acknowledged one counts."""

    def __init__(
        self, endpoints: list[str], tls: ClientTLS | None = None, interval_s: float = 0.0
    ) -> None:
        """Write as fast as it goes, or leave the machine to others for the interval."""
        super().__init__(daemon=True)
        self._endpoints = list(endpoints)
        self._tls = tls
        self._interval_s = interval_s
        self._stopping = threading.Event()
        self.acknowledged: list[tuple[float, int]] = []
        """(when, number)."""
        self.failures_count = 0

    def use_endpoints(self, endpoints: list[str]) -> None:
        """From the next write on."""
        self._endpoints = list(endpoints)

    def run(self) -> None:
        number = 0
        given: list[str] = []
        endpoints: list[str] = []
        client: Client | None = None
        while not self._stopping.wait(self._interval_s):
            if given is not self._endpoints:
                given = self._endpoints
                endpoints = list(given)
                if client is not None:
                    client.close()
                client = None
            if client is None:
                client = Client(endpoints, tls=self._tls, timeout_s=1.0)
            number += 1
            try:
                client.put(b"writer/%08d" % number, b"%d" % number)
            except KvClientError:
                self.failures_count += 1
                client.close()
                client = None
                endpoints = endpoints[1:] + endpoints[:1]
                continue
            self.acknowledged.append((time.monotonic(), number))
        if client is not None:
            client.close()

    def stop(self) -> None:
        """End after the write under way."""
        self._stopping.set()
        self.join(timeout=20)

    def wait_acknowledged(self, count: int, timeout_s: float) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= wanted, timeout_s, f"{count} more writes")

    def longest_pause_s(self, since: int = 0) -> float:
        """The longest gap between two acknowledged writes, from the so manieth on."""
        times = [when for when, _ in self.acknowledged[since:]]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def lost(self, endpoints: list[str], tls: ClientTLS | None = None) -> list[int]:
        """Acknowledged numbers that a linearizable read does not find."""
        acknowledged = list(self.acknowledged)
        with Client(endpoints, tls=tls, timeout_s=10.0) as client:
            found = {int(value) for _, value in client.get_prefix(b"writer/")}
        return [number for _, number in acknowledged if number not in found]
