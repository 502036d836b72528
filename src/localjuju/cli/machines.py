"""ssh, scp and machines themselves."""

import shlex
from pathlib import Path

from localjuju import deployment
from localjuju.cli.grammar import arguments, number
from localjuju.cli.session import Session
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.hook_tools.flags import option, switch
from localjuju.keeper import MachineKeeper
from localjuju.model_host import ModelHost

SSH_OPTIONS_WITH_VALUE = set("bcDEeFIiJLlmOopQRSWw")


def keeper_of(host: ModelHost, target: str) -> MachineKeeper:
    """Return the keeper of a unit's or a numbered machine."""
    with host.book.read() as records:
        number = deployment.find_unit(records, target).machine if "/" in target else target
        if number not in records.machines:
            raise JujuError(f"machine {number} not found")
    keeper = host.keepers.get(number)
    if keeper is None or not keeper.container.is_up():
        raise JujuError(f"machine {number} is not running")
    return keeper


def _strip_model(session: Session, flags_with_value: set[str]) -> list[str]:
    """Take the model and Juju's own flags off the front; the rest belongs to the program."""
    words = list(session.words)
    while words and words[0].startswith("-") and words[0] != "--":
        word = words[0]
        name, equals, value = word.lstrip("-").partition("=")
        if name in {"m", "model"}:
            words.pop(0)
            session.model_name = value if equals else words.pop(0)
        elif name in {"no-host-key-checks", "proxy", "pty", "quiet", "v", "debug"}:
            words.pop(0)
        elif name == "container":
            words.pop(0)
            if not equals:
                words.pop(0)
        elif name and name[0] in flags_with_value and not word.startswith("--"):
            words.pop(0)
            if len(name) == 1 and words:
                words.pop(0)
        else:
            break
    return words


def _login(keeper: MachineKeeper, user: str) -> list[str]:
    enter = [*keeper.container.join_command(), *keeper.container.enter_command()]
    enter.remove("-w")
    home = "/root" if user == "root" else f"/home/{user}"
    environment = [
        "env", "-i", f"HOME={home}", f"USER={user}", f"LOGNAME={user}", "SHELL=/bin/bash",
        "LANG=C.UTF-8", "TERM=xterm-256color",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]  # fmt: skip
    as_user = (
        []
        if user == "root"
        else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    )
    return [
        *enter,
        *as_user,
        *environment,
        "bash",
        "-c",
        'cd "$HOME" 2>/dev/null || cd /; "$@"',
        "bash",
    ]


def ssh(session: Session) -> int:
    """Run a command or a shell on a machine, as the user ubuntu unless told otherwise."""
    words = _strip_model(session, set())
    if not words:
        raise UsageError("no target name specified")
    user, at, target = words.pop(0).rpartition("@")
    user = user if at else "ubuntu"
    while words and words[0].startswith("-") and words[0] != "--":
        word = words.pop(0)
        if word in {"-m", "--model"}:
            session.model_name = words.pop(0)
        elif len(word) == 2 and word[1] in SSH_OPTIONS_WITH_VALUE and words:
            words.pop(0)
    if words and words[0] == "--":
        words.pop(0)
    keeper = keeper_of(session.host(), target)
    # Like ssh, the words are joined by blanks and read by the user's shell over there.
    command = ["bash", "-c", " ".join(words)] if words else ["bash", "-l"]
    return session.become([*_login(keeper, user), *command])


def scp(session: Session) -> int:
    """Copy files to or from a machine; -r copies directories."""
    words = _strip_model(session, set())
    if words and words[0] == "--":
        words.pop(0)
    recursive = any(
        word.startswith("-") and "r" in word for word in words if not word.startswith("--")
    )
    places = [word for word in words if not word.startswith("-")]
    if len(places) < 2:
        raise UsageError("at least two arguments required")
    *sources, target = places
    host = session.host()
    for source in sources:
        source_place, target_place = _place(host, source), _place(host, target)
        if (source_place is None) == (target_place is None) and source_place is None:
            raise JujuError("neither source nor destination names a machine")
        code = _copy(session, source, target, source_place, target_place, recursive=recursive)
        if code:
            return code
    return 0


