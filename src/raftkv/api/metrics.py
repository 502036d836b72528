"""``/metrics`` in Prometheus' text form, under etcd's names where etcd has the figure."""

from __future__ import annotations

from typing import Final

from raftkv.api.host import Host
from raftkv.values import NO_MEMBER

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


def render(host: Host) -> bytes:
    """All figures now."""
    is_leader = host.leader_id == host.member_id
    machine = host.machine
    rows: list[tuple[str, str, str, int | float]] = [
        (
            "etcd_server_has_leader",
            "gauge",
            "Whether or not a leader exists. 1 is existence, 0 is not.",
            int(host.leader_id != NO_MEMBER),
        ),
        (
            "etcd_server_is_leader",
            "gauge",
            "Whether or not this member is a leader. 1 if is, 0 otherwise.",
            int(is_leader),
        ),
        (
            "etcd_server_is_learner",
            "gauge",
            "Whether or not this member is a learner. 1 if is, 0 otherwise.",
            int(host.is_learner),
        ),
        (
            "etcd_server_proposals_committed_total",
            "gauge",
            "The total number of consensus proposals committed.",
            host.commit_index,
        ),
        (
            "etcd_server_proposals_applied_total",
            "gauge",
            "The total number of consensus proposals applied.",
            host.applied_index,
        ),
        (
            "etcd_server_quota_backend_bytes",
            "gauge",
            "Current backend storage quota size in bytes.",
            host.limits.quota_bytes,
        ),
        (
            "etcd_mvcc_db_total_size_in_bytes",
            "gauge",
            "Total size of the underlying database physically allocated in bytes.",
            host.size_bytes(),
        ),
        (
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "gauge",
            "Total size of the underlying database logically in use in bytes.",
            host.used_bytes(),
        ),
        (
            "etcd_debugging_mvcc_keys_total",
            "gauge",
            "Total number of keys.",
            machine.kv.keys_count,
        ),
        (
            "etcd_debugging_mvcc_current_revision",
            "gauge",
            "The current revision of store.",
            machine.kv.revision,
        ),
        (
            "etcd_debugging_mvcc_watcher_total",
            "gauge",
            "Total number of watchers.",
            machine.hub.watchers_count,
        ),
        (
            "etcd_debugging_store_watchers",
            "gauge",
            "Count of currently active watchers.",
            machine.history_v2.waiters_count,
        ),
    ]
    out = [
        f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value}\n"
        for name, kind, text, value in rows
    ]
    return "".join(out).encode()
