"""When the backend's transaction ends."""

from __future__ import annotations

import pytest

from raftkv.server.commit_times import BYTES, COMMIT_EVERY_S, COMMIT_LATEST_S, ROWS, CommitTimes

NOW_S = 100.0


@pytest.fixture
def times() -> CommitTimes:
    times = CommitTimes()
    assert times.should_look(NOW_S)
    assert times.is_due(NOW_S), "the first one ends at once"
    times.note_commit(NOW_S)
    return times


def test_little_waits_for_more_but_not_for_ever(times: CommitTimes) -> None:
    times.note_written(ROWS - 1, BYTES - 1)
    assert not times.is_due(NOW_S + COMMIT_EVERY_S)
    assert times.is_due(NOW_S + COMMIT_LATEST_S)
    times.note_commit(NOW_S + COMMIT_LATEST_S)
    assert not times.is_due(NOW_S + COMMIT_LATEST_S + COMMIT_EVERY_S)


@pytest.mark.parametrize(("rows", "size_bytes"), [(ROWS, 0), (1, BYTES)])
def test_much_does_not_wait(times: CommitTimes, rows: int, size_bytes: int) -> None:
    assert not times.should_look(NOW_S + COMMIT_EVERY_S / 2)
    times.note_written(rows, size_bytes)
    assert times.should_look(NOW_S + COMMIT_EVERY_S)
    assert times.is_due(NOW_S + COMMIT_EVERY_S)
    assert not times.should_look(NOW_S + COMMIT_EVERY_S), "looked just now"
