"""``/metrics`` is etcd's: same names, same types, and enough for its public dashboards and alerts."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvclient import Client, RequestError
from tests.kit.servers import Cluster, Process, free_ports
from tests.kit.waiting import wait_for

ETCD = Path(__file__).resolve().parents[2] / "fixtures" / "etcd-3.4.23-metrics.txt"
ALERTED_ON = {
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "grpc_server_handled_total",
    "grpc_server_started_total",
    "process_resident_memory_bytes",
}
"""What the dashboard and the alert rules of etcd's mixin ask for."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("metrics"), size=3) as made:
        with Client(made.endpoints) as client:
            for number in range(20):
                client.put(b"k%d" % number, b"v")
            client.delete(b"k1")
            with pytest.raises(RequestError):
                client.member_remove(12345)
        yield made


def scrape(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def scrape_leader(cluster: Cluster) -> str:
    return next(t for t in map(scrape, cluster.endpoints) if "\netcd_server_is_leader 1\n" in t)


def types_of(text: str) -> dict[str, str]:
    lines = (line.split() for line in text.splitlines() if line.startswith("# TYPE"))
    return {words[2]: words[3] for words in lines}


def test_names_and_types_are_etcds(cluster: Cluster) -> None:
    theirs = dict(line.split() for line in ETCD.read_text().splitlines())
    theirs |= {
        "etcd_network_peer_round_trip_time_seconds": "histogram",
        "etcd_network_peer_sent_bytes_total": "counter",
        "etcd_network_peer_received_bytes_total": "counter",
        "etcd_network_peer_sent_failures_total": "counter",
    }
    for name, kind in types_of(scrape_leader(cluster)).items():
        if not name.startswith("raftkv_"):
            assert theirs[name] == kind, name


def test_what_dashboards_and_alerts_ask_for_is_there(cluster: Cluster) -> None:
    text = scrape_leader(cluster)
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"}
    assert names >= ALERTED_ON
    assert text.count("etcd_network_peer_round_trip_time_seconds_count{To=") == 2
    calls = "".join(map(scrape, cluster.endpoints))  # whichever member the client chose
    assert 'grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV"' in calls
    assert 'grpc_code="NotFound",grpc_method="MemberRemove"' in calls


def test_the_number_of_series_does_not_grow_with_keys_or_names(cluster: Cluster) -> None:
    before = len(scrape(cluster.endpoints[0]).splitlines())
    with Client(cluster.endpoints[:1]) as client:
        for number in range(100):
            client.put(b"series/%d" % number, b"v")
        assert client.get_prefix(b"series/")
    wanted = urllib.request.Request(f"{cluster.endpoints[0]}/nothing/at/all")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(wanted, timeout=5)
    assert len(scrape(cluster.endpoints[0]).splitlines()) <= before + 2


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_promtool_has_nothing_to_say_but_of_etcds_names(cluster: Cluster) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=scrape_leader(cluster),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    for line in done.stderr.splitlines():
        assert '"_total" suffix' in line, line


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not here")
def test_prometheus_scrapes_every_member(cluster: Cluster, tmp_path: Path) -> None:
    targets = [url.removeprefix("http://") for url in cluster.endpoints]
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "etcd", "static_configs": [{"targets": targets}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    arguments = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    process = Process("prometheus", arguments, url, "", tmp_path / "prometheus.log")
    process.start()
    try:
        wait_for(lambda: query(url, 'up{job="etcd"} == 1') == 3, 30, "all are scraped")
        assert query(url, "etcd_server_has_leader == 1") == 3
        assert query(url, "sum(etcd_server_is_leader) == 1") == 1
        quantile = "histogram_quantile(0.99, etcd_disk_wal_fsync_duration_seconds_bucket)"
        assert query(url, quantile) == 3
    finally:
        process.kill()


def query(url: str, expression: str) -> int:
    """How many series an expression gives."""
    address = f"{url}/api/v1/query?query={urllib.parse.quote(expression)}"
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return len(json.load(answer)["data"]["result"])
    except OSError:
        return 0
