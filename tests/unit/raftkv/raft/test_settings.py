"""Timeouts that cannot work together are refused at once."""

from __future__ import annotations

import pytest

from raftkv.raft.settings import RaftSettings


@pytest.mark.parametrize(("election", "heartbeat"), [(1, 1), (5, 5), (5, 0), (3, 4)])
def test_impossible_timeouts(election: int, heartbeat: int) -> None:
    with pytest.raises(ValueError, match="ticks"):
        RaftSettings(election_ticks=election, heartbeat_ticks=heartbeat)
