"""Rules of statuses that several rooms need: what is shown, and what an application's is."""

from localjuju.entities import Application, Records, Relation, Status, Unit
from localjuju.resolver.state import ALIVE

SEVERITY = ("error", "blocked", "waiting", "maintenance", "active", "terminated", "unknown")
HISTORY_MAX = 100  # entries per unit, as controllers keep by default


def set_workload(unit: Unit, status: Status) -> None:
    """Record what the charm says about its workload."""
    unit.workload = status
    _remember(unit, "workload", status)


def set_agent(unit: Unit, current: str, message: str, now: float) -> None:
    """Record what the agent does."""
    if (unit.agent.current, unit.agent.message) == (current, message):
        return
    unit.agent = Status(current, message, now)
    _remember(unit, "juju-unit", unit.agent)


def note_failure(unit: Unit, hook: str, now: float) -> None:
    """Keep in the history that a hook failed; what is shown meanwhile is ``shown_workload``'s."""
    _remember(unit, "juju-unit", Status("error", f'hook failed: "{hook}"', now))


def begin_history(unit: Unit) -> None:
    """Keep what a new unit starts as."""
    _remember(unit, "workload", unit.workload)
    _remember(unit, "juju-unit", unit.agent)


def _remember(unit: Unit, kind: str, status: Status) -> None:
    unit.history.append([status.since, kind, status.current, status.message])
    del unit.history[:-HISTORY_MAX]


def shown_workload(unit: Unit) -> Status:
    """Return the workload status as shown: the hook error hides the charm's own words."""
    local = unit.local
    if local.failed and local.hook is not None:
        text = f'hook failed: "{local.hook.name}"'
        since = unit.agent.since
        return Status("error", text, since)
    return unit.workload


def application_status(records: Records, app: Application) -> Status:
    """Return what the leader set, else the worst of the units (the first met wins a tie)."""
    if app.status is not None:
        return app.status
    worst: Status | None = None
    for unit in records.units_of(app.name):
        status = shown_workload(unit)
        if worst is None or _rank(status) < _rank(worst):
            worst = status
    return worst or Status("unknown", "", app.created)


def _rank(status: Status) -> int:
    return SEVERITY.index(status.current) if status.current in SEVERITY else len(SEVERITY)


def relation_status(relation: Relation) -> str:
    """Return joining until a unit of each side has entered, then joined."""
    if relation.suspended:
        return "suspended"
    if relation.life != ALIVE:
        return "broken" if not relation.members else "joined"
    apps = {name.partition("/")[0] for name, m in relation.members.items() if m.in_scope}
    return "joined" if {end.app for end in relation.ends} <= apps else "joining"
