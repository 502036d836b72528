"""A certificate authority is replaced in phases, so that everybody trusts everybody all the time.

| phase | leaves are signed by | trusted are |
|---|---|---|
| `trust` | the old one | both |
| `leaves` | the new one | both |
| over | the new one | the new one; of the client plane both, until an action drops the old |

Each unit shows the phase that its running engine follows, and the Juju leader goes on when all
units do. The new server authority is signed by the old one too, and servers show that with their
certificates: clients that know the old one only need nothing until it ends.
"""

from etcd_charm.cluster.facts import Facts, Rotation
from etcd_charm.cluster.steps import AppWrites

PHASES = ("trust", "leaves")
PLANES = ("peer", "client", "server")


def describe_step(facts: Facts) -> str:
    """Return what this unit shows: the phase that its engine follows."""
    rotation = facts.rotation
    engine = facts.engine
    if rotation is None or not engine.is_running or engine.started_with != facts.wanted:
        return ""
    return f"{rotation.rotation_id} {rotation.phase}"


def awaits_others(facts: Facts) -> bool:
    """Whether another unit has not shown the present phase: its news will wake the leader."""
    rotation = facts.rotation
    if rotation is None:
        return False
    shown = {peer.unit for peer in facts.peers if peer.rotation_step == _name(rotation)}
    return not facts.units_alive <= shown | {facts.unit}


def decide_rotation(facts: Facts) -> AppWrites:
    """Return how the Juju leader goes on with a rotation."""
    rotation = facts.rotation
    if rotation is None or not facts.is_leader:
        return AppWrites()
    shown = {peer.unit for peer in facts.peers if peer.rotation_step == _name(rotation)}
    if describe_step(facts) == _name(rotation):
        shown.add(facts.unit)
    if not facts.units_alive <= shown:
        return AppWrites()
    index = PHASES.index(rotation.phase) + 1
    if index == len(PHASES):
        return AppWrites(rotation="")
    return AppWrites(rotation=Rotation(rotation.rotation_id, rotation.plane, PHASES[index]))


def _name(rotation: Rotation) -> str:
    return f"{rotation.rotation_id} {rotation.phase}"
