"""What every hook tool gets and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from localjuju import formats
from localjuju.entities import Relation
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools.flags import Arguments, Flag, option

RELATION = option("r", "relation")
FORMAT_OLD = option("format")


@dataclass
class Call:
    """One invocation of a tool."""

    context: HookContext
    name: str
    arguments: Arguments
    read: Callable[[str], bytes]
    """Reads a file of the caller; ``-`` is its standard input."""
    stderr: str = ""

    @property
    def words(self) -> list[str]:
        """Return the positional arguments."""
        return self.arguments.positional

    def text(self, flag: str) -> str:
        """Return a flag's value."""
        return self.arguments.text(flag)

    def has(self, flag: str) -> bool:
        """Say whether a switch is on."""
        return self.arguments.has(flag)

    def render(self, value: Any) -> str:
        """Return a value in the asked form."""
        return formats.render(self.text("format") or "smart", value)

    def note_old_format(self) -> None:
        """Complain about a ``--format`` that has no meaning any more."""
        if self.text("format"):
            self.stderr += f"--format flag deprecated for command {go_quote(self.name)}"

    def relation(self) -> Relation | None:
        """Return the relation that ``-r`` names, else that of the hook."""
        text = self.text("relation")
        context = self.context
        if "relation" in self.arguments.given:
            number = text.rpartition(":")[2]
            flag = "-r"
            if not number.lstrip("-").isdigit():
                raise UsageError(
                    f"invalid value {go_quote(text)} for option {flag}: invalid relation id"
                )
            found = context.find_relation(int(number))
            if found is None:
                raise UsageError(
                    f"invalid value {go_quote(text)} for option {flag}: relation not found"
                )
            return found
        if context.relation is None:
            return None
        return context.find_relation(context.relation)

    def required_relation(self) -> Relation:
        """Return the relation or complain about its absence."""
        relation = self.relation()
        if relation is None:
            raise UsageError("no relation id specified")
        return relation

    def require_action(self) -> None:
        """Refuse outside an action."""
        if self.context.task is None or self.context.kind != "action":
            raise JujuError("not running an action")


@dataclass(frozen=True)
class Tool:
    """A hook tool: its flags, what it does, and its help."""

    run: Callable[[Call], str]
    flags: Sequence[Flag] = ()
    usage: str = ""
    purpose: str = ""
