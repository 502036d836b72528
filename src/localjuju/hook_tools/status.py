"""status-set, status-get, is-leader, leader-get, leader-set, goal-state: who is how."""

from datetime import datetime, timezone
from typing import Any

from localjuju import status_rules
from localjuju.entities import Records, Relation, Status, Unit
from localjuju.errors import JujuError, UsageError
from localjuju.formats import Ordered, go_quote
from localjuju.hook_tools.call import Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, FORMAT_YAML, check_empty, key_values, switch
from localjuju.resolver.state import ALIVE, DEAD

SETTABLE = ("maintenance", "blocked", "waiting", "active")
NOT_LEADER = "this unit is not the leader"


def status_set(call: Call) -> str:
    """Set the unit's (or application's) status at once."""
    words = call.words
    if not words:
        raise UsageError("invalid args, require <status> [message]")
    if words[0] not in SETTABLE:
        raise UsageError(
            f"invalid status {go_quote(words[0])}, expected one of [{' '.join(SETTABLE)}]"
        )
    check_empty(words[2:])
    context = call.context
    status = Status(words[0], words[1] if len(words) > 1 else "", context.book.now())
    with context.book.change():
        if call.has("application"):
            if not context.is_leader():
                raise JujuError(NOT_LEADER)
            context.app.status = status
        else:
            status_rules.set_workload(context.unit, status)
    return ""


def status_get(call: Call) -> str:
    """Print the unit's status as it was when first asked for in this run."""
    check_empty(call.words)
    context = call.context
    plain = not call.has("include-data") and call.text("format") == "smart"
    if call.has("application"):
        if not context.is_leader():
            raise JujuError(f"finding application status: {NOT_LEADER}")
        whole = status_rules.application_status(context.records, context.app)
        if plain:
            return call.render(whole.current)
        details = _details(whole, data=call.has("include-data"))
        details["units"] = {
            unit.name: _details(unit.workload, data=call.has("include-data"))
            for unit in context.records.units_of(context.app.name)
        }
        return call.render({"application-status": details})
    if context.status_seen is None:
        context.status_seen = _details(context.unit.workload, data=True)
    seen = context.status_seen
    if plain:
        return call.render(seen["status"])
    return call.render(seen if call.has("include-data") else {"status": seen["status"]})


def _details(status: Status, *, data: bool) -> dict[str, Any]:
    details: dict[str, Any] = {"status": status.current}
    if data:
        details["message"] = status.message
        details["status-data"] = dict(status.data)
    return details


def is_leader(call: Call) -> str:
    """Print whether this unit leads."""
    check_empty(call.words)
    return call.render(call.context.is_leader())


def leader_get(call: Call) -> str:
    """Print leadership settings."""
    key = call.words[0] if call.words else ""
    if "=" in key:
        raise UsageError(f"invalid key {go_quote(key)}")
    check_empty(call.words[1:])
    context = call.context
    if context.leader_settings_seen is None:
        context.leader_settings_seen = dict(context.app.leader_settings)
    settings = context.leader_settings_seen
    if key and key != "-":
        return call.render(settings.get(key))
    return call.render(dict(settings))


def leader_set(call: Call) -> str:
    """Write leadership settings at once."""
    settings = key_values(call.words)
    context = call.context
    with context.book.change():
        if not context.is_leader():
            raise JujuError(
                "cannot write leadership settings: cannot write settings: not the leader"
            )
        context.leader_settings_seen = None
        present = dict(context.app.leader_settings)
        for key, value in settings.items():
            if value:
                present[key] = value
            else:
                present.pop(key, None)
        if present != context.app.leader_settings:
            context.app.leader_settings = present
            context.app.leader_settings_version += 1
    return ""


def goal_state(call: Call) -> str:
    """Print the units and relations that are meant to be."""
    check_empty(call.words)
    context = call.context
    records = context.records
    units = {
        unit.name: _goal(unit) for unit in records.units_of(context.app.name) if unit.life != DEAD
    }
    relations: dict[str, dict[str, Any]] = {}
    for relation in records.relations_of(context.app.name):
        if relation.is_peer or relation.life != ALIVE:
            continue
        own = relation.end_of(context.app.name)
        assert own is not None
        relations.setdefault(own.endpoint, {}).update(
            _goal_relation(records, relation, context.app.name)
        )
    return call.render(Ordered(units=units, relations=relations))


def _goal_relation(records: Records, relation: Relation, app: str) -> dict[str, Any]:
    remote = relation.other_end(app).app
    found: dict[str, Any] = {
        remote: Ordered(
            status=status_rules.relation_status(relation), since=_since(relation.since)
        )
    }
    for unit in records.units_of(remote):
        if unit.life != DEAD:
            found[unit.name] = _goal(unit)
    for name in relation.members:
        # A remote application that lives in another model has no units here.
        if remote not in records.applications and name.partition("/")[0] == remote:
            found[name] = Ordered(status="active", since=_since(relation.since))
    return found


def _goal(unit: Unit) -> Ordered:
    status = unit.workload if unit.life == ALIVE else Status("dying", since=unit.agent.since)
    return Ordered(status=status.current, since=_since(status.since))


def _since(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


TOOLS = {
    "status-set": Tool(
        status_set,
        (
            switch(
                "application",
                usage="set this status for the application to which the unit belongs "
                "if the unit is the leader",
            ),
        ),
        "<maintenance | blocked | waiting | active> [message]",
        "Set status information.",
    ),
    "status-get": Tool(
        status_get,
        (
            *FORMAT_SMART,
            switch("include-data", usage="print all status data"),
            switch(
                "application",
                usage="print status for all units of this application if this unit is the leader",
            ),
        ),
        "[--include-data] [--application]",
        "Print status information.",
    ),
    "is-leader": Tool(is_leader, FORMAT_SMART, "", "Print application leadership status."),
    "leader-get": Tool(
        leader_get, FORMAT_SMART, "[<key>]", "Print application leadership settings."
    ),
    "leader-set": Tool(
        leader_set, (), "<key>=<value> [...]", "Write application leadership settings."
    ),
    "goal-state": Tool(
        goal_state, FORMAT_YAML, "", "Print the status of the charm's peers and related units."
    ),
}
