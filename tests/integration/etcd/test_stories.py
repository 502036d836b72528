"""Clients write without pause while the cluster grows, loses a machine, and shrinks to one.

The tests are one story: one model, one writer, and nothing acknowledged may be missing at the end
of any of them. The authority comes last; then Debian's client is asked, from outside of the units.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import jubilant
import pytest

from kvclient import Client, ClientTLS, KvClientError
from tests.integration.etcd.conftest import EASYRSA, ETCD
from tests.integration.etcd.stories import (
    fetch_credentials,
    is_healthy,
    leader_of,
    list_endpoints,
)
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = pytest.mark.integration

WRITE_INTERVAL_S = 0.02
"""Often enough to see every pause, and the machine is left to the hooks."""
FAILOVER_S = 3.0 if os.environ.get("RAFTKV_LONG") else 30.0
LEASE_S = 5


def _count_pause(writer: ContinuousWriter, what: str, action: Callable[[], object]) -> float:
    """Do something under writes; return and print their longest pause."""
    before, failures = len(writer.acknowledged), writer.failures_count
    action()
    writer.wait_acknowledged(20, timeout_s=FAILOVER_S)
    pause_s = writer.longest_pause_s(max(0, before - 1))
    count = len(writer.acknowledged) - before
    failed = writer.failures_count - failures
    print(f"{what}: longest pause {pause_s:.2f} s, {count} writes, {failed} failed")
    return pause_s


class Story:
    """The model, the writer, and what is asked of both again and again."""

    def __init__(self, juju: jubilant.Juju, directory: Path) -> None:
        self.juju = juju
        juju.model_config({"localjuju-lease-seconds": LEASE_S})
        juju.deploy(ETCD, "etcd")
        self.wait(1)
        fetch_credentials(juju, directory)
        files = (directory / name for name in ("ca.crt", "client.crt", "client.key"))
        self.tls = ClientTLS(*map(str, files))
        self.writer = ContinuousWriter(self.endpoints(), self.tls, WRITE_INTERVAL_S)

    def endpoints(self) -> list[str]:
        return list_endpoints(self.juju.status())

    def endpoint(self, unit: str) -> str:
        return f"https://{self.juju.status().apps['etcd'].units[unit].public_address}:2379"

    def wait(self, members: int, gone: tuple[str, ...] = ()) -> jubilant.Status:
        """Wait for healthy members, and for units to be gone; none may fail on the way."""

        def is_done(status: jubilant.Status) -> bool:
            units = status.apps["etcd"].units
            return is_healthy(status, members) and not set(gone) & set(units)

        return self.juju.wait(is_done, error=jubilant.any_error, successes=1)

    def grow(self, members: int) -> None:
        missing = members - len(self.juju.status().apps["etcd"].units)
        self.juju.add_unit("etcd", num_units=missing)
        self.wait(members)
        self.writer.use_endpoints(self.endpoints())

    def shrink(self, *leaving: str) -> None:
        """Remove units; clients have been told before, as a related application would be."""
        units = set(self.juju.status().apps["etcd"].units)
        self.writer.use_endpoints([self.endpoint(unit) for unit in sorted(units - set(leaving))])
        self.juju.remove_unit(*leaving)
        self.wait(len(units) - len(leaving), gone=leaving)

    def find_raft_leader(self, via: str = "") -> str:
        """The unit that leads Raft; its member is called like it, without the slash."""
        with self.client(via) as client:
            leader = client.status().leader_id
            name = next(m.name for m in client.member_list() if m.member_id == leader)
        return f"etcd/{name.removeprefix('etcd')}"

    def client(self, unit: str = "") -> Client:
        endpoints = [self.endpoint(unit)] if unit else self.endpoints()
        return Client(endpoints, tls=self.tls, timeout_s=5.0)

    def move_raft_leader(self, unit: str) -> None:
        """Hand Raft leadership to a unit."""
        present = self.find_raft_leader()
        if present == unit:
            return
        self.juju.run(unit, "transfer-leadership", {"to": unit})
        wait_for(lambda: self.find_raft_leader() == unit, 10, f"{unit} leads Raft")

    def assert_nothing_lost(self, members: int) -> None:
        with self.client() as client:
            found = client.member_list()
        assert len(found) == members
        assert not any(member.is_learner for member in found)
        assert all(member.name for member in found)
        for endpoint in self.endpoints():
            assert self.writer.lost([endpoint], self.tls) == [], endpoint


@pytest.fixture(scope="module")
def story(juju, tmp_path_factory) -> Iterator[Story]:
    story = Story(juju, tmp_path_factory.mktemp("credentials"))
    story.writer.start()
    yield story
    story.writer.stop()
    print(juju.cli("hook-times"))


@pytest.mark.parametrize("members", [3, 5])
def test_units_are_added(story, members):
    _count_pause(story.writer, f"to {members} units", lambda: story.grow(members))
    story.assert_nothing_lost(members)


def test_the_units_that_lead_juju_and_raft_are_removed_at_once(story):
    juju_leader = leader_of(story.juju.status())
    if story.find_raft_leader() == juju_leader:
        others = set(story.juju.status().apps["etcd"].units) - {juju_leader}
        story.move_raft_leader(min(others))
    leaving = (juju_leader, story.find_raft_leader())
    _count_pause(story.writer, f"without {leaving}", lambda: story.shrink(*leaving))
    assert leader_of(story.juju.status()) not in leaving
    assert story.find_raft_leader() not in leaving
    story.assert_nothing_lost(3)


def test_the_machine_of_the_raft_leader_dies_and_comes_back(story):
    juju, writer = story.juju, story.writer
    unit = story.find_raft_leader()
    others = [name for name in juju.status().apps["etcd"].units if name != unit]

    def is_led_by_another() -> bool:
        try:
            return story.find_raft_leader(others[0]) != unit
        except (KvClientError, StopIteration):
            return False  # there is no leader now

    def crash() -> None:
        juju.cli("fault", "crash", unit)
        wait_for(is_led_by_another, 30, "another member leads")

    pause_s = _count_pause(writer, f"{unit} crashed", crash)
    assert pause_s < FAILOVER_S
    for other in others:  # a silent death shows at the next hook
        juju.exec("JUJU_DISPATCH_PATH=hooks/update-status ./dispatch", unit=other)
    assert not is_healthy(juju.status(), 3), "the others have noticed"
    _count_pause(writer, f"{unit} boots", lambda: juju.cli("fault", "start", unit))
    with story.client(unit) as client:
        wait_for(client.health, 60, f"{unit} serves again")
    _count_pause(writer, f"{unit} is back", lambda: story.wait(3))
    story.assert_nothing_lost(3)


def test_the_unit_that_leads_both_is_removed(story):
    unit = leader_of(story.juju.status())
    story.move_raft_leader(unit)
    _count_pause(story.writer, f"without {unit}, leader of both", lambda: story.shrink(unit))
    story.juju.wait(lambda status: leader_of(status) != unit, successes=1)
    story.assert_nothing_lost(2)


def test_one_unit_is_left_and_has_everything(story):
    unit = leader_of(story.juju.status())
    story.move_raft_leader(unit)
    _count_pause(story.writer, f"to one, without {unit}", lambda: story.shrink(unit))
    story.assert_nothing_lost(1)
    lines = story.juju.debug_log(limit=100_000).splitlines()
    failed = [line for line in lines if '" (via hook dispatching' in line and "failed:" in line]
    killed = [line for line in failed if line.endswith("exit status 137")]
    assert failed == killed, "no hook has failed but one that the crash may have killed"
    assert len(killed) <= 1


def _run_etcdctl(*arguments: str, api: int) -> str:
    environment = {**os.environ, "ETCDCTL_API": str(api)}
    done = subprocess.run(
        ["etcdctl", *arguments], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done
    return done.stdout


def test_an_authority_is_related_and_the_distribution_s_client_asks(story, tmp_path):
    if shutil.which("etcdctl") is None:
        pytest.skip("no etcdctl on this machine: Debian has it in etcd-client")
    juju = story.juju
    juju.deploy(EASYRSA, "easyrsa")
    juju.integrate("etcd:certificates", "easyrsa:client")

    def is_signed(status: jubilant.Status) -> bool:
        units = status.apps["etcd"].units
        command = "openssl x509 -noout -issuer -in /etc/etcd/tls/server.crt"
        return is_healthy(status, 3) and all(
            "easyrsa" in juju.exec(command, unit=unit).stdout for unit in units
        )

    juju.add_unit("etcd", num_units=2)
    juju.wait(is_signed, error=jubilant.any_error, successes=1)
    fetch_credentials(juju, tmp_path)
    endpoints = ",".join(story.endpoints())
    ca, certificate, key = (
        str(tmp_path / name) for name in ("ca.crt", "client.crt", "client.key")
    )
    v2 = ("--endpoints", endpoints, "--ca-file", ca, "--cert-file", certificate, "--key-file", key)
    v3 = ("--endpoints", endpoints, "--cacert", ca, "--cert", certificate, "--key", key)
    assert _run_etcdctl(*v2, "set", "/config/database", "one", api=2).strip() == "one"
    assert _run_etcdctl(*v2, "get", "/config/database", api=2).strip() == "one"
    assert _run_etcdctl(*v2, "cluster-health", api=2).strip().endswith("cluster is healthy")
    assert _run_etcdctl(*v2, "member", "list", api=2).count("isLeader=") == 3
    assert _run_etcdctl(*v3, "put", "feature", "on", api=3).strip() == "OK"
    assert _run_etcdctl(*v3, "get", "feature", api=3).split() == ["feature", "on"]
    assert _run_etcdctl(*v3, "endpoint", "health", api=3) is not None
    assert _run_etcdctl(*v3, "member", "list", api=3).count("started") == 3
    statuses = _run_etcdctl(*v3, "endpoint", "status", "-w", "json", api=3)
    assert statuses.count('"Endpoint"') == 3
