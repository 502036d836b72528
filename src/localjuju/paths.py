"""Where everything lies: the state directory on the host, and Juju's layout inside a machine."""

import hashlib
import os
from pathlib import Path

DEFAULT_DATA = "/var/lib/localjuju"
DATA_VARIABLE = "LOCALJUJU_DATA"

AGENTS = "var/lib/juju/agents"
TOOLS = "var/lib/juju/tools"
LOGS = "var/log/juju"
TOOL_CLIENT = "/var/lib/juju/tools/hook-tool"


def data_directory() -> Path:
    """Return the state directory of this process's environment, made absolute."""
    return Path(os.path.abspath(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA))  # noqa: PTH100


def state_tag(data: Path) -> str:
    """Name the state directory in six hex digits: two directories never share host objects."""
    return hashlib.sha1(os.fsencode(data), usedforsecurity=False).hexdigest()[:6]


def unit_tag(unit_name: str) -> str:
    """Turn ``app/0`` into ``unit-app-0``."""
    return "unit-" + unit_name.replace("/", "-")


def charm_directory(unit_name: str) -> str:
    """Return the absolute path of the unit's charm inside its machine."""
    return f"/{AGENTS}/{unit_tag(unit_name)}/charm"
