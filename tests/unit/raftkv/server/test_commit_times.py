"""When the backend's transaction ends."""

from __future__ import annotations

import pytest

from raftkv.server.commit_times import (
    BYTES,
    COMMIT_EVERY_S,
    COMMIT_LATEST_S,
    EAGER_COMMITS,
    ROWS,
    CommitTimes,
)

NOW_S = 100.0


@pytest.fixture
def times() -> CommitTimes:
    times = CommitTimes()
    assert times.is_due(NOW_S, 0), "the first one ends at once"
    times.note_commit(NOW_S)
    return times


def test_little_waits_for_more_but_not_for_ever(times: CommitTimes) -> None:
    times.note_written(ROWS // 2, BYTES - 1)
    assert not times.is_due(NOW_S + COMMIT_EVERY_S, ROWS // 2 - 1)
    assert times.is_due(NOW_S + COMMIT_LATEST_S, 0)
    times.note_commit(NOW_S + COMMIT_LATEST_S)
    assert not times.is_due(NOW_S + COMMIT_LATEST_S + COMMIT_EVERY_S, 1)


@pytest.mark.parametrize(
    ("rows", "size_bytes", "waiting"), [(ROWS, 0, 0), (1, BYTES, 0), (1, 1, ROWS - 1)]
)
def test_much_does_not_wait(times: CommitTimes, rows: int, size_bytes: int, waiting: int) -> None:
    times.note_written(rows, size_bytes)
    assert not times.is_due(NOW_S + COMMIT_EVERY_S * 0.9, waiting)
    assert times.is_due(NOW_S + COMMIT_EVERY_S, waiting)


def test_what_a_compaction_freed_is_soon_to_be_had(times: CommitTimes) -> None:
    times.note_deleted()
    now_s = NOW_S
    for _ in range(1 + EAGER_COMMITS):
        now_s += COMMIT_EVERY_S
        assert times.is_due(now_s, 0)
        times.note_commit(now_s)
    assert not times.is_due(now_s + COMMIT_EVERY_S, 0)
