"""A cluster of three goes back to its snapshot, and the seeds' migration, from word to word.

The tests are one story on one model. What was written after the snapshot is gone, revisions never
go back, and a snapshot that is no good stops nothing.
"""

import hashlib

import jubilant
import pytest

from kvclient import KvClientError
from tests.integration.etcd.conftest import ETCD
from tests.integration.etcd.stories import Curl, Keys, leader_of, wait_healthy
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def snapshot(juju, tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshot")
    juju.deploy(ETCD, "etcd", num_units=3)
    wait_healthy(juju, 3)
    Keys(juju, folder).put("kept", "before")
    curl = Curl(juju, folder)
    curl.put("kept", "v2")
    results = juju.run(leader_of(juju.status()), "snapshot").results
    copy = folder / "etcd-snapshot.tar.gz"
    juju.scp(f"{leader_of(juju.status())}:{results['snapshot']['path']}", copy)
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == results["snapshot"]["sha256"]
    return copy, results["snapshot"]["path"]


def is_at_rest(status: jubilant.Status) -> bool:
    return not any(
        "restor" in unit.workload_status.message for unit in status.apps["etcd"].units.values()
    )


def test_row_2_three_members_are_restored_and_revisions_go_on(juju, snapshot, tmp_path):
    _, path = snapshot
    keys = Keys(juju, tmp_path)
    seen = keys.put("written-later", "x")
    leader = leader_of(juju.status())
    results = juju.run(leader, "restore", {"path": path}).results
    assert results["restore"]["state"] == "started"
    juju.wait(is_at_rest, error=jubilant.any_error, successes=1)
    wait_healthy(juju, 3)
    keys = Keys(juju, tmp_path)
    assert keys.get("kept") == "before"
    assert keys.get("written-later") is None
    assert keys.put("written-after", "y") > seen + 1000
    assert keys.read_compaction("kept", seen) > seen, "a watch held across it ends"
    curl = Curl(juju, tmp_path)
    assert {curl.get(address, "kept") for address in curl.addresses()} == {"v2"}


def test_a_snapshot_that_is_no_good_stops_nothing(juju, tmp_path):
    leader = leader_of(juju.status())
    before = juju.exec("systemctl show -p MainPID raftkvd", unit=leader).stdout
    juju.exec("head -c 9999 /dev/urandom >/home/ubuntu/broken.db", unit=leader)
    with pytest.raises(jubilant.TaskError, match="cannot be restored"):
        juju.run(leader, "restore", {"path": "/home/ubuntu/broken.db"})
    assert juju.exec("systemctl show -p MainPID raftkvd", unit=leader).stdout == before
    assert Keys(juju, tmp_path).get("kept") == "before"


def test_the_former_data_is_kept_as_an_archive_and_beside_it(juju):
    leader = leader_of(juju.status())
    assert juju.exec("ls -d /var/lib/etcd-charm/local/aside-*", unit=leader).stdout
    found = juju.exec("ls /home/ubuntu/etcd-data-before-restore-*.tar.gz", unit=leader).stdout
    assert found


def test_the_migration_of_the_seeds_from_word_to_word(juju, snapshot, tmp_path):
    copy, _ = snapshot
    juju.deploy(ETCD, "new-etcd", resources={"snapshot": str(copy)})
    wait_healthy(juju, 1, "new-etcd")
    results = juju.run("new-etcd/0", "restore").results
    assert results["restore"]["state"] == "restored"
    assert results["backup"]["path"].endswith(".tar.gz")
    wait_healthy(juju, 1, "new-etcd")
    juju.add_unit("new-etcd", num_units=2)
    wait_healthy(juju, 3, "new-etcd")
    keys = Keys(juju, tmp_path, "new-etcd")

    def is_there() -> bool:
        try:
            return keys.get("kept") == "before"
        except KvClientError:
            return False

    wait_for(is_there, 30, "the restored key")