Place = tuple[MachineKeeper, str, str]


def _place(host: ModelHost, text: str) -> Place | None:
    """Split ``[user@]target:path``; None for a path of this host."""
    head, colon, path = text.partition(":")
    if not colon or head.startswith((".", "/")):
        return None
    user, at, target = head.rpartition("@")
    return keeper_of(host, target), user if at else "ubuntu", path


def _copy(
    session: Session,
    source: str,
    target: str,
    come: Place | None,
    go: Place | None,
    *,
    recursive: bool,
) -> int:
    """Copy with tar on both ends; the client runs the two programs."""
    path = come[2] if come else str(session.path(source))
    inside = (
        "" if recursive else '[ -d "$1" ] && { echo "scp: $1: not a regular file" >&2; exit 1; }; '
    )
    pack = (
        'case "$1" in "") set -- .;; esac; ' + inside
        + 'cd "$(dirname -- "$1")" && exec tar -chf - -- "$(basename -- "$1")"'
    )  # fmt: skip
    name = Path(path or ".").name
    rename = target.rpartition(":")[2] if go else str(session.path(target))
    ends_as_folder = target.endswith(("/", ":", ":.", "."))
    # An existing directory receives the file; otherwise the last part is its new name.
    unpack = (
        'd=${1:-.}; n=$2; f=$3; if [ -d "$d" ] || [ "$f" = 1 ]; then exec tar -C "$d" --no-same-owner -xf -; fi; '
        't=$(mktemp -d) && tar -C "$t" --no-same-owner -xf - && '
        'cp -rT -- "$t/$n" "$d"; code=$?; rm -rf -- "$t"; exit $code'
    )
    source_command = [*_here_or_there(come), "sh", "-c", pack, "sh", path]
    folder = "1" if ends_as_folder and go else "0"
    target_command = [*_here_or_there(go), "sh", "-c", unpack, "sh", rename, name, folder]
    return session.pipe(source_command, target_command)


def _here_or_there(place: Place | None) -> list[str]:
    return [] if place is None else _login(place[0], place[1])


def add_machine(session: Session) -> int:
    """Add an empty machine."""
    flags = (option("n"), option("base"), option("constraints"), option("disks"), option("series"))
    args = arguments(session, flags)
    host = session.host_or_default()
    session.controller.prepare_machines()
    with host.book.change() as records:
        for _ in range(number(args, "n", 1)):
            machine = deployment.add_machine(
                records, host.book.now(), session.controller.network.take_address
            )
            machine.placed = True
            session.err(f"created machine {machine.number}\n")
    return 0


def remove_machine(session: Session) -> int:
    """Remove machines that hold no units."""
    flags = (switch("force"), switch("keep-instance"), switch("no-wait"), switch("dry-run"))
    args = arguments(session, flags, least=1, missing="no machines specified")
    host = session.host()
    for machine_number in args.positional:
        with host.book.read() as records:
            if machine_number not in records.machines:
                raise JujuError(f"machine {machine_number} not found")
            held = [unit.name for unit in records.units.values() if unit.machine == machine_number]
        if held and not args.has("force"):
            raise JujuError(f"machine {machine_number} has unit {go_quote(held[0])} assigned")
        session.err(f"will remove machine {machine_number}\n")
        if args.has("dry-run"):
            continue
        for name in held:
            host.bury(name)
        host.remove_machine(machine_number)
    return 0


def quoted(words: list[str]) -> str:
    """Return words as one shell command."""
    return shlex.join(words)


COMMANDS = {
    "ssh": ssh,
    "scp": scp,
    "add-machine": add_machine,
    "remove-machine": remove_machine,
}
