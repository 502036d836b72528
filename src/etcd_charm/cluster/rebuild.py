"""A cluster whose quorum is lost for good goes on from the survivor with the freshest log.

| who | sees | does |
|---|---|---|
| each unit | a rebuild is recorded | stops its engine, shows the last term and index of its log |
| Juju leader | all units in the model show theirs | names the survivor: highest term, then index |
| survivor | its own name | starts once as the only member, with its whole log |
| Juju leader | survivor shows `rebuilt`, or `failed` | the rebuild is over |

The others then find that they are not on the list: they set their data aside and join anew. A unit
that is in the model and does not answer may hold a fresher log, so the rebuild waits for it until
it answers or is removed by force. So nobody who comes back later can hold a majority.
"""

from etcd_charm.cluster.facts import Facts, LogPosition, Rebuild, RebuildState, UnitName, number_of
from etcd_charm.cluster.steps import (
    AppWrites,
    ForceAlone,
    Plan,
    StopForRebuild,
    Waiting,
    WokenBy,
)

SOON_S = 1
LEAVER_S = 5


def decide_rebuild(facts: Facts) -> Plan | None:
    """Return what this unit does for a rebuild under way, `None` if there is none."""
    order = facts.rebuild
    if order is None:
        return None
    if facts.engine.rebuild_id != order.rebuild_id:
        waiting = Waiting("rebuilding: stopped to compare logs", WokenBy.TIMER, SOON_S)
        return Plan(steps=(StopForRebuild(order.rebuild_id),), waiting=waiting)
    if order.unit == facts.unit and facts.engine.rebuild_state is RebuildState.STOPPED:
        waiting = Waiting("rebuilding: going on alone", WokenBy.TIMER, SOON_S)
        return Plan(steps=(ForceAlone(order.rebuild_id),), waiting=waiting)
    if facts.is_leader:
        missing = sorted(list_missing(facts, order), key=number_of)
        reason = f"rebuilding: waiting for {', '.join(missing)}" if missing else "rebuilding"
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, LEAVER_S))
    who = order.unit or "the comparison of all logs"
    return Plan(waiting=Waiting(f"rebuilding: waiting for {who}", WokenBy.PEER))


def describe_step(facts: Facts) -> str:
    """Return what this unit shows its peers: `a1b2 stopped 3 712`."""
    order = facts.rebuild
    if order is None or facts.engine.rebuild_id != order.rebuild_id:
        return ""
    position = facts.engine.position
    state = facts.engine.rebuild_state.value
    return f"{order.rebuild_id} {state} {position.term} {position.index}"


def parse_step(text: str, order: Rebuild) -> tuple[str, LogPosition] | None:
    """Return state and position of what a unit shows for this rebuild."""
    words = text.split()
    if len(words) != 4 or words[0] != order.rebuild_id:
        return None
    return words[1], LogPosition(int(words[2]), int(words[3]))


def list_shown(facts: Facts, order: Rebuild) -> dict[UnitName, tuple[str, LogPosition]]:
    """Return what each unit in the model shows, this one included."""
    texts = {peer.unit: peer.rebuild_step for peer in facts.peers}
    texts[facts.unit] = describe_step(facts)
    parsed = {unit: parse_step(text, order) for unit, text in texts.items()}
    return {unit: step for unit, step in parsed.items() if step and unit in facts.units_known}


def list_missing(facts: Facts, order: Rebuild) -> frozenset[UnitName]:
    """Return the units in the model that do not show their log yet."""
    return facts.units_known - set(list_shown(facts, order))


def decide_outcome(facts: Facts) -> AppWrites:
    """Return how the Juju leader goes on with a rebuild."""
    order = facts.rebuild
    if order is None or not facts.is_leader:
        return AppWrites()
    shown = list_shown(facts, order)
    if not order.unit:
        if list_missing(facts, order):
            return AppWrites()
        with_log = {unit: step[1] for unit, step in shown.items() if step[1] != LogPosition()}
        if not with_log:
            return AppWrites(rebuild="")
        best = max(with_log, key=lambda unit: (with_log[unit], -number_of(unit)))
        return AppWrites(rebuild=order.name_survivor(best))
    if order.unit not in facts.units_known:
        return AppWrites(rebuild="")
    state = shown[order.unit][0] if order.unit in shown else ""
    if state in (RebuildState.REBUILT.value, RebuildState.FAILED.value):
        return AppWrites(rebuild="")
    return AppWrites()
