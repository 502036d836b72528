"""The actions: results as they always were, failures with a reason."""

import io
import tarfile
from pathlib import Path

import pytest
from ops import testing

from etcd_charm.reconcile.desk import format_size
from etcd_charm.workload.certificates import read_common_name

ARCHIVE = Path("/home/ubuntu/etcd_client_credentials.tar.gz")


def run_action(b, name: str, state: testing.State, **params) -> dict:
    b.run(b.context.on.action(name, params=params), state)
    return b.context.action_results


def test_health_names_each_member(bench):
    b = bench()
    results = run_action(b, "health", b.found())
    assert "etcd0 is healthy" in results["output"]
    assert results["output"].endswith("cluster is healthy with 1 member")
    assert results["healthy"] == "true"


def test_health_of_a_broken_cluster_fails_and_still_says_who(bench):
    b = bench()
    state = b.found()
    b.engine.cluster.found("etcd1", "https://10.0.0.1:2380")
    b.engine.cluster.found("etcd2", "https://10.0.0.2:2380")
    list(b.engine.cluster.members.values())[1].is_running = False
    with pytest.raises(testing.ActionFailed, match="no answer from etcd1"):
        run_action(b, "health", state)
    assert "etcd1 is unreachable" in b.context.action_results["output"]


@pytest.mark.parametrize("name", ["generate-client-certificates", "package-client-credentials"])
def test_credentials_are_an_archive_of_four_files(bench, name):
    b = bench()
    results = run_action(b, name, b.found())
    assert results["copy"]["cmd"] == "juju scp etcd/0:etcd_client_credentials.tar.gz ."
    with tarfile.open(fileobj=io.BytesIO(b.engine.private_files[ARCHIVE])) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
        assert all(member.mode == 0o600 for member in archive)
    assert set(files) == {"client.crt", "client.key", "ca.crt", "README.txt"}
    assert read_common_name(files["client.crt"].decode()) == "operator"
    assert b"PRIVATE KEY" in files["client.key"]
    assert "PRIVATE" not in str(results)


def test_snapshot_says_where_it_is_and_how_to_fetch_it(bench):
    b = bench()
    results = run_action(b, "snapshot", b.found(), target="/mnt/etcd-backups")
    path = "/mnt/etcd-backups/etcd-snapshot-2026-01-02-03.04.05.tar.gz"
    assert results["snapshot"] == {
        "path": path,
        "sha256": "ab" * 32,
        "size": "68K",
        "size-bytes": "69000",
    }
    assert results["copy"]["cmd"] == f"juju scp etcd/0:{path} ."


def test_snapshot_wants_an_absolute_path(bench):
    b = bench()
    state = b.found()
    with pytest.raises(testing.ActionFailed, match="absolute"):
        run_action(b, "snapshot", state, target="backups")


def test_nothing_is_founded_beside_a_cluster(bench):
    b = bench()
    state = b.found()
    with pytest.raises(testing.ActionFailed, match="exists"):
        run_action(b, "bootstrap-again", state)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0"), (1023, "1023"), (69_000, "68K"), (5 << 30, "5G")]
)
def test_sizes_read_like_ls(size_bytes, text):
    assert format_size(size_bytes) == text
