"""A model's life of five verbs in a process that dies at a chosen write of its journal.

    python -m tests.kit.killed_model FOLDER [AT [WHEN [EVERY]]]

Carries out what is left of the life and prints ``done``. With ``AT`` the process kills itself at
its AT-th write: ``before`` it, in the middle (``torn``) or ``after`` it. With ``EVERY`` each
later process does so too. Started again on the same folder it goes on, as a new daemon does.
"""

import hashlib
import io
import os
import socket
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localjuju import cli
from localjuju.entities import Records
from localjuju.journal import Journal
from tests.kit.plain_machine import PlainController

CHARMS = Path(__file__).parent / "killed_charms"
SETTLE_SECONDS = 60.0
KILLED = 9


class KillingJournal(Journal):
    """Ends the process at one of its writes."""

    at = 0
    when = "after"
    written = 0

    def _append(self, put: list[str], gone: list[str]) -> None:
        KillingJournal.written += 1
        if KillingJournal.written != KillingJournal.at:
            super()._append(put, gone)
            return
        if KillingJournal.when == "after":
            super()._append(put, gone)
        if KillingJournal.when == "torn":
            with self.path.open("ab") as file:
                file.write(b"0badc0de {")
        os._exit(KILLED)


def pack(name: str, version: str, folder: Path) -> Path:
    target = folder / f"{name}-{version}.charm"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted((CHARMS / name).iterdir()):
            archive.write(file, file.name)
        # Without a time of day: the same charm is packed again by each process.
        archive.writestr(zipfile.ZipInfo("version"), version)
        archive.writestr(zipfile.ZipInfo(f"only-in-{version}"), "")
    return target


def is_settled(records: Records) -> bool:
    """Say whether every unit is idle, started, and knows all that the model says."""
    return all(
        unit.local.started
        and unit.local.idle
        and unit.agent.current == "idle"
        and unit.life == "alive"
        and unit.local.deployed == records.applications[unit.app].charm
        and all(_knows(records, unit.name, key) for key in records.relations)
        for unit in records.units.values()
    ) and all(relation.life == "alive" for relation in records.relations.values())


def _knows(records: Records, name: str, key: str) -> bool:
    """Say whether a unit has been told of all others in a relation, at their newest data."""
    unit, relation = records.units[name], records.relations[key]
    if relation.end_of(unit.app) is None:
        return True
    seen = unit.local.relations.get(key)
    remote = relation.other_end(unit.app).app
    wanted = {
        other.name: relation.members[other.name].version
        for other in records.units_of(remote)
        if other.name != name and other.name in relation.members
    }
    complete = len(wanted) == len([u for u in records.units_of(remote) if u.name != name])
    return complete and seen is not None and dict(seen.members) == wanted


def is_from(records: Records, app: str, source: str) -> bool:
    """Say whether the application's charm is the package with this hash."""
    return records.charms[records.applications[app].charm].source == source


Step = tuple[list[str], Callable[[Records], bool], Callable[[Records], bool]]


def life(folder: Path) -> list[Step]:
    """Return each command with how to tell that it was taken, and that all is done."""
    one, two = (str(pack("vine", version, folder)) for version in ("1", "2"))
    wire = str(pack("wire", "1", folder))
    # Not by its number: a refresh that was cut off half way has used one up, as in Juju.
    refreshed = hashlib.sha256(Path(two).read_bytes()).hexdigest()

    def units(app: str) -> Callable[[Records], int]:
        return lambda records: len(records.units_of(app)) if app in records.applications else 0

    vines = units("vine")
    return [
        (["deploy", one, "-n", "2"], lambda r: "vine" in r.applications, is_settled),
        (["deploy", wire], lambda r: "wire" in r.applications, is_settled),
        (["integrate", "vine", "wire"], lambda r: "1" in r.relations, is_settled),
        (["add-unit", "vine"], lambda r: vines(r) == 3, is_settled),
        (["refresh", "vine", "--path", two], lambda r: is_from(r, "vine", refreshed),
         is_settled),
        (["remove-unit", "vine/0"], lambda r: "vine/0" not in r.units or
         r.units["vine/0"].life != "alive", is_settled),
        (["remove-relation", "vine", "wire"], lambda r: "1" not in r.relations or
         r.relations["1"].life != "alive", is_settled),
        (["remove-application", "vine"], lambda r: "vine" not in r.applications or
         r.applications["vine"].life != "alive", lambda r: "vine" not in r.applications),
    ]  # fmt: skip


def command(controller: PlainController, words: list[str]) -> None:
    here, there = socket.socketpair()
    with here, there:
        request: dict[str, Any] = {"words": words, "folder": "/", "model": ""}
        stream = io.BytesIO()
        code = cli.run(cli.Session(controller, request, stream, here))
        if code:
            sys.exit(f"{words}: {stream.getvalue().decode()}")


def main() -> int:
    folder = Path(sys.argv[1])
    KillingJournal.at = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    KillingJournal.when = sys.argv[3] if len(sys.argv) > 3 else "after"
    controller = PlainController(folder / "state", KillingJournal)
    (folder / "state").mkdir(exist_ok=True)
    controller.load()
    if not controller.hosts:
        command(controller, ["add-model", "lab", "--config", "localjuju-retry-seconds=0.05",
                             "--config", "localjuju-seed=1"])  # fmt: skip
    host = controller.find("lab")
    progress = folder / "progress"
    reached = int(progress.read_text()) if progress.exists() else 0
    for number, (words, is_taken, is_done) in enumerate(life(folder)):
        if number < reached:
            continue
        with host.book.read() as records:
            taken = is_taken(records)
        if not taken:
            command(controller, words)
        records = host.book.records
        if not host.book.wait_for(lambda: is_done(records), SETTLE_SECONDS):  # noqa: B023
            states = {u.name: (u.local.step, u.local.hook) for u in records.units.values()}
            sys.exit(f"after {words}: {states}")
        beside = progress.with_suffix(".new")  # an agent's write may end the process right here
        beside.write_text(str(number + 1))
        beside.replace(progress)
    sys.stdout.write(f"done {KillingJournal.written}\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
