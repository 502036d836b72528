"""A client that writes without pause and remembers what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time

from kvclient import Client, ClientTLS, KvClientError
from tests.kit.waiting import wait_for


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
