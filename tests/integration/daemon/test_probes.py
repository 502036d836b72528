"""Row 27: who looks after a member's health must not kill one that only waits."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvclient import Client
from tests.conformance.api.runner import Server
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

WATCHDOG_S = 1.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """What the member takes for systemd."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20 * WATCHDOG_S)
        yield listening


def hear(systemd: socket.socket, wanted: bytes) -> None:
    while systemd.recv(1000) != wanted:
        pass


def is_silent(systemd: socket.socket) -> bool:
    """Whether nothing comes for as long as systemd would wait."""
    systemd.settimeout(WATCHDOG_S)
    try:
        systemd.recv(1000)
    except TimeoutError:
        return True
    return False


def test_row_27_the_watchdog_is_fed_by_the_loop_alone(
    tmp_path: Path, systemd: socket.socket
) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        lonely = cluster.members[0]
        lonely.stop()
        lonely.environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
        }
        lonely.start()
        hear(systemd, b"READY=1")
        for other in cluster.members[1:]:
            other.kill()
        for _ in range(4):  # it has no leader from the second on, and lives
            hear(systemd, b"WATCHDOG=1")
        assert lonely.process is not None
        os.kill(lonely.process.pid, signal.SIGSTOP)
        try:
            wait_for(lambda: is_silent(systemd), 20, "who does not turn says nothing")
        finally:
            os.kill(lonely.process.pid, signal.SIGCONT)
        systemd.settimeout(20 * WATCHDOG_S)
        hear(systemd, b"WATCHDOG=1")


def test_row_27_without_a_leader_a_member_is_alive_and_not_ready(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        first = Server(cluster.endpoints[0])
        assert first.ask("GET", "/readyz", b"", "")[0] == 200
        for other in cluster.members[1:]:
            other.kill()

        def has_no_leader() -> bool:
            status, _, body = first.ask("GET", "/readyz", b"", "")
            return status == 503 and b"linearizable_read" in body

        wait_for(has_no_leader, 20, "the probe names what is missing")
        assert first.ask("GET", "/livez", b"", "")[::2] == (200, b"ok\n")
        health = json.loads(first.ask("GET", "/health", b"", "")[2])
        assert health["health"] == "false"
        with Client(cluster.endpoints[:1]) as client:
            assert client.get(b"k", serializable=True) is None
