"""When a leader leaves because of its disk: only for a much faster one, and only if it lasts."""

from __future__ import annotations

import pytest

from raftkv.server.slow_disk import (
    FLOOR_DIVISOR,
    REST_ELECTIONS,
    SAMPLES_MIN,
    WINDOW_ELECTIONS,
    SlowDisk,
)
from raftkv.values import NO_MEMBER, MemberId

ELECTION_MS = 1000
SLOW = [0.2] * SAMPLES_MIN
FAST = [0.004] * SAMPLES_MIN
A, B = MemberId(1), MemberId(2)


def run(
    disk: SlowDisk, start_ms: int, seconds: int, own: list[float], **others: list[float]
) -> list[tuple[int, int]]:
    found = []
    for second in range(seconds):
        now_ms = start_ms + 1000 * second
        to = disk.step(now_ms, own, {MemberId(int(k[1:])): v for k, v in others.items()})
        if to != NO_MEMBER:
            found.append((now_ms, int(to)))
    return found


def test_the_fastest_shall_lead_after_the_window() -> None:
    found = run(SlowDisk(ELECTION_MS), 5000, 30, SLOW, m1=FAST, m2=[0.002] * SAMPLES_MIN)
    assert found == [(5000 + WINDOW_ELECTIONS * ELECTION_MS, B)]


def test_it_rests_after_a_hand_over() -> None:
    found = run(SlowDisk(ELECTION_MS), 1000, 2 * REST_ELECTIONS, SLOW, m1=FAST)
    assert len(found) == 2
    assert found[1][0] - found[0][0] >= REST_ELECTIONS * ELECTION_MS


@pytest.mark.parametrize(
    ("own", "other"),
    [
        (FAST, FAST),
        ([0.9 / FLOOR_DIVISOR] * SAMPLES_MIN, [0.001] * SAMPLES_MIN),
        (SLOW, [0.1] * SAMPLES_MIN),
        (SLOW[1:], FAST),
        (SLOW, FAST[1:]),
    ],
    ids=["fast", "below the floor", "not much slower", "few syncs", "few acknowledgements"],
)
def test_it_stays(own: list[float], other: list[float]) -> None:
    assert run(SlowDisk(ELECTION_MS), 1000, 60, own, m1=other) == []


def test_one_fast_moment_starts_the_window_anew() -> None:
    disk = SlowDisk(ELECTION_MS)
    assert run(disk, 1000, WINDOW_ELECTIONS, SLOW, m1=FAST) == []
    assert run(disk, 11_000, 1, FAST, m1=FAST) == []
    assert run(disk, 12_000, WINDOW_ELECTIONS, SLOW, m1=FAST) == []
