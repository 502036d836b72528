"""relation-ids, -list, -get, -set and -model-get."""

import re

import yaml

from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.call import FORMAT_OLD, RELATION, Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty, key_values, option, switch

APPLICATION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*$")
UNIT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*/(0|[1-9][0-9]*)$")


def relation_ids(call: Call) -> str:
    """List the relations of an endpoint; in a relation hook that of the hook by default."""
    context = call.context
    words = call.words
    endpoint = words[0] if words else ""
    if not words:
        if context.hook is None or context.relation is None:
            raise UsageError("no endpoint name specified")
        endpoint = context.hook.endpoint
    check_empty(words[1:])
    ids = [
        f"{endpoint}:{relation.number}"
        for relation in context.relations()
        if (context.endpoint(relation) == endpoint and relation.life == "alive")
        or (context.endpoint(relation) == endpoint and relation.number == context.relation)
    ]
    return call.render(sorted(ids))


def relation_list(call: Call) -> str:
    """List the joined members, or the remote application."""
    relation = call.required_relation()
    check_empty(call.words)
    if call.has("app"):
        return call.render(call.context.counterpart(relation))
    return call.render(call.context.members(relation))


def relation_get(call: Call) -> str:
    """Print data of a unit or an application."""
    relation = call.required_relation()
    words = list(call.words)
    key = words.pop(0) if words else ""
    key = "" if key == "-" else key
    name, is_app = _target(call, words)
    check_empty(words[1:])
    context = call.context
    if is_app:
        data = context.app_data(relation, name)
    elif name == context.unit_name:
        data = context.own_data(relation)
    else:
        data = context.remote_data(relation, name)
    return call.render(data.get(key) if key else dict(data))


def _target(call: Call, words: list[str]) -> tuple[str, bool]:
    """Return whose data is meant and whether it is an application's."""
    context = call.context
    is_app = call.has("app")
    if words:
        name = words[0]
        if is_app:
            return name.partition("/")[0], True
        if not UNIT.match(name):
            if APPLICATION.match(name):
                raise UsageError(f"expected unit name, got application name {go_quote(name)}")
            raise UsageError(f"invalid unit name {go_quote(name)}")
        return name, False
    if context.remote_unit and not is_app:
        return context.remote_unit, False
    if context.remote_app:
        return context.remote_app, True
    raise UsageError("no unit or application specified")


def relation_set(call: Call) -> str:
    """Change this unit's bag, or the application's; committed when the hook succeeds."""
    relation = call.required_relation()
    given = {
        k.strip(): v.strip() for k, v in key_values([word.strip() for word in call.words]).items()
    }
    call.note_old_format()
    context = call.context
    settings: dict[str, str] = {}
    if call.text("file"):
        settings = _settings_file(call.read(call.text("file")))
    settings.update(given)
    if call.has("app"):
        if not context.is_leader():
            raise JujuError("cannot write relation settings")
        bag = context.pending.app_data.setdefault(relation.number, context.own_app_data(relation))
    else:
        bag = context.pending.unit_data.setdefault(relation.number, context.own_data(relation))
    for key, value in settings.items():
        if value:
            bag[key] = value
        else:
            bag.pop(key, None)
    return ""


def _settings_file(content: bytes) -> dict[str, str]:
    try:
        loaded = yaml.load(content, Loader=yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as error:
        raise JujuError(f"yaml: {error}") from None
    if loaded is None or loaded == "":
        return {}
    if not isinstance(loaded, dict):
        kind = "!!seq" if isinstance(loaded, list) else f"!!str `{loaded}`"
        raise JujuError(
            f"yaml: unmarshal errors:\n  line 1: cannot unmarshal {kind} into map[string]string"
        )
    for value in loaded.values():
        if not isinstance(value, str):
            kind = "!!seq" if isinstance(value, list) else "!!map"
            raise JujuError(
                f"yaml: unmarshal errors:\n  line 1: cannot unmarshal {kind} into string"
            )
    return {str(key): value for key, value in loaded.items()}


def relation_model_get(call: Call) -> str:
    """Print the model of the counterpart, which is always this one."""
    call.required_relation()
    check_empty(call.words)
    return call.render({"uuid": call.context.records.model.uuid})


APP = switch("app")
TOOLS = {
    "relation-ids": Tool(
        relation_ids, FORMAT_SMART, "<name>", "List all relation IDs for the given endpoint."
    ),
    "relation-list": Tool(
        relation_list, (*FORMAT_SMART, RELATION, APP), "", "List relation units."
    ),
    "relation-get": Tool(
        relation_get, (*FORMAT_SMART, RELATION, APP), "<key> <unit id>", "Get relation settings."
    ),
    "relation-set": Tool(
        relation_set,
        (RELATION, APP, option("file"), FORMAT_OLD),
        "key=value [key=value ...]",
        "Set relation settings.",
    ),
    "relation-model-get": Tool(
        relation_model_get,
        (*FORMAT_SMART, RELATION),
        "",
        "Get details about the model of a relation.",
    ),
}
