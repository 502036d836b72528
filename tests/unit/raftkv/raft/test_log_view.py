"""The log in memory: marks, conflicts, trimming, what must be written."""

from __future__ import annotations

import pytest

from raftkv.raft.errors import InvariantViolated
from raftkv.raft.log_view import LogView
from raftkv.values import Entry, EntryKind, Index, Term


def entries(*terms: int, first: int = 1) -> tuple[Entry, ...]:
    return tuple(
        Entry(Term(term), Index(first + offset), EntryKind.COMMANDS, bytes(10))
        for offset, term in enumerate(terms)
    )


def log(*terms: int, start: int = 0, start_term: int = 0) -> LogView:
    return LogView(Index(start), Term(start_term), entries(*terms, first=start + 1))


def terms_of(view: LogView) -> list[int | None]:
    return [view.term_at(index) for index in range(view.start + 1, view.last + 1)]


def test_terms_are_known_from_the_trimmed_entry_on() -> None:
    view = log(2, 2, 3, start=5, start_term=1)
    assert [view.term_at(i) for i in range(4, 11)] == [None, 1, 2, 2, 3, None, None]


@pytest.mark.parametrize(
    ("last_index", "last_term", "expected"),
    [(3, 3, True), (4, 3, True), (2, 3, False), (1, 4, True), (9, 2, False)],
)
def test_up_to_date(last_index: int, last_term: int, *, expected: bool) -> None:
    assert log(1, 2, 3).is_up_to_date(last_index, last_term) is expected


@pytest.mark.parametrize(
    ("prev", "new", "result", "replaced"),
    [
        (3, (4,), [1, 1, 2, 4], None),
        (3, (), [1, 1, 2], None),
        (1, (1, 2), [1, 1, 2], None),
        (1, (1,), [1, 1, 2], None),
        (1, (1, 3), [1, 1, 3], 3),
        (1, (3,), [1, 3], 2),
        (2, (2, 4), [1, 1, 2, 4], None),
        (0, (2,), [2], 1),
    ],
)
def test_only_a_conflict_removes_entries(
    prev: int, new: tuple[int, ...], result: list[int], replaced: int | None
) -> None:
    view = log(1, 1, 2)
    assert view.accept(prev, entries(*new, first=prev + 1)) == replaced
    assert terms_of(view) == result
    assert view.last == len(result)
    assert view.last_term == result[-1]


def test_committed_entries_are_never_replaced() -> None:
    view = log(1, 1, 2)
    view.commit = 2
    with pytest.raises(InvariantViolated, match="committed"):
        view.accept(1, entries(9, first=2))


def test_what_must_be_written_is_handed_out_once() -> None:
    view = log(1)
    view.accept(1, entries(2, 2, first=2))
    assert view.take_unwritten() == ([*entries(2, 2, first=2)], None)
    assert view.take_unwritten() == ([], None)
    view.accept(1, entries(3, first=2))
    assert view.has_unwritten
    assert view.take_unwritten() == ([*entries(3, first=2)], 2)


def test_replacing_unwritten_entries_truncates_nothing_on_disk() -> None:
    view = log(1)
    view.accept(1, entries(2, 2, first=2))
    view.accept(1, entries(3, first=2))
    assert view.take_unwritten() == ([*entries(3, first=2)], None)


def test_replacing_moves_the_stable_mark_back() -> None:
    view = log(1, 1, 1)
    view.accept(1, entries(2, first=2))
    assert view.stable == 1


def test_reading_is_limited_by_bytes_but_gives_at_least_one() -> None:
    view = log(1, 1, 1, 1)
    assert len(view.read(1, 1)) == 1
    assert len(view.read(1, 25)) == 2
    assert len(view.read(1, 1000)) == 4
    assert len(view.read(4, 1)) == 1


def test_trimming_keeps_the_last_trimmed_term() -> None:
    view = log(1, 2, 3)
    view.commit = view.applied = 2
    view.trim_to(2)
    assert (view.start, view.start_term, terms_of(view)) == (2, 2, [3])
    with pytest.raises(InvariantViolated, match="trimmed"):
        view.read(2, 100)
    with pytest.raises(InvariantViolated, match="beyond applied"):
        view.trim_to(3)


def test_its_size_follows_all_that_comes_and_goes() -> None:
    view = log(1, 1, 2)
    view.append(entries(2, first=4)[0])
    assert view.size_bytes == 40
    view.accept(2, entries(3, 3, 3, first=3))
    assert (view.last, view.size_bytes) == (5, 50)
    view.commit = view.applied = 2
    view.trim_to(2)
    assert view.size_bytes == 30
    view.reset(9, 3)
    assert view.size_bytes == 0


def test_conflicts_are_skipped_by_whole_terms() -> None:
    view = log(1, 1, 4, 4, 4, 6)
    assert view.find_conflict(6, 5) == (5, 4)
    assert view.find_conflict(5, 3) == (2, 1)
    assert view.find_conflict(9, 9) == (6, 6)
    assert view.find_conflict(2, 0) == (0, 0)


def test_a_gap_at_boot_is_refused() -> None:
    with pytest.raises(InvariantViolated):
        LogView(Index(0), Term(0), entries(1, first=2))


def test_a_reset_leaves_only_the_snapshot() -> None:
    view = log(1, 1)
    view.reset(50, 7)
    assert (view.start, view.last, view.commit, view.applied, view.stable) == (50,) * 5
    assert view.term_at(50) == 7
    assert not view.has_unwritten
