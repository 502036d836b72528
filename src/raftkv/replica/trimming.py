"""How much of the log may go: never more than the backend holds durably."""

from __future__ import annotations

from raftkv.raft.candidate import Candidate
from raftkv.raft.follower import Follower
from raftkv.raft.leader import Leader
from raftkv.raft.log_view import LogView
from raftkv.raft.progress import ProgressState
from raftkv.raft.settings import RaftSettings

_TRIM_STEP_DIVISOR = 8
"""Trim only when at least this part of the retained entries can go: each trim moves a list."""


def find_trim_index(
    log: LogView, role: Follower | Candidate | Leader, settings: RaftSettings, synced: int
) -> int | None:
    """Return the index up to which the log should be trimmed now; None to leave it.

    Retained are ``retain_entries`` behind the durable state, fewer when they hold more than
    ``retain_bytes``. While a snapshot travels, what follows on it is held.
    """
    durable = min(synced, log.applied)
    target = durable - settings.retain_entries
    excess_bytes = log.retained_bytes(max(target, log.start) + 1, durable + 1)
    excess_bytes -= settings.retain_bytes
    if excess_bytes > 0:
        target = max(target, log.start)
        while excess_bytes > 0 and target < durable:
            target += 1
            excess_bytes -= log.retained_bytes(target, target + 1)
    elif target - log.start < max(1, settings.retain_entries // _TRIM_STEP_DIVISOR):
        return None
    if isinstance(role, Leader) and log.last - log.start < settings.snapshot_hold_entries:
        for progress in role.progress.values():
            if progress.state is ProgressState.SNAPSHOT:
                target = min(target, progress.hold_index)
    return target if target > log.start else None
