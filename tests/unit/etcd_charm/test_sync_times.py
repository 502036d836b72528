"""What the engine's histogram of log syncs says about the disk."""

import math

import pytest

from etcd_charm.workload.sync_times import find_p99_ms, since

FAST = ((0.001, 900), (0.002, 1000), (0.004, 1000), (math.inf, 1000))


def test_the_percentile_lies_between_the_bounds_of_its_bucket():
    assert find_p99_ms(FAST) == 2
    assert find_p99_ms(((0.5, 0), (1.0, 200), (math.inf, 200))) == 995


def test_beyond_the_last_bound_it_is_that_bound():
    assert find_p99_ms(((0.5, 100), (8.192, 150), (math.inf, 200))) == 8192


@pytest.mark.parametrize("buckets", [(), ((0.001, 99), (math.inf, 99))])
def test_too_few_have_none(buckets):
    assert find_p99_ms(buckets) is None


def test_what_was_counted_before_is_taken_off():
    later = ((0.001, 900), (0.002, 1000), (0.004, 1200), (math.inf, 1200))
    lately = since([count for _, count in FAST], later)
    assert lately == ((0.001, 0), (0.002, 0), (0.004, 200), (math.inf, 200))
    assert find_p99_ms(lately) == 4


@pytest.mark.parametrize("before", [(), (1,), (2000, 2000, 2000, 2000)])
def test_an_engine_that_was_started_since_counts_from_nought(before):
    assert since(before, FAST) == FAST
