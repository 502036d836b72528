"""What goes by itself, and when."""

from __future__ import annotations

from raftkv.store.auto_compaction import REVISION_EVERY_MS, AutoCompaction, Mode

MINUTE = 60_000


def test_history_of_the_retained_time_stays() -> None:
    compaction = AutoCompaction(Mode.PERIODIC, 60 * MINUTE)
    found: list[tuple[int, int]] = []
    for minute in range(180):  # a revision a minute
        target = compaction.step(minute * MINUTE, minute, leads=True)
        if target:
            found.append((minute, target))
    assert found
    for minute, target in found:
        assert 60 <= minute - target <= 66
    assert found[-1][0] > 170


def test_a_new_leader_begins_anew_and_keeps_longer() -> None:
    compaction = AutoCompaction(Mode.PERIODIC, 10 * MINUTE)
    for minute in range(9):
        compaction.step(minute * MINUTE, 100 + minute, leads=True)
    assert compaction.step(9 * MINUTE, 200, leads=False) == 0
    assert all(not compaction.step(m * MINUTE, 200 + m, leads=True) for m in range(10, 20))
    assert compaction.step(20 * MINUTE, 300, leads=True) == 210


def test_so_many_revisions_stay() -> None:
    compaction = AutoCompaction(Mode.REVISION, 1000)
    assert compaction.step(0, 500, leads=True) == 0
    assert compaction.step(1, 5000, leads=True) == 0  # not looked at yet
    assert compaction.step(REVISION_EVERY_MS, 5000, leads=True) == 4000
    assert compaction.step(2 * REVISION_EVERY_MS, 5000, leads=True) == 0


def test_zero_switches_it_off() -> None:
    for mode in Mode:
        compaction = AutoCompaction(mode, 0)
        assert not any(compaction.step(t * MINUTE, t, leads=True) for t in range(1000))
