"""The leader's clock of leases: what is over, what is not, and what a jump of time does."""

from __future__ import annotations

from raftkv.lease import clock as module
from raftkv.lease.clock import LeaseClock
from raftkv.lease.lessor import Lessor

GAP_MS = 1000


def leading(lessor: Lessor) -> LeaseClock:
    clock = LeaseClock(GAP_MS)
    clock.advance(10_000)
    clock.start(lessor, GAP_MS)
    return clock


def run(clock: LeaseClock, lessor: Lessor, start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """(time, lease) of everything that expires, ticking every 100 ms."""
    found = []
    for now in range(start_ms, end_ms, 100):
        clock.advance(now)
        clock.follow(lessor)
        for lease_id in clock.take_expired(lessor):
            found.append((now, lease_id))
            lessor.remove(lessor.leases[lease_id])
    return found


def test_a_lease_ends_after_its_time_and_not_before() -> None:
    lessor = Lessor()
    clock = leading(lessor)
    lessor.grant(1, 5)
    found = run(clock, lessor, 10_000, 20_000)
    assert found == [(15_100, 1)]  # counted from the tick after it was seen


def test_an_id_that_is_granted_anew_gets_its_own_time() -> None:
    """Revoked and granted between two looks of the clock: the former deadline is not inherited."""
    lessor = Lessor()
    clock = leading(lessor)
    lessor.grant(1, 5)
    assert run(clock, lessor, 10_000, 14_000) == []
    lessor.remove(lessor.leases[1])
    lessor.grant(1, 60)
    clock.follow(lessor)
    assert clock.remaining_ms(1) == 60_000
    assert run(clock, lessor, 14_000, 70_000) == []


def test_keeping_alive_gives_the_whole_time_again() -> None:
    lessor = Lessor()
    clock = leading(lessor)
    lessor.grant(1, 5)
    assert run(clock, lessor, 10_000, 14_000) == []
    assert clock.renew(1, 5)
    assert run(clock, lessor, 14_000, 18_500) == []
    assert run(clock, lessor, 18_500, 30_000) == [(19_000, 1)]


def test_nothing_renews_a_lease_whose_end_is_proposed() -> None:
    lessor = Lessor()
    clock = leading(lessor)
    lessor.grant(1, 2)
    for now in range(10_000, 13_000, 100):
        clock.advance(now)
        clock.follow(lessor)
        if clock.take_expired(lessor):
            break
    assert not clock.renew(1, 2)
    assert clock.remaining_ms(1) is None
    for later in range(now, now + module.RETRY_MS + 200, 100):  # the proposal got lost
        clock.advance(later)
        if clock.take_expired(lessor):
            return
    raise AssertionError("never proposed again")


def test_row_35_a_jump_of_the_clock_counts_as_one_election_timeout() -> None:
    for jump_ms in (86_400_000, 3_600_000, -86_400_000):
        lessor = Lessor()
        clock = leading(lessor)
        lessor.grant(1, 10)
        assert run(clock, lessor, 10_000, 12_000) == []
        found = run(clock, lessor, 12_000 + jump_ms, 40_000 + jump_ms)
        ((when, _),) = found
        assert 7_000 <= when - 12_000 - jump_ms <= 9_000


def test_a_new_leader_gives_what_is_left_and_an_election_timeout_more() -> None:
    lessor = Lessor()
    lessor.grant(1, 5)
    lessor.grant(2, 1000)
    lessor.checkpoint(2, 3)
    clock = leading(lessor)
    assert run(clock, lessor, 10_000, 20_000) == [(14_000, 2), (16_000, 1)]


def test_row_35_a_storm_of_expiry_is_spread() -> None:
    lessor = Lessor()
    clock = leading(lessor)
    for lease_id in range(1, 3001):
        lessor.grant(lease_id, 2)
    found = run(clock, lessor, 10_000, 20_000)
    assert len(found) == 3000
    per_tick: dict[int, int] = {}
    for now, _ in found:
        per_tick[now] = per_tick.get(now, 0) + 1
    assert max(per_tick.values()) <= module.EXPIRE_PER_TICK
    assert max(per_tick) <= 13_000  # all of them within a second


def test_what_is_left_is_noted_now_and_then_unless_it_is_kept_alive() -> None:
    lessor = Lessor()
    clock = leading(lessor)
    lessor.grant(1, 3600)
    lessor.grant(2, 3600)
    noted: list[tuple[int, int, int]] = []
    for now in range(10_000, 1_000_000, 1000):
        clock.advance(now)
        clock.follow(lessor)
        if now % 100_000 == 0:
            assert clock.renew(2, 3600)
        for lease_id, left_s in clock.take_checkpoints(lessor):
            noted.append((now, lease_id, left_s))
            lessor.checkpoint(lease_id, left_s)
    assert {lease_id for _, lease_id, _ in noted} == {1}
    assert [3600 - left for _, _, left in noted] == [299, 599, 899]
