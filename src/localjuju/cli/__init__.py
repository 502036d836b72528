"""The command line: one file per family, one table of all commands."""

from collections.abc import Callable

from localjuju.cli import (
    actions,
    applications,
    configuration,
    faults,
    kept,
    logs,
    machines,
    models,
    operations,
    secrets,
    status,
    storage,
)
from localjuju.cli.session import Gone, Session
from localjuju.errors import JujuError, UsageError
from localjuju.hook_tools.flags import Help

__all__ = ["Session", "run"]

COMMANDS: dict[str, Callable[[Session], int]] = {
    **models.COMMANDS,
    **applications.COMMANDS,
    **configuration.COMMANDS,
    **status.COMMANDS,
    **actions.COMMANDS,
    **operations.COMMANDS,
    **machines.COMMANDS,
    **logs.COMMANDS,
    **secrets.COMMANDS,
    **storage.COMMANDS,
    **faults.COMMANDS,
    **kept.COMMANDS,
}


def run(session: Session) -> int:
    """Carry out a command line; return its exit status."""
    words = session.words
    if not words or words[0] in {"help", "--help", "-h"}:
        session.out(_overview())
        return 0
    name = "version" if words[0] == "--version" else words[0]
    command = COMMANDS.get(name)
    if command is None:
        session.err(f'ERROR juju: "{name}" is not a juju command. See "juju --help".\n')
        return 2
    session.words = words[1:]
    try:
        return command(session)
    except Help:
        text = (command.__doc__ or "").strip()
        session.out(f"Usage: juju {name} [options] ...\n\nSummary:\n{text}\n")
        return 0
    except UsageError as error:
        session.err(f"ERROR {error}\n")
        return 2
    except JujuError as error:
        session.err(f"ERROR {error}\n")
        return error.exit_status
    except Gone:
        return 1


def _overview() -> str:
    lines = [
        "Juju on one machine: a local model that runs packed charms without a controller.",
        "",
    ]
    lines += ["Commands:"]
    for name in sorted(COMMANDS):
        text = (COMMANDS[name].__doc__ or "").strip().splitlines()
        lines.append(f"    {name:<22} {text[0] if text else ''}")
    return "\n".join(lines) + "\n"
