"""A member that meets what must not be stops at once and keeps its files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kvclient import Client
from kvclient.errors import KvClientError
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

_BROKEN = """
import sys
from raftkv.raft.errors import InvariantViolated
from raftkv.replica.inputs import Propose
from raftkv.replica.step import Replica
from raftkv.server.main import run

take = Replica._take_propose

def take_propose(self, proposed):
    take(self, proposed)
    if any(b"poison" in command for command in proposed.commands):
        raise InvariantViolated("two and two are five")

Replica._take_propose = take_propose
sys.exit(run(sys.argv[1:]))
"""


def test_it_stops_and_begins_again_with_all_that_was_acknowledged(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3, may_fail=True) as cluster:
        member = cluster.members[0]
        usual = member.arguments
        member.stop()
        module = usual.index("-m")
        member.arguments = [*usual[:module], "-c", _BROKEN, *usual[module + 2 :]]
        assert member.arguments[0] == sys.executable
        member.start()
        cluster.wait_healthy()
        with Client([member.client_url], timeout_s=5) as client:
            client.put(b"before", b"1")
        with Client(cluster.endpoints, timeout_s=20) as client:
            with (
                Client([member.client_url], timeout_s=2) as own,
                pytest.raises(KvClientError),
            ):
                own.put(b"poison", b"1")
            assert member.process is not None
            process = member.process
            wait_for(lambda: process.poll() is not None, 10, "the member stopped")
            assert process.returncode == 1
            text = member.log.read_text()
            assert "two and two are five" in text
            assert "files are kept as they are" in text
            member.arguments = usual
            member.start()
            cluster.wait_healthy()
            found = client.get(b"before")
        assert found is not None
