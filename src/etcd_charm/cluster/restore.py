"""A restore on a cluster of any size, as decisions of each unit.

One unit, the restorer, has prepared and proved the new data before anything stops. Then:

| who | sees | does |
|---|---|---|
| all others | a restore is recorded | stop their engine, show `stopped` |
| restorer | all that stay show `stopped` | swaps its data and starts a cluster of one |
| restorer | the new data does not serve | puts the former data back, shows `failed` |
| Juju leader | restorer shows `restored` | records the new token; the restore is over |
| Juju leader | restorer shows `failed`, or is gone | the restore is over, the token stays |

With the new token recorded, everybody else holds data of a cluster that is not theirs: the rule
for foreign data sets it aside, and they join one after the other. Without it, they start again on
what they have: nothing was lost. Writes stop before the swap, so none is acknowledged by a
cluster that is about to be replaced.
"""

from etcd_charm.cluster.facts import Claim, Facts, Restore, RestoreState, UnitName
from etcd_charm.cluster.steps import AppWrites, Plan, StopMember, SwapRestored, Waiting, WokenBy

STOPPED = "stopped"
SWAP_S = 1
"""The leader's record is the next hook's."""
LEAVER_S = 5
"""A unit on its way out tells nobody when it is gone."""


def decide_restore(facts: Facts) -> Plan | None:
    """Return what this unit does for a restore under way, `None` if there is none."""
    order = facts.restore
    if order is None:
        return None
    if order.unit == facts.unit:
        return _decide_restorer(facts, order)
    reason = f"restoring: stopped, {order.unit} restores"
    if facts.engine.is_running:
        return Plan(steps=(StopMember(),), waiting=Waiting(reason, WokenBy.PEER))
    if facts.is_leader and order.unit not in facts.units_alive:
        return Plan(waiting=Waiting("the restorer is gone", WokenBy.TIMER, SWAP_S))
    return Plan(waiting=Waiting(reason, WokenBy.PEER))


def _decide_restorer(facts: Facts, order: Restore) -> Plan:
    if read_own_state(facts) is not RestoreState.READY:
        return Plan(waiting=Waiting("restoring: recording the outcome", WokenBy.TIMER, SWAP_S))
    others = facts.units_alive - {facts.unit}
    stopped = others & list_stopped(facts, order)
    if stopped != others:
        reason = f"restoring: {len(stopped)} of {len(others)} members stopped"
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, LEAVER_S))
    waiting = Waiting("restoring: starting on the restored data", WokenBy.TIMER, SWAP_S)
    return Plan(steps=(SwapRestored(order.restore_id),), waiting=waiting)


def read_own_state(facts: Facts) -> RestoreState:
    """Return how far this machine is with the restore under way; knowing nothing is failure."""
    if facts.restore is None or facts.engine.restore_id != facts.restore.restore_id:
        return RestoreState.FAILED
    return facts.engine.restore_state


def list_stopped(facts: Facts, order: Restore) -> frozenset[UnitName]:
    """Return the other units that show that their engine is stopped for this restore."""
    shown = f"{order.restore_id} {STOPPED}"
    return frozenset(peer.unit for peer in facts.peers if peer.restore_step == shown)


def describe_step(facts: Facts) -> str:
    """Return what this unit shows its peers about the restore under way."""
    order = facts.restore
    if order is None:
        return ""
    if order.unit == facts.unit:
        return f"{order.restore_id} {read_own_state(facts).value}"
    return "" if facts.engine.is_running else f"{order.restore_id} {STOPPED}"


def decide_outcome(facts: Facts) -> AppWrites:
    """Return how the Juju leader ends a restore, if it is over."""
    order = facts.restore
    if order is None or not facts.is_leader:
        return AppWrites()
    if order.unit == facts.unit:
        state = read_own_state(facts).value
    else:
        steps = {peer.unit: peer.restore_step for peer in facts.peers}
        restore_id, _, state = steps.get(order.unit, "").partition(" ")
        state = state if restore_id == order.restore_id else ""
    if state == RestoreState.RESTORED.value:
        claim = Claim(order.unit, order.token, facts.settings.engine)
        return AppWrites(
            claim=claim, replaces_claim=True, cluster_id="", ends_restore=True, access=""
        )
    if state == RestoreState.FAILED.value or order.unit not in facts.units_alive:
        return AppWrites(ends_restore=True)
    return AppWrites()
