"""Attached storage of a living cluster: reboots, mounts that are gone, detaching, full disks.

One story on three units, each with a file system of its own, under continuous writes.
"""

import json

import jubilant
import pytest

from tests.integration.etcd.conftest import ETCD
from tests.integration.etcd.stories import Keys, is_healthy, list_endpoints, wait_healthy
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = [pytest.mark.integration, pytest.mark.long]

WRITES = 20
UNIT = "etcd/1"
DATA = "/var/lib/etcd-charm/data"


@pytest.fixture(scope="module")
def keys(juju, tmp_path_factory):
    juju.model_config({"localjuju-lease-seconds": 5, "update-status-hook-interval": "10s"})
    juju.deploy(ETCD, "etcd", num_units=3, storage={"data": "loop,1G"})
    wait_healthy(juju, 3)
    return Keys(juju, tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def writer(juju, keys):
    """Writes through all members while a test runs; nothing of it may be lost."""
    writer = ContinuousWriter(list_endpoints(juju.status()), keys.tls, 0.05)
    writer.start()
    writer.wait_acknowledged(WRITES, timeout_s=30)
    yield writer
    writer.wait_acknowledged(WRITES, timeout_s=30)
    writer.stop()
    print(f"longest pause {writer.longest_pause_s():.2f} s, {writer.failures_count} failed")
    for endpoint in list_endpoints(juju.status()):
        assert writer.lost([endpoint], keys.tls) == []


def find_mount(juju) -> str:
    return juju.exec(f"dirname $(readlink -f {DATA})", unit=UNIT).stdout.strip()


def find_member(juju) -> str:
    rows = json.loads(juju.run("etcd/0", "members").results["members"])
    return next(row["id"] for row in rows if row["name"] == UNIT.replace("/", ""))


def wait_for_words(juju, words: str, level: str) -> None:
    juju.wait(
        lambda status: (
            words in status.apps["etcd"].units[UNIT].workload_status.message
            and status.apps["etcd"].units[UNIT].workload_status.current == level
        ),
        error=jubilant.any_error,
        successes=1,
    )


def wait_same_member(juju, member: str) -> None:
    juju.wait(lambda status: is_healthy(status, 3), error=jubilant.any_error, successes=1)
    assert find_member(juju) == member


def test_a_machine_is_rebooted_and_its_mount_and_member_are_the_same(juju, writer):
    member, mount = find_member(juju), find_mount(juju)
    look = "systemctl show -p RequiresMountsFor --value raftkvd"
    assert mount in juju.exec(look, unit=UNIT).stdout.split()
    booted = juju.exec("cat /proc/sys/kernel/random/boot_id; uptime -s", unit=UNIT).stdout
    juju.exec("touch /run/before-the-reboot; juju-reboot", unit=UNIT)

    def is_rebooted() -> bool:
        try:
            done = juju.exec("ls /run/before-the-reboot 2>/dev/null || echo gone", unit=UNIT)
        except (jubilant.CLIError, jubilant.TaskError):
            return False
        return done.stdout.strip() == "gone"

    wait_for(is_rebooted, 120, f"{UNIT} boots ({booted.strip()})")
    wait_same_member(juju, member)
    assert juju.exec(f"mountpoint {mount}", unit=UNIT).stdout.strip().endswith("is a mountpoint")
    assert find_mount(juju) == mount


def test_a_mount_that_is_gone_is_no_empty_member(juju, writer):
    member, mount = find_member(juju), find_mount(juju)
    juju.exec(f"systemctl stop raftkvd; umount -l {mount}", unit=UNIT)
    wait_for_words(juju, "the storage of its data is not mounted", "blocked")
    assert juju.exec(f"ls {mount}", unit=UNIT).stdout.strip() == "", "nothing is founded there"
    assert juju.exec("systemctl is-active raftkvd || :", unit=UNIT).stdout.strip() != "active"
    juju.exec("juju-reboot", unit=UNIT)
    wait_same_member(juju, member)


def test_storage_is_detached_from_a_living_unit_and_attached_again(juju, writer):
    member = find_member(juju)
    listed = json.loads(juju.cli("storage", "--format", "json"))["storage"]
    storage = next(name for name, entry in listed.items() if UNIT in entry["attachments"]["units"])
    juju.cli("detach-storage", storage)
    wait_for_words(
        juju, "its storage was detached: attach it again, or remove the unit", "blocked"
    )
    done = juju.exec("systemctl show -p ActiveState,Result raftkvd", unit=UNIT).stdout
    assert set(done.split()) == {"ActiveState=inactive", "Result=success"}, "it stopped cleanly"
    writer.wait_acknowledged(WRITES, timeout_s=30)
    juju.cli("attach-storage", UNIT, storage)
    wait_same_member(juju, member)


def test_a_disk_that_fills_is_said_before_and_when_it_is_full(juju, writer):
    member, mount = find_member(juju), find_mount(juju)
    juju.exec(
        f"free=$(df --output=avail -B1M {mount} | tail -1); "
        f"fallocate -l $((free - 80))M {mount}/ballast",
        unit=UNIT,
    )
    wait_for_words(juju, "% full", "active")
    juju.exec(
        f"free=$(df --output=avail -B1M {mount} | tail -1); "
        f"fallocate -l $((free - 8))M {mount}/more",
        unit=UNIT,
    )
    wait_for_words(juju, "the disk of the data is full", "blocked")
    juju.exec(f"rm {mount}/ballast {mount}/more", unit=UNIT)
    wait_same_member(juju, member)


def test_the_last_byte_is_taken_and_given_back(juju, writer):
    member = find_member(juju)
    juju.cli("fault", "disk-full", UNIT)
    wait_for_words(juju, "the disk of the data is full", "blocked")
    writer.wait_acknowledged(WRITES, timeout_s=60)
    juju.cli("fault", "heal", UNIT)
    wait_same_member(juju, member)


def test_a_read_only_disk_is_said(juju, writer):
    member, mount = find_member(juju), find_mount(juju)
    juju.exec(
        f"systemctl stop raftkvd; mount -o remount,ro {mount}; systemctl start --no-block raftkvd",
        unit=UNIT,
    )
    wait_for_words(juju, "the disk of the data is read-only: see dmesg", "blocked")
    juju.exec(f"mount -o remount,rw {mount}", unit=UNIT)
    wait_same_member(juju, member)
