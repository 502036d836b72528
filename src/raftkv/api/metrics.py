"""``/metrics`` in Prometheus' text form, under etcd 3.4's names, so that its dashboards and alerts work.

The number of series is fixed by the methods served and the members known; keys and users never
make one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from etcdwire.errors import Code
from raftkv.api.figures import Histogram
from raftkv.api.host import Host
from raftkv.api.v3_maintenance import API_VERSION
from raftkv.values import NO_MEMBER

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Figure:
    """One unlabelled figure."""

    name: str
    kind: str
    text: str
    value: Callable[[Host], float]


FIGURES: Final = (
    Figure(
        "etcd_server_has_leader",
        "gauge",
        "Whether this member knows a leader: 1 or 0.",
        lambda h: int(h.leader_id != NO_MEMBER),
    ),
    Figure(
        "etcd_server_is_leader",
        "gauge",
        "Whether this member leads: 1 or 0.",
        lambda h: int(h.leader_id == h.member_id),
    ),
    Figure(
        "etcd_server_is_learner",
        "gauge",
        "Whether this member has no vote: 1 or 0.",
        lambda h: int(h.is_learner),
    ),
    Figure(
        "etcd_server_leader_changes_seen_total",
        "counter",
        "Leaders that this member has seen.",
        lambda h: h.figures.leader_changes,
    ),
    Figure(
        "etcd_server_heartbeat_send_failures_total",
        "counter",
        "Heartbeats that could not be sent because this member was busy.",
        lambda _: 0,
    ),
    Figure(
        "etcd_server_proposals_committed_total",
        "gauge",
        "Log index up to which batches of proposals are committed.",
        lambda h: h.commit_index,
    ),
    Figure(
        "etcd_server_proposals_applied_total",
        "gauge",
        "Log index up to which batches of proposals are applied.",
        lambda h: h.applied_index,
    ),
    Figure(
        "etcd_server_proposals_pending",
        "gauge",
        "Batches of proposals of this member without a result yet.",
        lambda h: h.pending_proposals_count,
    ),
    Figure(
        "etcd_server_proposals_failed_total",
        "counter",
        "Proposals that ended without a result.",
        lambda h: h.figures.proposals_failed,
    ),
    Figure(
        "etcd_server_read_indexes_failed_total",
        "counter",
        "Linearizable reads that ended without an answer.",
        lambda h: h.figures.reads_failed,
    ),
    Figure(
        "etcd_server_slow_apply_total",
        "counter",
        "Applies that took too long; a turn of the loop here is bounded instead.",
        lambda _: 0,
    ),
    Figure(
        "etcd_server_health_success",
        "counter",
        "Health checks that succeeded.",
        lambda h: h.figures.health_success,
    ),
    Figure(
        "etcd_server_health_failures",
        "counter",
        "Health checks that failed.",
        lambda h: h.figures.health_failures,
    ),
    Figure(
        "etcd_server_quota_backend_bytes",
        "gauge",
        "Bytes in use at which writes are refused.",
        lambda h: h.limits.quota_bytes,
    ),
    Figure(
        "etcd_mvcc_db_total_size_in_bytes",
        "gauge",
        "Size of the backend's file.",
        lambda h: h.size_bytes(),
    ),
    Figure(
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "gauge",
        "Bytes of it in use.",
        lambda h: h.used_bytes(),
    ),
    Figure(
        "etcd_mvcc_put_total",
        "counter",
        "Keys written, here or by another member's clients.",
        lambda h: h.figures.puts,
    ),
    Figure(
        "etcd_mvcc_delete_total",
        "counter",
        "Keys deleted, here or by another member's clients.",
        lambda h: h.figures.deletes,
    ),
    Figure(
        "etcd_debugging_mvcc_keys_total",
        "gauge",
        "Keys in the index.",
        lambda h: h.machine.kv.keys_count,
    ),
    Figure(
        "etcd_debugging_mvcc_current_revision",
        "gauge",
        "Revision of the store.",
        lambda h: h.machine.kv.revision,
    ),
    Figure(
        "etcd_debugging_mvcc_compact_revision",
        "gauge",
        "Revision up to which history was compacted.",
        lambda h: h.machine.kv.compact_revision,
    ),
    Figure(
        "etcd_debugging_mvcc_watcher_total",
        "gauge",
        "Watchers of v3.",
        lambda h: h.machine.hub.watchers_count,
    ),
    Figure(
        "etcd_debugging_store_watchers",
        "gauge",
        "Watchers of v2.",
        lambda h: h.machine.history_v2.waiters_count,
    ),
    Figure(
        "etcd_network_client_grpc_received_bytes_total",
        "counter",
        "Bytes received from clients.",
        lambda h: h.figures.received_bytes,
    ),
    Figure(
        "etcd_network_client_grpc_sent_bytes_total",
        "counter",
        "Bytes sent to clients.",
        lambda h: h.figures.sent_bytes,
    ),
    Figure(
        "raftkv_log_start_index",
        "gauge",
        "The last entry that the log no longer holds: who lacks it is sent a snapshot.",
        lambda h: h.log_start,
    ),
    Figure(
        "raftkv_loop_longest_turn_seconds",
        "gauge",
        "The longest turn of the loop since this was last read.",
        lambda h: h.figures.longest_turn_s,
    ),
    Figure(
        "raftkv_loop_longest_lag_seconds",
        "gauge",
        "By how much a timer came too late at most, since this was last read.",
        lambda h: h.figures.longest_lag_s,
    ),
    Figure(
        "raftkv_log_longest_sync_seconds",
        "gauge",
        "The longest sync of the log since this was last read.",
        lambda h: h.figures.log_sync.longest,
    ),
    Figure(
        "raftkv_backend_longest_commit_seconds",
        "gauge",
        "The longest commit of the backend since this was last read.",
        lambda h: h.figures.backend_commit.longest,
    ),
)


def render(host: Host) -> bytes:
    """All figures now."""
    figures = host.figures
    lines: list[str] = []
    for figure in FIGURES:
        lines += _head(figure.name, figure.kind, figure.text)
        lines.append(f"{figure.name} {_text(figure.value(host))}")
    figures.longest_turn_s = 0.0
    figures.longest_lag_s = 0.0
    figures.log_sync.longest = figures.backend_commit.longest = 0.0
    lines += _labelled(host)
    lines += _histogram(
        "etcd_disk_wal_fsync_duration_seconds", "Syncs of the log.", [("", figures.log_sync)]
    )
    lines += _histogram(
        "etcd_disk_backend_commit_duration_seconds",
        "Commits of the backend.",
        [("", figures.backend_commit)],
    )
    lines += _peers(host)
    lines += _methods(host)
    lines += _process()
    return ("\n".join(lines) + "\n").encode()


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labelled(host: Host) -> Iterator[str]:
    yield from _head("etcd_server_id", "gauge", "This member's id, as a label.")
    yield f'etcd_server_id{{server_id="{host.member_id:x}"}} 1'
    yield from _head("etcd_server_version", "gauge", "The API level served, as a label.")
    yield f'etcd_server_version{{server_version="{API_VERSION}"}} 1'
    yield from _head("etcd_cluster_version", "gauge", "The cluster's API level, as a label.")
    level = API_VERSION.rpartition(".")[0]
    yield f'etcd_cluster_version{{cluster_version="{level}"}} 1'
    yield from _head(
        "raftkv_cluster_level", "gauge", "What all members understand (raftkv's own)."
    )
    yield f"raftkv_cluster_level {host.membership.level}"


def _histogram(name: str, text: str, rows: list[tuple[str, Histogram]]) -> Iterator[str]:
    """``rows``: (labels with a comma behind, figures)."""
    if not rows:
        return
    yield from _head(name, "histogram", text)
    for labels, histogram in rows:
        reached = 0
        for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
            reached += count
            yield f'{name}_bucket{{{labels}le="{bound:g}"}} {reached}'
        reached += histogram.counts[-1]
        yield f'{name}_bucket{{{labels}le="+Inf"}} {reached}'
        plain = f"{{{labels.rstrip(',')}}}" if labels else ""
        yield f"{name}_sum{plain} {histogram.total:g}"
        yield f"{name}_count{plain} {reached}"


def _peers(host: Host) -> Iterator[str]:
    members = host.membership.members
    peers = [(f"{i:x}", p) for i, p in sorted(host.figures.peers.items()) if i in members]
    yield from _histogram(
        "etcd_network_peer_round_trip_time_seconds",
        "From a heartbeat of this leader to its answer.",
        [(f'To="{name}",', peer.round_trip) for name, peer in peers if peer.round_trip.count],
    )
    for name, label, text, value in (
        ("sent_bytes", "To", "Bytes sent to a peer.", "sent_bytes"),
        ("received_bytes", "From", "Bytes received from a peer.", "received_bytes"),
        ("sent_failures", "To", "Connections to a peer that broke.", "send_failures"),
    ):
        if peers:
            yield from _head(f"etcd_network_peer_{name}_total", "counter", text)
        for peer_name, peer in peers:
            count = getattr(peer, value)
            yield f'etcd_network_peer_{name}_total{{{label}="{peer_name}"}} {count}'


def _methods(host: Host) -> Iterator[str]:
    methods = sorted(host.figures.methods.values(), key=lambda m: (m.service, m.method))
    labels = {
        m: f'grpc_method="{m.method}",grpc_service="{m.service}",grpc_type="{m.kind}"'
        for m in methods
    }
    yield from _head("grpc_server_started_total", "counter", "Calls begun.")
    for method in methods:
        yield f"grpc_server_started_total{{{labels[method]}}} {method.started}"
    yield from _head("grpc_server_handled_total", "counter", "Calls ended, by code.")
    for method in methods:
        yield f'grpc_server_handled_total{{grpc_code="OK",{labels[method]}}} {method.ok}'
        for code, count in sorted(method.failed.items()):
            name = _CODE_NAMES.get(code, "Unknown")
            yield f'grpc_server_handled_total{{grpc_code="{name}",{labels[method]}}} {count}'


_CODE_NAMES: Final = {
    int(code): "OK" if code is Code.OK else code.name.title().replace("_", "") for code in Code
}
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def _process() -> Iterator[str]:
    """What Prometheus' client libraries tell of every process (Linux)."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    limits = Path("/proc/self/limits").read_text().splitlines()
    open_max = next(line.split()[3] for line in limits if line.startswith("Max open files"))
    open_now = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for name, kind, text, value in (
        (
            "process_cpu_seconds_total",
            "counter",
            "Processor time, user and system.",
            (int(stat[11]) + int(stat[12])) / _TICKS,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When this process started.",
            round(boot_s + int(stat[19]) / _TICKS),
        ),
        ("process_virtual_memory_bytes", "gauge", "Address space.", int(stat[20])),
        ("process_resident_memory_bytes", "gauge", "Memory.", int(stat[21]) * _PAGE_BYTES),
        ("process_open_fds", "gauge", "Open file descriptors.", open_now),
        (
            "process_max_fds",
            "gauge",
            "As many may be open.",
            int(open_max) if open_max.isdigit() else -1,
        ),
        ("os_fd_used", "gauge", "Open file descriptors.", open_now),
        ("os_fd_limit", "gauge", "As many may be open.", float(open_max)),
    ):
        yield from _head(name, kind, text)
        yield f"{name} {_text(value)}"
