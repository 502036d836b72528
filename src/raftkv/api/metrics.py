"""``/metrics`` in Prometheus' text form, under etcd's names where etcd has the figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raftkv.api.host import Host
from raftkv.values import NO_MEMBER

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


FIGURES: Final[tuple[tuple[str, str, Callable[[Host], int]], ...]] = (
    (
        "etcd_server_has_leader",
        "Whether or not a leader exists. 1 is existence, 0 is not.",
        lambda host: int(host.leader_id != NO_MEMBER),
    ),
    (
        "etcd_server_is_leader",
        "Whether or not this member is a leader. 1 if is, 0 otherwise.",
        lambda host: int(host.leader_id == host.member_id),
    ),
    (
        "etcd_server_is_learner",
        "Whether or not this member is a learner. 1 if is, 0 otherwise.",
        lambda host: int(host.is_learner),
    ),
    (
        "etcd_server_proposals_committed_total",
        "The total number of consensus proposals committed.",
        lambda host: host.commit_index,
    ),
    (
        "etcd_server_proposals_applied_total",
        "The total number of consensus proposals applied.",
        lambda host: host.applied_index,
    ),
    (
        "etcd_disk_wal_fsync_duration_seconds_count",
        "The number of fsync calls of the write-ahead log.",
        lambda host: host.log_syncs_count,
    ),
    (
        "etcd_server_quota_backend_bytes",
        "Current backend storage quota size in bytes.",
        lambda host: host.limits.quota_bytes,
    ),
    (
        "etcd_mvcc_db_total_size_in_bytes",
        "Total size of the underlying database physically allocated in bytes.",
        lambda host: host.size_bytes(),
    ),
    (
        "etcd_mvcc_db_total_size_in_use_in_bytes",
        "Total size of the underlying database logically in use in bytes.",
        lambda host: host.used_bytes(),
    ),
    (
        "etcd_debugging_mvcc_keys_total",
        "Total number of keys.",
        lambda host: host.machine.kv.keys_count,
    ),
    (
        "etcd_debugging_mvcc_current_revision",
        "The current revision of store.",
        lambda host: host.machine.kv.revision,
    ),
    (
        "etcd_debugging_mvcc_watcher_total",
        "Total number of watchers.",
        lambda host: host.machine.hub.watchers_count,
    ),
    (
        "etcd_debugging_store_watchers",
        "Count of currently active watchers.",
        lambda host: host.machine.history_v2.waiters_count,
    ),
)
"""(name, help, value); all are gauges, as etcd declares most of them."""


def render(host: Host) -> bytes:
    """All figures now."""
    return "".join(
        f"# HELP {name} {text}\n# TYPE {name} gauge\n{name} {value(host)}\n"
        for name, text, value in FIGURES
    ).encode()
