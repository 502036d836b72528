"""Counting: what a majority of voters agrees on. Voters only; learners never come here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from raftkv.values import MemberId


def quorum_count(voters_count: int) -> int:
    """Return how many voters make a majority."""
    return voters_count // 2 + 1


def has_quorum(voters: Sequence[MemberId], agreeing: Iterable[MemberId]) -> bool:
    """Tell whether ``agreeing`` holds a majority of ``voters``. An empty cluster has none."""
    agreed = set(agreeing)
    count = 0
    for voter in voters:
        if voter in agreed:
            count += 1
    return count >= quorum_count(len(voters))


def majority_index(matches: list[int]) -> int:
    """Return the highest index that a majority of the voters holds.

    ``matches`` has one value per voter and is sorted in place. Of n ascending values the one at
    (n - 1) // 2 is reached by n - (n - 1) // 2 = n // 2 + 1 voters.
    """
    matches.sort()
    return matches[(len(matches) - 1) // 2]


def is_vote_lost(voters: Sequence[MemberId], votes: Mapping[MemberId, bool]) -> bool:
    """Tell whether so many voters refused that a majority is out of reach."""
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    return len(voters) - refused < quorum_count(len(voters))
