"""From what lies on the disk to a Raft core."""

from __future__ import annotations

from raftkv.raft.chance import Chance
from raftkv.raft.core import RaftCore
from raftkv.raft.errors import InvariantViolated
from raftkv.raft.log_view import LogView
from raftkv.raft.settings import RaftSettings
from raftkv.replica.inputs import Boot
from raftkv.values import Entry, HardState, Index, MemberId, Term


def view_log(boot: Boot) -> tuple[LogView, bool]:
    """Return the log as the backend allows it, and whether the log on disk must be emptied.

    A crash between installing a snapshot and emptying the log leaves a log that is older than
    the backend, or that conflicts with it: the backend is right, it holds committed state.
    """
    entries: list[Entry] = []
    for entry in boot.entries:
        assert isinstance(entry, Entry)
        entries.append(entry)
    if boot.applied < boot.log_start:
        raise InvariantViolated(
            f"the log starts after {boot.log_start}, but only {boot.applied} is applied"
        )
    log = LogView(boot.log_start, boot.log_start_term, entries)
    is_behind = log.last < boot.applied or (
        boot.applied > 0 and log.term_at(boot.applied) != boot.applied_term
    )
    if is_behind:
        log = LogView(boot.applied, boot.applied_term, ())
    return log, is_behind


def boot_core(settings: RaftSettings, boot: Boot, chance: Chance) -> RaftCore:
    """Build the core from what log and backend hold."""
    log, is_behind = view_log(boot)
    hard_state = HardState(
        Term(boot.hard_state[0]), MemberId(boot.hard_state[1]), Index(boot.hard_state[2])
    )
    log.applied = boot.applied
    log.commit = max(log.commit, boot.applied)
    core = RaftCore(boot.member_id, settings, chance, log, hard_state)
    if is_behind:
        core.discard_log(boot.applied, boot.applied_term)
    return core
