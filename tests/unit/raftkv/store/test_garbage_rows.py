"""Row ids on their way out of the backend."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from raftkv.store.garbage_rows import BLOCK_ROWS, GarbageRows


def test_rows_leave_in_their_own_order_whatever_the_order_of_the_keys() -> None:
    garbage = GarbageRows()
    count = 5 * BLOCK_ROWS
    for key in range(100):
        garbage.add(list(range(key, count, 100)))
    assert len(garbage) == count
    taken: list[int] = []
    while garbage:
        part = garbage.take(700)
        assert 0 < len(part) <= 700
        taken += part
    assert taken == list(range(count))


def test_no_block_grows_beyond_its_size() -> None:
    garbage = GarbageRows()
    for first in range(0, 20 * BLOCK_ROWS, 3):
        garbage.add([first])
    assert max(map(len, garbage._blocks)) < BLOCK_ROWS


@given(st.lists(st.one_of(st.sets(st.integers(1, 1 << 62), max_size=50), st.integers(0, 60))))
def test_rows_added_between_are_taken_with_the_rest(steps: list[set[int] | int]) -> None:
    garbage, model = GarbageRows(), set[int]()
    for step in steps:
        if isinstance(step, int):
            smallest = sorted(model)[:step]
            assert garbage.take(step) == smallest
            model.difference_update(smallest)
        else:
            garbage.add(sorted(step - model))
            model |= step
        assert len(garbage) == len(model)


def test_nothing_is_taken_from_nothing() -> None:
    assert GarbageRows().take(10) == []
