"""Counting against the definition: an index is committed iff a majority reached it."""

from __future__ import annotations

import itertools

import pytest

from raftkv.raft.quorum import has_quorum, is_vote_lost, majority_index, quorum_count
from raftkv.values import MemberId


@pytest.mark.parametrize(("voters", "quorum"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_quorum_count(voters: int, quorum: int) -> None:
    assert quorum_count(voters) == quorum


@pytest.mark.parametrize("count", range(1, 6))
def test_majority_index_is_the_highest_that_a_majority_reached(count: int) -> None:
    for matches in itertools.product(range(4), repeat=count):
        expected = max(
            index
            for index in range(4)
            if sum(match >= index for match in matches) >= quorum_count(count)
        )
        assert majority_index(list(matches)) == expected


@pytest.mark.parametrize("count", range(6))
def test_votes_are_won_lost_or_open(count: int) -> None:
    voters = [MemberId(i) for i in range(1, count + 1)]
    for answers in itertools.product((True, False, None), repeat=count):
        votes = {v: a for v, a in zip(voters, answers, strict=True) if a is not None}
        granted = [v for v, a in votes.items() if a]
        won, lost = has_quorum(voters, granted), is_vote_lost(voters, votes)
        assert not (won and lost)
        if None not in answers:
            assert won or lost


def test_strangers_do_not_count() -> None:
    voters = [MemberId(1), MemberId(2), MemberId(3)]
    assert not has_quorum(voters, [MemberId(1), MemberId(9), MemberId(8)])
