"""action-get, -set, -fail, -log."""

import re
from typing import Any

from localjuju import formats
from localjuju.errors import UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.call import Call, Tool
from localjuju.hook_tools.flags import FORMAT_SMART, check_empty

RESERVED = ("stdout", "stdout-encoding", "stderr", "stderr-encoding")
KEY = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$")
DEFAULT_FAILURE = "action failed without reason given, check action for errors"


def action_get(call: Call) -> str:
    """Print parameters."""
    check_empty(call.words[1:])
    call.require_action()
    assert call.context.task is not None
    answer: Any = call.context.task.params
    for key in call.words[0].split(".") if call.words else []:
        answer = answer.get(key) if isinstance(answer, dict) else None
    if isinstance(answer, list) and call.text("format") == "smart":
        return formats.render("yaml", answer)  # smart joins only lists of known type
    return call.render(answer)


def action_set(call: Call) -> str:
    """Add results; dots in keys nest."""
    pairs: list[tuple[list[str], str]] = []
    for word in call.words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"argument {go_quote(word)} must be of the form key...=value")
        path = key.split(".")
        for part in path:
            if not KEY.match(part):
                raise UsageError(
                    f"key {go_quote(part)} must start and end with lowercase alphanumeric, and "
                    "contain only lowercase alphanumeric, hyphens and periods"
                )
            if part in RESERVED:
                raise UsageError(f'cannot set reserved action key "{part}"')
        pairs.append((path, value))
    if pairs:
        call.require_action()
    for path, value in pairs:
        _put(call.context.results, path, value)
    return ""


def _put(results: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = results.get(part)
        if not isinstance(inner, dict):
            inner = results[part] = {}
        results = inner
    results[path[-1]] = value


def action_fail(call: Call) -> str:
    """Mark the action as failed; it goes on running."""
    check_empty(call.words[1:])
    call.require_action()
    call.context.failure = call.words[0] if call.words else DEFAULT_FAILURE
    return ""


def action_log(call: Call) -> str:
    """Report progress at once."""
    if not call.words:
        raise UsageError("no message specified")
    call.require_action()
    task = call.context.task
    assert task is not None
    with call.context.book.change():
        task.log.append([call.context.book.now(), " ".join(call.words)])
    return ""


TOOLS = {
    "action-get": Tool(
        action_get, FORMAT_SMART, "[<key>[.<key>.<key>...]]", "Get action parameters."
    ),
    "action-set": Tool(action_set, (), "<key>=<value> [<key>=<value> ...]", "Set action results."),
    "action-fail": Tool(
        action_fail, (), '["<failure message>"]', "Set action fail status with message."
    ),
    "action-log": Tool(
        action_log, (), "<message>", "Record a progress message for the current action."
    ),
}
