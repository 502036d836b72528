"""Row 35: the time of day may jump; leases and TTLs of both APIs go on as if it did not."""

from __future__ import annotations

import time
import urllib.error
from pathlib import Path

import pytest

from kvclient import Client
from tests.integration.daemon.test_restore import put_v2, read_v2
from tests.kit.clocks import WrongClock, find_library
from tests.kit.servers import Cluster, Process
from tests.kit.waiting import wait_for

LIBRARY = find_library()
DAY_S = 86400
TTL_S = 6
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libfaketime to be had")


def is_there_v2(member: Process, key: str) -> bool:
    try:
        return bool(read_v2(member, key))
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False


@pytest.mark.parametrize("offset_s", [DAY_S, -DAY_S])
def test_row_35_a_day_forward_or_back_ends_nothing_early_or_late(
    tmp_path: Path, offset_s: int
) -> None:
    assert LIBRARY is not None
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        clocks = []
        for member in cluster.members:
            member.stop()
            clocks.append(WrongClock(member, LIBRARY))
            member.start()
            cluster.wait_healthy()
        first = cluster.members[0]
        with Client(cluster.endpoints) as client:
            lease = client.lease_grant(TTL_S).lease_id
            client.put(b"on-lease", b"v", lease=lease)
            put_v2(first, "with-ttl", value="v", ttl=TTL_S)
            granted = time.monotonic()
            for clock in clocks:
                clock.set(offset_s)
            for _ in range(4):  # kept alive for longer than its time
                time.sleep(TTL_S / 3)  # the keep-alives of a client are spread in time
                assert client.lease_keep_alive(lease)
                if time.monotonic() - granted < TTL_S - 1:
                    assert is_there_v2(first, "with-ttl"), "ended early"
            assert client.get(b"on-lease") == b"v"
            wait_for(lambda: not is_there_v2(first, "with-ttl"), 10, "v2's TTL ends in time")
            wait_for(lambda: client.get(b"on-lease") is None, TTL_S + 10, "the lease ends in time")
