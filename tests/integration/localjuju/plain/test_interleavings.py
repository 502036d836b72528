"""Commands that cross running hooks, drawn at random: nothing escapes, and all of it comes to rest.

The commands take away what hooks, tools and agents are holding at that moment: units (also by
force, in the middle of a hook), machines, relations, applications, storage.
"""

import os
import random
import re
import threading
from pathlib import Path

import pytest

from localjuju.entities import Records
from tests.kit.plain_model import Lab

CHARMS = Path(__file__).parent / "charms"
BARGE = CHARMS / "barge"
SEEDS = 150 if os.environ.get("RAFTKV_LONG") else 4
STEPS = 60
UNITS_MAX = 6
REST_S = 90.0  # dozens of hooks are owed, and the processors may be busy with other things

ORDER = """
trap '[ "$(config-get speed)" != 13 ]' EXIT
case $((RANDOM % 6)) in
0) status-set active "$name"; state-set last="$name"; opened-ports >/dev/null ;;
1) for id in $(relation-ids crew) $(relation-ids pier); do
     for unit in $(relation-list -r "$id"); do relation-get -r "$id" - "$unit" >/dev/null; done
   done ;;
2) for id in $(relation-ids crew); do relation-set -r "$id" seen="$(config-get speed)"; done ;;
3) open-port "$((RANDOM % 9 + 1000))"; network-get crew >/dev/null; juju-log "$name" ;;
4) goal-state >/dev/null; is-leader >/dev/null; storage-list >/dev/null ;;
5) sleep 0.1; is-leader >/dev/null ;;
esac
"""


@pytest.fixture
def escaped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what would end a thread."""
    found: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda hook: found.append(f"{hook.thread}: {hook.exc_value!r}")
    )
    return found


def command(records: Records, chance: random.Random, package: str) -> list[str]:
    """Draw a command that means something to the model as it is now."""

    def one_of(names: object) -> str:
        known = sorted(map(str, names))  # type: ignore[call-overload]
        return chance.choice(known) if known else "none"

    units = [unit.name for unit in records.units.values() if not unit.principal]
    unit, app = one_of(units), one_of(records.applications)
    barge = chance.choice(["barge", "tug"])
    force = chance.choice([[], ["--force"]])
    machine, item = one_of(records.machines), one_of(records.storage)
    choices: list[tuple[int, list[str]]] = [
        (
            6 if len(units) < UNITS_MAX else 0,
            ["add-unit", barge, *chance.choice([[], ["--to", machine]])],
        ),
        (8, ["remove-unit", unit, *force, *chance.choice([[], ["--destroy-storage"]])]),
        (4, ["config", barge, f"speed={chance.choice([3, 13, 14])}"]),
        (3, ["resolved", "--all", *chance.choice([[], ["--no-retry"]])]),
        (2, ["refresh", barge, "--path", package, *chance.choice([[], ["--force-units"]])]),
        (3, ["detach-storage", item]),
        (2, ["attach-storage", unit, item]),
        (2, ["add-storage", unit, "hold=rootfs"]),
        (2, ["remove-storage", item, *force]),
        (2, ["remove-relation", "tug", "barge", *force]),
        (3, ["integrate", "tug:dock", "barge:pier"]),
        (1, ["remove-relation", "moss", barge]),
        (2, ["integrate", "moss", barge]),
        (3, ["run", "--background", unit, "turn", "side=port"]),
        (1, ["run", "--background", unit, "wait"]),
        (2, ["cancel-task", one_of(t.id for t in records.tasks.values() if not t.is_done)]),
        (1, ["remove-machine", machine, "--force"]),
        (1, ["remove-application", app, *force]),
        (2, ["deploy", package, barge, "--config", f"order={ORDER}", "--storage", "hold=rootfs"]),
        (1, ["status"]),
        (1, ["show-unit", unit]),
        (1, ["storage"]),
    ]
    return chance.choices([words for _, words in choices], [weight for weight, _ in choices])[0]


def consistent(records: Records) -> list[str]:
    """Return what refers to something that is gone."""
    found = [
        f"unit {unit.name}: {unit.app} {unit.machine} {unit.principal}"
        for unit in records.units.values()
        if unit.app not in records.applications
        or unit.machine not in records.machines
        or (unit.principal and unit.principal not in records.units)
    ]
    for relation in records.relations.values():
        found += [
            f"relation {relation.key}: {name}"
            for name, member in relation.members.items()
            if member.in_scope and name not in records.units
        ]
        found += [
            f"relation {relation.key}: {end.app}"
            for end in relation.ends
            if end.app not in records.applications
        ]
    found += [
        f"storage {item.id}: {item.unit}"
        for item in records.storage.values()
        if item.unit and item.unit not in records.units
    ]
    found += [
        f"task {task.id}: {task.receiver}"
        for task in records.tasks.values()
        if not task.is_done and task.receiver not in records.units
    ]
    return found


def restless(records: Records) -> list[str]:
    return [
        f"{unit.name} {unit.life} {unit.agent} {unit.local} {records.machines.get(unit.machine)}"
        for unit in records.units.values()
        if unit.life != "alive"
        or not unit.local.started
        or not (unit.agent.current == "idle" or unit.local.failed)
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_commands_that_cross_hooks(seed: int, escaped: list[str]) -> None:
    chance = random.Random(seed)
    with Lab() as lab:
        lab("model-config", f"localjuju-seed={seed}", "update-status-hook-interval=5s")
        package = lab.pack(BARGE)
        for name in ("barge", "tug"):
            lab("deploy", package, name, "-n", "2", "--config", f"order={ORDER}",
                "--storage", "hold=rootfs")  # fmt: skip
        lab("deploy", lab.pack(CHARMS / "moss"))
        done = []
        for _ in range(STEPS):
            book = lab.host().book
            with book.read() as records:
                words = command(records, chance, package)
            code, _, err = lab.run(*words)
            done.append(f"{code} {' '.join(words[:3])} {err.strip()[-80:]}")
            assert code in {0, 1, 2}, done
            assert "Traceback" not in err, err
            # Until something happens, or a moment, whichever is first: hooks are in every state.
            book.wait_for(lambda: False, chance.choice([0, 0.01, 0.05]))
        lab("config", "barge", "speed=3") if "barge" in lab.records.applications else None
        lab("config", "tug", "speed=3") if "tug" in lab.records.applications else None
        for task in [
            t.id for t in lab.records.tasks.values() if t.name == "wait" and not t.is_done
        ]:
            lab.run("cancel-task", task)
        lab.run("resolved", "--all")
        book = lab.host().book
        assert book.wait_for(lambda: not restless(book.records), REST_S), restless(book.records)
        with lab.host().book.read() as records:
            assert consistent(records) == [], done
        log = lab("debug-log", "--replay", "--level", "TRACE")
        complaints = re.findall(r"(?:.*\n){6}.*(?:Traceback|Error\b).*(?:\n.*){0,30}", log)
        assert not complaints, "\n".join(complaints)
        for name in list(lab.records.applications):
            lab("remove-application", name, "--destroy-storage", *chance.choice([[], ["--force"]]))
        lab.wait(lambda records: not records.applications)
        assert escaped == [], done
