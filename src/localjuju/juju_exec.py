"""Requests of juju-exec: commands that a program on the machine wants run in a hook context."""

import shlex
import threading
from dataclasses import dataclass, field

from localjuju.hook_tools import Answer

PLAIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Commands:
    """A request of juju-exec that waits for its turn."""

    identifier: str
    script: str
    relation: int | None = None
    remote_unit: str = ""
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answer = field(default_factory=Answer)


def ignore_output(stream: str, line: str) -> None:
    """Take a line that nobody wants in the log."""
    del stream, line


def parse_commands(words: list[str], identifier: str) -> tuple[Commands, bool]:
    """Parse the command line of juju-exec; the unit was found by the client."""
    rest = list(words)
    relation: int | None = None
    remote_unit, no_context, unit_given = "", False, False
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.lstrip("-").partition("=")
        if name in {"no-context", "force-remote-unit", "operator"}:
            no_context = no_context or name == "no-context"
            continue
        if word == "--":
            break
        if not equals and rest:
            value = rest.pop(0)
        if name in {"u", "unit"}:
            unit_given = True
        elif name in {"r", "relation"}:
            relation = int(value.rpartition(":")[2])
        elif name == "remote-unit":
            remote_unit = value
    if not unit_given and len(rest) > 1 and "/" in rest[0] and " " not in rest[0]:
        rest.pop(0)
    if rest and rest[0] == "--":
        rest.pop(0)
    script = rest[0] if len(rest) == 1 else shlex.join(rest)
    return Commands(identifier, script, relation, remote_unit), no_context
