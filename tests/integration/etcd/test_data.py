"""Data that outlives a unit: attached storage, snapshots, forced removals."""

from pathlib import Path

import jubilant
import pytest

from tests.integration.etcd.conftest import EASYRSA, ETCD
from tests.integration.etcd.stories import Curl, wait_healthy
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.integration


def test_three_units_at_once_with_storage_and_an_authority(juju, tmp_path):
    juju.deploy(EASYRSA, "easyrsa")
    juju.deploy(ETCD, "etcd", num_units=3, storage={"data": "1G"})
    juju.integrate("etcd:certificates", "easyrsa:client")
    juju.wait(jubilant.all_agents_idle)  # one certificate comes after the other
    wait_healthy(juju, 3)
    done = juju.exec("readlink /var/lib/etcd-charm/data", unit="etcd/0")
    assert "/storage/data/" in done.stdout
    Curl(juju, tmp_path).put("kept", "for ever")


def test_row_14_a_member_whose_state_differed_is_rebuilt_from_the_others(juju, tmp_path):
    """The engine's part is tested without Juju: it leaves this file, and ends."""
    data = juju.exec("readlink -f /var/lib/etcd-charm/data", unit="etcd/2").stdout.strip()
    juju.model_config({"update-status-hook-interval": "10s"})
    juju.exec(f"touch {data}/member/diverged; systemctl restart --no-block raftkvd", unit="etcd/2")
    home = Path(data).parent

    def find_aside() -> str:
        return juju.exec(f"ls -d {home}/aside-* 2>/dev/null || :", unit="etcd/2").stdout.strip()

    wait_for(find_aside, 120, "its data is set aside")
    wait_healthy(juju, 3)
    juju.model_config({"update-status-hook-interval": "5m"})
    kept = find_aside()
    assert juju.exec(f"cat {kept}/member/diverged && ls {kept}/member/store", unit="etcd/2")
    curl = Curl(juju, tmp_path)
    assert {curl.get(address, "kept") for address in curl.addresses()} == {"for ever"}


def test_a_snapshot_starts_a_new_application_that_grows(juju, tmp_path):
    path = juju.run("etcd/0", "snapshot").results["snapshot"]["path"]
    copy = tmp_path / "snapshot.tar.gz"
    juju.scp(f"etcd/0:{path}", copy)
    juju.deploy(ETCD, "new-etcd", resources={"snapshot": str(copy)})
    wait_healthy(juju, 1, "new-etcd")
    results = juju.run("new-etcd/0", "restore").results
    assert results["backup"]["path"].endswith(".tar.gz")
    wait_healthy(juju, 1, "new-etcd")
    curl = Curl(juju, tmp_path, "new-etcd")
    assert curl.get(curl.addresses()[0], "kept") == "for ever"
    juju.add_unit("new-etcd")
    wait_healthy(juju, 2, "new-etcd")
    assert {curl.get(address, "kept") for address in curl.addresses()} == {"for ever"}


def test_row_16_a_unit_removed_by_force_is_taken_off_the_list(juju):
    juju.remove_unit("etcd/1", force=True)
    wait_healthy(juju, 2)
