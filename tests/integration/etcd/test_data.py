"""Data that outlives a unit: attached storage, snapshots, forced removals."""

import pytest

from tests.integration.etcd.conftest import EASYRSA, ETCD
from tests.integration.etcd.stories import Curl, wait_healthy

pytestmark = pytest.mark.integration


def test_three_units_at_once_with_storage_and_an_authority(juju, tmp_path):
    juju.deploy(EASYRSA, "easyrsa")
    juju.deploy(ETCD, "etcd", num_units=3, storage={"data": "1G"})
    juju.integrate("etcd:certificates", "easyrsa:client")
    wait_healthy(juju, 3)
    done = juju.exec("readlink /var/lib/etcd-charm/data", unit="etcd/0")
    assert "/storage/data/" in done.stdout
    Curl(juju, tmp_path).put("kept", "for ever")


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
