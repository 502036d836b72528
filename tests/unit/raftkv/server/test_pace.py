"""How fast snapshots travel, and compactions forget."""

from __future__ import annotations

from raftkv.server.pace import (
    BUSY_BATCHES_PER_S,
    BUSY_BYTES_PER_S,
    FORGET_BACKLOG_MAX,
    FORGET_STEPS_BUSY,
    FORGET_STEPS_QUIET,
    JUDGED_EVERY_S,
    QUIET_BYTES_PER_S,
    Pace,
    forget_steps,
)


def test_a_given_rate_is_kept_whatever_clients_do() -> None:
    pace = Pace(1000, lambda: 7)
    assert [pace.read_bytes_per_s(now_s) for now_s in (0.0, 1.0, 2.0)] == [1000, 1000, 1000]


def test_clients_come_first() -> None:
    applied = 5
    pace = Pace(0, lambda: applied)
    assert pace.read_bytes_per_s(10.0) == BUSY_BYTES_PER_S  # not known yet
    assert pace.read_bytes_per_s(10.0 + JUDGED_EVERY_S / 2) == BUSY_BYTES_PER_S
    applied += int(BUSY_BATCHES_PER_S * JUDGED_EVERY_S)
    assert pace.read_bytes_per_s(10.0 + JUDGED_EVERY_S) == QUIET_BYTES_PER_S
    applied += int(BUSY_BATCHES_PER_S * JUDGED_EVERY_S) + 1
    assert pace.read_bytes_per_s(10.0 + 2 * JUDGED_EVERY_S) == BUSY_BYTES_PER_S


def test_forgetting_is_small_beside_writes_and_never_slower_than_they_are() -> None:
    assert forget_steps(0, 0, is_busy=False) == FORGET_STEPS_QUIET
    assert forget_steps(FORGET_BACKLOG_MAX, 0, is_busy=True) == FORGET_STEPS_BUSY
    assert forget_steps(0, 5000, is_busy=True) >= 2 * 5000


def test_forgetting_waits_for_the_flush_thread() -> None:
    assert forget_steps(FORGET_BACKLOG_MAX + 1, 5000, is_busy=False) == 0
