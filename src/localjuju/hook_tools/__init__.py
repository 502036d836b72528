"""The hook tools: one file per family, one table of all of them.

Immediate, and so kept even if the hook fails: status-set, application-version-set, juju-log,
action-log, leader-set, resource-get, the revision that secret-get starts to follow. Buffered
until the run succeeds: relation-set, state-*, ports, storage-add and all that writes secrets.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools import action, config, relation, resources, secret, status
from localjuju.hook_tools.call import Call, Tool, checks_for, flag_defaults
from localjuju.hook_tools.flags import Arguments, Help, options_help, parse

TOOLS: dict[str, Tool] = {
    **action.TOOLS,
    **config.TOOLS,
    **relation.TOOLS,
    **resources.TOOLS,
    **secret.TOOLS,
    **status.TOOLS,
}


@dataclass(frozen=True)
class Answer:
    """What a tool printed, its exit status and the file that should get its output."""

    code: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    output_file: str = ""


def run_tool(
    context: HookContext,
    name: str,
    words: Sequence[str],
    read: Callable[[str], bytes],
    folder: str = "/",
) -> Answer:
    """Run one tool in a context; nothing it refuses escapes as an exception.

    ``folder`` is the caller's working directory, which relative names of files mean.
    """
    tool = TOOLS.get(name)
    if tool is None:
        return _failed(JujuError(f"bad request: unknown command {go_quote(name)}"))
    try:
        checks = {**checks_for(context), **(tool.checks or {})}
        arguments = parse(words, tool.flags, checks)
    except Help:
        return _show_help(context, name, tool)
    except JujuError as error:
        return _failed(error)
    call = Call(context, name, arguments, _read_ahead(tool, arguments, read, folder))
    try:
        with context.book.read():
            text = tool.run(call)
    except JujuError as error:
        return _failed(error, call.stderr)
    output = arguments.text("output")
    stdout = text.encode(errors="surrogateescape")
    return Answer(0, stdout, call.stderr.encode(), absolute(folder, output) if output else "")


def absolute(folder: str, name: str) -> str:
    """Return a file's name as the caller means it; ``~`` is the agent's home."""
    if name.startswith("~/"):
        name = "/root/" + name[2:]
    return os.path.normpath(os.path.join(folder, name))  # noqa: PTH118  # names, not files


def _read_ahead(
    tool: Tool, arguments: Arguments, read: Callable[[str], bytes], folder: str
) -> Callable[[str], bytes]:
    """Read the files that a tool will ask for before the model is locked.

    The caller's standard input may come from another hook tool that needs the lock. What went
    wrong is told when the tool asks, in its own order.
    """
    contents: dict[str, bytes | JujuError] = {}
    for name in tool.reads(arguments) if tool.reads is not None else ():
        try:
            contents[name] = read(
                absolute(folder, name) if tool.absolute and name != "-" else name
            )
        except JujuError as error:
            contents[name] = error

    def take(name: str) -> bytes:
        content = contents[name]
        if isinstance(content, JujuError):
            raise content
        return content

    return take


def _failed(error: JujuError, before: str = "") -> Answer:
    return Answer(error.exit_status, stderr=f"{before}ERROR {error}\n".encode())


def _show_help(context: HookContext, name: str, tool: Tool) -> Answer:
    try:
        with context.book.read():
            return Answer(stdout=_help(context, name, tool).encode())
    except JujuError as error:
        return _failed(error)


def _help(context: HookContext, name: str, tool: Tool) -> str:
    """Return a help text in the layout of juju/cmd."""
    hint = tool.hint(context) if tool.hint is not None else ""
    usage = tool.usage_with_default if hint and tool.usage_with_default else tool.usage
    parts = [name, "[options]" if tool.flags else "", usage]
    text = "Usage: " + " ".join(part for part in parts if part) + "\n"
    text += f"\nSummary:\n{tool.purpose}\n"
    if tool.flags:
        text += "\nOptions:\n" + options_help(tool.flags, flag_defaults(context))
    if hint:
        text += f"\nDetails:\n{hint}\n"
    return text
