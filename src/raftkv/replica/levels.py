"""What a cluster of members of different versions may use: the lowest level among them.

A level is a number for everything that members must understand alike: entries, commands, frames,
and what is chained over their results (``divergence``). Members tell each other theirs when they
connect. Until all have told theirs, and it is above the cluster's, everything is written as
before; then the leader raises the cluster's level by an entry, so that all members change at the
same index. It never falls: a version that knows less is refused from then on, by its peers and by
its own data directory. (etcd's cluster version works alike; that one stays "3.4" here, because
clients read it.)

===== ===================================================================================
level members
===== ===================================================================================
1     the first version with a data directory
2     new voters wait as learners; the chain covers users, leases and alarms; scrubs;
      v2 sets that refresh keep the value
===== ===================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from raftkv.raft.errors import InvariantViolated
from raftkv.values import MemberId

FIRST_LEVEL: Final = 1
LEVEL: Final = 2
"""What this version understands."""
WAITING_VOTERS: Final = 2
CHAIN_OVER_ALL: Final = 2
SCRUBS: Final = 2
REFRESH_BY_SET: Final = 2


def check_level(level: int, understood: int) -> None:
    """Refuse what only a newer version understands.

    Raises:
        InvariantViolated: the cluster is at a higher level.
    """
    if level > understood:
        raise InvariantViolated(
            f"the cluster is at level {level}, this version understands {understood}: "
            "start the newer version again"
        )


def find_level(
    current: int, own: int, others: Iterable[MemberId], told: Mapping[MemberId, int]
) -> int:
    """Return the level that a leader should raise the cluster to; ``current`` to leave it.

    Args:
        current: the cluster's level.
        own: what the leader understands.
        others: all other members, learners too.
        told: what members told on their last connection.
    """
    return max(current, min([own, *(told.get(member, 0) for member in others)]))
