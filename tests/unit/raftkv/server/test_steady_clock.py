"""A time of day that is set while the process runs ends no TTL of v2, and keeps none alive."""

from __future__ import annotations

import time

import pytest

from raftkv.server.steady_clock import SteadyClock

DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("jump_ns", [DAY_NS, -DAY_NS])
def test_row_35_jumps_of_a_day_change_nothing(jump_ns: int) -> None:
    wall, steady = [1_700_000_000 * 10**9], [5 * 10**9]
    clock = SteadyClock(lambda: wall[0], lambda: steady[0])
    assert clock.now_ms() == 1_700_000_000_000
    wall[0] += jump_ns
    steady[0] += 10**9
    assert clock.now_ms() == 1_700_000_001_000


def test_it_begins_with_the_time_of_day() -> None:
    assert abs(SteadyClock().now_ms() - time.time_ns() // 10**6) < 60_000
