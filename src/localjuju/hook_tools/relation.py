"""relation-ids, -list, -get, -set and -model-get."""

import base64
import re

import yaml

from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools.call import FORMAT_OLD, RELATION, Call, Tool, file_of
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty, key_values, option, switch

APPLICATION = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*$")
UNIT = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*/(0|[1-9][0-9]*)$")


def relation_ids(call: Call) -> str:
    """List the relations of an endpoint; in a relation hook that of the hook by default."""
    context = call.context
    words = call.words
    default = context.hook_relation()
    if not words and default is None:
        raise UsageError("no endpoint name specified")
    endpoint = words[0] if words else context.endpoint(default)  # type: ignore[arg-type]
    check_empty(words[1:])
    ids = [
        f"{endpoint}:{relation.number}"
        for relation in context.relations()
        if context.endpoint(relation) == endpoint
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
    given = key_values(call.words)
    call.note_old_format()
    context = call.context
    settings: dict[str, str] = {}
    if call.text("file"):
        settings = settings_file(call.read(call.text("file")))
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


def settings_file(content: bytes) -> dict[str, str]:
    """Return a YAML map of strings; all scalars are taken as they are written, null is empty."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise JujuError(yaml_problem(error)) from None
    if root is None or _is_null(root):
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise _not_a([_mismatch(root, "map[string]string")])
    problems = [
        _mismatch(value, "string")
        for _, value in root.value
        if not isinstance(value, yaml.ScalarNode)
    ]
    if problems:
        raise _not_a(problems)
    return {str(key.value): _scalar(value) for key, value in root.value}


def _scalar(node: yaml.ScalarNode) -> str:
    if node.tag.endswith(":binary"):
        return base64.b64decode(node.value).decode(errors="surrogateescape")
    return "" if _is_null(node) else str(node.value)


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _mismatch(node: yaml.Node, wanted: str) -> str:
    tag = "!!" + node.tag.rpartition(":")[2]
    if isinstance(node, yaml.ScalarNode):
        text = node.value if len(node.value) <= 10 else node.value[:7] + "..."
        tag += f" `{text}`"
    return f"  line {node.start_mark.line + 1}: cannot unmarshal {tag} into {wanted}"


def _not_a(problems: list[str]) -> JujuError:
    return JujuError("\n".join(["yaml: unmarshal errors:", *problems]))


def yaml_problem(error: yaml.YAMLError) -> str:
    """Say what is wrong in the words of go-yaml, as far as PyYAML finds the same."""
    problem = str(getattr(error, "problem", None) or error)
    mark = getattr(error, "problem_mark", None)
    problem = problem.replace("are not allowed here", "are not allowed in this context")
    if problem.startswith("found character"):
        problem = "found character that cannot start any token"
    where = f"line {mark.line + 1}: " if mark is not None and mark.line else ""
    return f"yaml: {where}{problem}"


def relation_model_get(call: Call) -> str:
    """Print the model of the counterpart, which is always this one."""
    call.required_relation()
    check_empty(call.words)
    return call.render({"uuid": call.context.records.model.uuid})


def _unit_hint(context: HookContext) -> str:
    unit = context.remote_unit
    return f"Current default unit id is {go_quote(unit)}." if unit else ""


def _endpoint_hint(context: HookContext) -> str:
    relation = context.hook_relation()
    if relation is None:
        return ""
    return f"Current default endpoint name is {go_quote(context.endpoint(relation))}."


def _relation_hint(context: HookContext) -> str:
    if context.hook_relation() is not None:
        return ""
    return "-r must be specified when not in a relation hook"


TOOLS = {
    "relation-ids": Tool(
        relation_ids,
        FORMAT_SMART,
        "<name>",
        "List all relation IDs for the given endpoint.",
        usage_with_default="[<name>]",
        hint=_endpoint_hint,
    ),
    "relation-list": Tool(
        relation_list,
        (
            *FORMAT_SMART,
            RELATION,
            switch("app", usage="List remote application instead of participating units"),
        ),
        "",
        "List relation units.",
        hint=_relation_hint,
    ),
    "relation-get": Tool(
        relation_get,
        (
            *FORMAT_SMART,
            RELATION,
            switch(
                "app",
                usage="Get the relation data for the overall application, not just a unit",
            ),
        ),
        "<key> <unit id>",
        "Get relation settings.",
        usage_with_default="[<key> [<unit id>]]",
        hint=_unit_hint,
    ),
    "relation-set": Tool(
        relation_set,
        (
            RELATION,
            switch(
                "app",
                usage='pick whether you are setting "application" settings or "unit" settings',
            ),
            option("file", usage="file containing key-value pairs", plain=True),
            FORMAT_OLD,
        ),
        "key=value [key=value ...]",
        "Set relation settings.",
        reads=file_of,
        absolute=True,
    ),
    "relation-model-get": Tool(
        relation_model_get,
        (*FORMAT_SMART, RELATION),
        "",
        "Get details about the model hosing a related application.",
        hint=_relation_hint,
    ),
}
