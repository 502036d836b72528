"""Row 35: many leases through the death of the leader: none ends early, none much too late.

``RAFTKV_LONG=1`` takes 50,000; ``./run test`` a thousand.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from etcdwire import messages as m
from kvclient import Client, KvClientError
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
LEASES = 50_000 if IS_LONG else 1_000
GRANTERS = 8
TTL_S = 90 if IS_LONG else 12
ELECTION_S = 1.0
SPREAD_PER_S = 5_000
"""Leases that end per second (``lease.clock.EXPIRE_PER_TICK``): a storm is spread."""


class Granter(threading.Thread):
    """Grants leases and hangs a key on each."""

    def __init__(self, endpoints: list[str], numbers: range) -> None:
        super().__init__()
        self._endpoints = endpoints
        self._numbers = numbers
        self.granted: dict[bytes, tuple[float, float]] = {}
        """Key to when its lease was asked for, and answered."""

    def run(self) -> None:
        with Client(self._endpoints, timeout_s=20) as client:
            for number in self._numbers:
                began = time.monotonic()
                client.lease_grant(TTL_S, number)
                ended = time.monotonic()
                key = b"lease/%d" % number
                client.put(key, b"x", lease=number)
                self.granted[key] = (began, ended)


class Ends(threading.Thread):
    """Notes when each key goes."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self.gone: dict[bytes, float] = {}

    def run(self) -> None:
        with Client([self._endpoint], timeout_s=600) as client:
            try:
                for answer in client.watch(b"lease/", b"lease0", start_revision=1):
                    now = time.monotonic()
                    for event in answer.events:
                        if event.type == m.EventType.DELETE and event.kv is not None:
                            self.gone[event.kv.key] = now
                    if len(self.gone) == LEASES:
                        return
            except KvClientError:
                return


def writes(endpoint: str) -> bool:
    with Client([endpoint], timeout_s=2) as client:
        try:
            return client.put(b"again", b"x") > 0
        except KvClientError:
            return False


def test_row_35_leases_through_the_death_of_a_leader(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        first, second, _ = cluster.members
        cluster.lead(first)
        per_thread = LEASES // GRANTERS
        granters = [
            Granter(cluster.endpoints, range(1 + i * per_thread, 1 + (i + 1) * per_thread))
            for i in range(GRANTERS)
        ]
        for granter in granters:
            granter.start()
        for granter in granters:
            granter.join()
        granted = {key: times for one in granters for key, times in one.granted.items()}
        assert len(granted) == LEASES
        ends = Ends(second.client_url)
        ends.start()
        killed = time.monotonic()
        first.kill()
        wait_for(lambda: writes(second.client_url), 30, "there is a leader again")
        led = time.monotonic()
        first.start()
        ends.join(TTL_S + LEASES / SPREAD_PER_S + 60)
        assert len(ends.gone) == LEASES, "every lease ends"
        early = [k for k, gone in ends.gone.items() if gone < granted[k][0] + TTL_S]
        assert not early
        # A new leader gives all of them what is left of their time, as it knows it, and an
        # election time-out more.
        latest = led + TTL_S + ELECTION_S + LEASES / SPREAD_PER_S
        slack = 2.0 if IS_LONG else 30.0
        last = max(ends.gone.values())
        print(
            f"{LEASES} leases, leader killed, led again after {led - killed:.2f} s; the last ended "
            f"{last - latest:.2f} s after what they may take"
        )
        assert last <= latest + slack
