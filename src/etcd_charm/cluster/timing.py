"""Timing from measured round trips, for the network profile `measured`.

Each unit shows the slowest round trip to another member, the Juju leader records the slowest of
all, and everybody derives heartbeat and election timeout from that record. A databag that changed
with every measurement would wake all units for ever, so only coarse steps are shown: powers of two
from 64 ms on, upwards at once, downwards only when far below.
"""

from typing import Final

from etcd_charm.cluster.facts import Facts
from etcd_charm.cluster.settings import MEASURED

LEAST_STEP_MS: Final = 64
"""Below this the default heartbeat of 100 ms is right anyway."""
SHRINK_FACTOR: Final = 4


def choose_step(shown_ms: int, measured_ms: int) -> int:
    """Return what is shown from now on: a power of two, or 0 below the least step."""
    step_ms = 0
    if measured_ms >= LEAST_STEP_MS:
        step_ms = LEAST_STEP_MS
        while step_ms < measured_ms:
            step_ms *= 2
    if step_ms > shown_ms or step_ms * SHRINK_FACTOR <= shown_ms:
        return step_ms
    return shown_ms


def decide_shown(facts: Facts, shown_ms: int) -> int:
    """Return the round trip that this unit shows its peers."""
    if facts.settings.network_profile != MEASURED:
        return 0
    measured_ms = facts.view.round_trip_ms if facts.view else 0
    return choose_step(shown_ms, measured_ms) if measured_ms else shown_ms


def decide_record(facts: Facts) -> int | None:
    """Return the round trip that the Juju leader records for all, `None` to leave it."""
    if not facts.is_leader or facts.settings.network_profile != MEASURED:
        return None
    own_ms = facts.view.round_trip_ms if facts.view else 0
    slowest_ms = max([own_ms, *(peer.round_trip_ms for peer in facts.peers)])
    record_ms = choose_step(facts.round_trip_ms, slowest_ms)
    return record_ms if record_ms != facts.round_trip_ms else None
