"""How much of the log may go: never more than the backend holds durably."""

from __future__ import annotations

from raftkv.raft.candidate import Candidate
from raftkv.raft.follower import Follower
from raftkv.raft.leader import Leader
from raftkv.raft.log_view import LogView
from raftkv.raft.settings import RaftSettings

_TRIM_STEP_DIVISOR = 8
"""Trim only when at least this part of the retained entries can go: each trim moves a list."""
_TRIM_ENTRIES_MAX = 20_000
"""Of a log that was held long only so much goes at once: to free 500,000 entries takes 0.1 s."""


def find_trim_index(
    log: LogView, role: Follower | Candidate | Leader, settings: RaftSettings, synced: int
) -> int | None:
    """Return the index up to which the log should be trimmed now; None to leave it.

    Retained are ``retain_entries`` behind the durable state, fewer when they hold more than
    ``retain_bytes``. A leader holds what a follower is still to be sent, within ``hold_entries``
    and ``hold_bytes``: a state that has just been installed is of use only with what follows.
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
    can_hold = log.last - log.start < settings.hold_entries
    if isinstance(role, Leader) and can_hold and log.size_bytes < settings.hold_bytes:
        for progress in role.progress.values():
            needed_after = progress.needed_after
            # One that is behind the log's start gets the state: there is nothing to hold for it.
            if needed_after is not None and needed_after >= log.start:
                target = min(target, needed_after)
    target = min(target, log.start + _TRIM_ENTRIES_MAX)
    return target if target > log.start else None
