"""What every hook tool gets and gives."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localjuju import formats
from localjuju.entities import Relation
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools.flags import Arguments, Check, Flag, option

RELATION = option("r", "relation", usage="Specify a relation by id", plain=True)
FORMAT_OLD = option("format", usage="deprecated format flag")
STORAGE = option("s", usage="specify a storage instance by id", plain=True)
STORAGE_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*/(0|[1-9][0-9]*)$")


@dataclass
class Call:
    """One invocation of a tool."""

    context: HookContext
    name: str
    arguments: Arguments
    read: Callable[[str], bytes]
    """Reads a file of the caller; ``-`` is its standard input. Raises JujuError."""
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
        if "relation" in self.arguments.given:
            number = relation_number(self.text("relation"))
            assert number is not None, "checked when the flag was read"
            return self.context.find_relation(number)
        if self.context.relation is None:
            return None
        return self.context.find_relation(self.context.relation)

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


def file_of(arguments: Arguments) -> list[str]:
    """Name the file of ``--file``."""
    return [arguments.text("file")] if arguments.text("file") else []


def relation_number(text: str) -> int | None:
    """Return the number in ``name:number`` or ``number``; None if it is none."""
    number = text.rpartition(":")[2]
    return int(number) if re.fullmatch(r"[-+]?[0-9]+", number, re.ASCII) else None


def checks_for(context: HookContext) -> dict[str, Check]:
    """Return the parsers of flags whose values must name something that this unit has."""

    def relation(text: str) -> str:
        number = relation_number(text)
        if number is None:
            return "invalid relation id"
        with context.book.read():
            return "" if context.find_relation(number) is not None else "relation not found"

    def storage(text: str) -> str:
        if not STORAGE_ID.match(text):
            return f"invalid storage ID {go_quote(text)}"
        with context.book.read():
            if text in context.storage_ids():
                return ""
            return f"storage attachment {text}:{context.unit_name} not found"

    return {"relation": relation, "s": storage}


def flag_defaults(context: HookContext) -> Mapping[str, str]:
    """Return the values that flags have in this hook, as help texts show them."""
    hook = context.hook
    relation = context.hook_relation()
    return {
        "relation": f"{context.endpoint(relation)}:{relation.number}" if relation else "",
        "s": hook.storage if hook is not None else "",
    }


@dataclass(frozen=True)
class Tool:
    """A hook tool: its flags, what it does, and its help."""

    run: Callable[[Call], str]
    flags: Sequence[Flag] = ()
    usage: str = ""
    purpose: str = ""
    usage_with_default: str = ""
    """Used instead of ``usage`` where the hook provides what may be left out."""
    hint: Callable[[HookContext], str] | None = None
    """Says for the help text what is left out by default, or nothing."""
    checks: Mapping[str, Check] | None = None
    reads: Callable[[Arguments], Sequence[str]] | None = None
    """Names the files that will be read, before the model is locked."""
    absolute: bool = False
    """Whether error texts show those files with the caller's directory."""
