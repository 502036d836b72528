"""The hook tools: one file per family, one table of all of them.

Immediate, and so kept even if the hook fails: status-set, application-version-set, juju-log,
action-log, leader-set, resource-get, the revision that secret-get starts to follow. Buffered
until the run succeeds: relation-set, state-*, ports, storage-add and all that writes secrets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools import action, config, relation, resources, secret, status
from localjuju.hook_tools.call import Call, Tool
from localjuju.hook_tools.flags import Arguments, Help, parse

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
    context: HookContext, name: str, words: Sequence[str], read: Callable[[str], bytes]
) -> Answer:
    """Run one tool in a context; nothing it refuses escapes as an exception."""
    tool = TOOLS.get(name)
    if tool is None:
        return _failed(JujuError(f"bad request: unknown command {go_quote(name)}"))
    try:
        arguments = parse(words, tool.flags)
    except Help:
        return Answer(stdout=_help(name, tool).encode())
    except UsageError as error:
        return _failed(error)
    try:
        call = Call(context, name, arguments, _read_ahead(arguments, read))
    except JujuError as error:
        return _failed(error)
    try:
        with context.book.read():
            text = tool.run(call)
    except JujuError as error:
        return _failed(error, call.stderr)
    output = arguments.text("output")
    stdout = text.encode(errors="surrogateescape")
    return Answer(0, stdout, call.stderr.encode(), output)


def _read_ahead(arguments: Arguments, read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """Read the files that a tool will ask for before the model is locked.

    The caller's standard input may come from another hook tool that needs the lock.
    """
    names = [arguments.text("file")] if arguments.text("file") else []
    for word in arguments.positional:
        key, _, value = word.partition("=")
        if key.endswith("#file"):
            names.append(value)
    contents = {name: read(name) for name in names}
    return contents.__getitem__


def _failed(error: JujuError, before: str = "") -> Answer:
    return Answer(error.exit_status, stderr=f"{before}ERROR {error}\n".encode())


def _help(name: str, tool: Tool) -> str:
    lines = [f"Usage: {name} [options] {tool.usage}".rstrip(), "", "Summary:", tool.purpose]
    if tool.flags:
        lines += ["", "Options:"]
    for flag in sorted(tool.flags, key=lambda flag: flag.names[0]):
        dashed = ", ".join(("-" if len(n) == 1 else "--") + n for n in flag.names)
        value = f" (= {flag.default})" if flag.default else ""
        lines.append(f"{dashed}{value}")
    return "\n".join(lines) + "\n"
