"""The json and yaml forms of commands; tables and times come from ``localjuju.rendering``."""

import json
from typing import Any

from localjuju.cli.session import Session
from localjuju.formats import in_order, to_yaml
from localjuju.hook_tools.flags import Arguments
from localjuju.rendering import clock, iso, moment, table

__all__ = ["clock", "emit", "iso", "moment", "table"]


def emit(session: Session, args: Arguments, value: Any, *, ordered: bool = False) -> None:
    """Print a value as json or yaml, or into ``--output``.

    What is a struct in Juju keeps its order in yaml (``ordered``), what is a map is sorted.
    """
    if args.text("format") == "json":
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str) + "\n"
    else:
        text = to_yaml(in_order(value) if ordered else value) + "\n"
    if args.text("output"):
        session.path(args.text("output")).write_text(text)
    else:
        session.out(text)
