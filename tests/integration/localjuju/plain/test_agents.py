"""What charms live through, with real agents, hooks and tools, on machines that are directories."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from localjuju.entities import Records
from localjuju.errors import UnitGone
from localjuju.operations import make_context
from tests.kit.plain_model import Lab
from tests.kit.waiting import wait_for

CHARMS = Path(__file__).parent / "charms"
BARGE = CHARMS / "barge"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def deploy(lab: Lab, *more: str, order: str = "") -> None:
    lab("deploy", lab.pack(BARGE), *more, "--config", f"order={order}")
    lab.settle()


def test_hooks_without_dispatch(lab: Lab) -> None:
    lab("deploy", lab.pack(CHARMS / "gate"))
    lab.settle()
    assert lab.hooks("gate/0") == ["install", "start"]
    assert lab.unit("gate/0").workload.message == "open"
    log = lab("debug-log", "--replay", "--level", "DEBUG")
    assert 'skipped "config-changed" hook (missing)' in log
    assert "unit-gate-0: " in log
    assert "DEBUG unit.gate/0.install said" in log


def test_subordinates_live_beside_their_principals(lab: Lab) -> None:
    deploy(lab, "-n", "2")
    lab("deploy", lab.pack(CHARMS / "moss"))
    assert lab.records.units_of("moss") == []
    lab("integrate", "moss", "barge")
    lab.wait(lambda records: len(records.units_of("moss")) == 2)
    lab.settle()
    lab.wait(lambda _: all(u.local.relations["1"].members for u in lab.records.units_of("moss")
                           if "1" in u.local.relations))  # fmt: skip
    for unit in lab.records.units_of("moss"):
        assert unit.machine == lab.unit(unit.principal).machine
        host = [line for line in lab.told(unit.name) if line.startswith("host-")]
        assert host[0] == f"host-relation-created - {unit.principal}"
        assert host[1:] == [
            f"host-relation-{kind} {unit.principal} {unit.principal}"
            for kind in ("joined", "changed")
        ]
    assert not [line for line in lab.told("barge/0") if "juju-info" in line]
    status = lab.json("status")["applications"]
    assert status["moss"]["subordinate-to"] == ["barge"]
    assert "units" not in status["moss"]
    beside = status["barge"]["units"]["barge/0"]["subordinates"]
    assert [len(beside), "machine" in next(iter(beside.values()))] == [1, False]
    assert re.search(r"\nbarge/0\*? .*\n  moss/\d\*? ", lab("status"))
    assert "subordinate" in lab("status", "--relations")
    assert "is a subordinate, to remove use remove-relation" in lab.refused(
        "remove-unit", "moss/0"
    )
    assert "application is a subordinate" in lab.refused("add-unit", "moss")

    lab("remove-unit", "barge/0")
    lab.wait(lambda records: "barge/0" not in records.units)
    assert len(lab.records.units_of("moss")) == 1
    lab("remove-relation", "moss", "barge")
    lab.wait(lambda records: not records.units_of("moss"))
    assert [unit.name for unit in lab.records.units.values()] == ["barge/1"]
    assert "moss" in lab.records.applications


def test_a_subordinate_needs_no_machine_of_its_own(lab: Lab) -> None:
    charm = lab.pack(CHARMS / "moss")
    assert "cannot use --num-units" in lab.refused("deploy", charm, "-n", "2")
    lab("deploy", charm)
    assert lab.records.machines == {}


def test_several_models_are_strangers(lab: Lab) -> None:
    deploy(lab)
    lab("add-model", "other")
    lab("deploy", lab.pack(BARGE), "-n", "2")
    lab.settle("other")
    assert lab("switch") == "localjuju:admin/other\n"
    assert sorted(lab.json("status", "-m", "lab")["applications"]["barge"]["units"]) == ["barge/0"]
    assert sorted(lab.json("status")["applications"]["barge"]["units"]) == ["barge/0", "barge/1"]
    names = [model["short-name"] for model in lab.json("models")["models"]]
    assert names == ["lab", "other"]
    lab("destroy-model", "--no-prompt", "other")
    assert lab("switch") == "localjuju:admin/lab\n"
    assert lab.unit("barge/0").life == "alive"


def test_units_on_one_machine_take_turns(lab: Lab) -> None:
    order = 'date +%s%N >> "$CHARM_DIR/../../times"; sleep 0.02; date +%s%N >> "$CHARM_DIR/../../times"'
    lab("deploy", lab.pack(BARGE), "--config", f"order={order}")
    lab.wait(lambda records: records.machines)
    lab("add-unit", "barge", "--to", "0")
    lab.wait(lambda records: len(records.units) == 2)
    lab.settle()
    assert {unit.machine for unit in lab.records.units.values()} == {"0"}
    times = [int(line) for line in lab.inside("barge/0", "../times").read_text().split()]
    assert times == sorted(times)
    assert len(times) > 12
    lab("remove-unit", "barge/0")
    lab.wait(lambda records: "barge/0" not in records.units)
    assert list(lab.records.machines) == ["0"]
    lab("remove-unit", "barge/1")
    lab.wait(lambda records: not records.machines)
    assert "machine 7 not found" in lab.refused("add-unit", "barge", "--to", "7")


def test_a_failing_hook_is_tried_again_later_each_time(lab: Lab) -> None:
    lab("model-config", "localjuju-retry-seconds=0.01")
    failing = '[ "$name" != config-changed ] || [ "$(config-get speed)" != 13 ]'
    deploy(lab, order=failing)
    lab("config", "barge", "speed=13")
    lab.wait(lambda records: records.units["barge/0"].retries >= 4)
    status = lab.json("status")["applications"]["barge"]["units"]["barge/0"]
    assert status["workload-status"]["current"] == "error"
    assert status["workload-status"]["message"] == 'hook failed: "config-changed"'
    assert status["juju-status"]["current"] == "idle"
    tries = lab.hooks("barge/0").count("config-changed")
    assert tries >= 5
    lab("config", "barge", "speed=14")
    lab.settle()
    lab.wait(lambda records: records.units["barge/0"].retries == 0)
    assert not lab.unit("barge/0").local.failed


def test_without_automatic_retries_a_person_decides(lab: Lab) -> None:
    lab("model-config", "automatically-retry-hooks=false")
    deploy(lab, order='[ "$name" != config-changed ] || [ "$(config-get speed)" != 13 ]')
    before = lab.hooks("barge/0").count("config-changed")
    lab("config", "barge", "speed=13")
    lab.wait(lambda records: records.units["barge/0"].local.failed)
    lab("resolved", "barge/0")
    lab.wait(lambda _: lab.hooks("barge/0").count("config-changed") == before + 2)
    lab.wait(lambda records: records.units["barge/0"].local.failed)
    lab("resolved", "--no-retry", "barge/0")
    lab.wait(lambda records: not records.units["barge/0"].local.failed)
    assert lab.hooks("barge/0").count("config-changed") == before + 2
    assert "is not in an error state" in lab.refused("resolved", "barge/0")


def test_actions_run_while_a_hook_is_in_error(lab: Lab) -> None:
    lab("model-config", "automatically-retry-hooks=false")
    deploy(lab, order='[ "$name" != config-changed ] || [ "$(config-get speed)" != 13 ]')
    lab("config", "barge", "speed=13")
    lab.wait(lambda records: records.units["barge/0"].local.failed)
    shown = lab.json("run", "barge/0", "turn", "side=port")["barge/0"]
    assert shown["results"] == {"degrees": "90", "return-code": 0}
    assert "must be less than or equal" in lab.refused(
        "run", "barge/0", "turn", "side=port", "degrees=999"
    )
    assert "property is missing" in lab.refused("run", "barge/0", "turn")


def test_a_hook_that_hangs_is_seen_and_can_be_killed(lab: Lab) -> None:
    deploy(lab)
    order = '[ "$name" != config-changed ] || { echo $$ > "$CHARM_DIR/../hanging"; sleep 1000; }'
    lab("config", "barge", f"order={order}")
    lab.wait(
        lambda records: records.units["barge/0"].agent.message == "running config-changed hook"
    )
    assert "(config-changed)" in lab("status")
    file = lab.inside("barge/0", "hanging")
    wait_for(lambda: file.exists() and file.read_text().strip(), 10, "the hook hangs")
    lab("config", "barge", "order=")
    os.killpg(int(file.read_text()), signal.SIGKILL)
    lab.settle()
    lab.wait(lambda records: not records.units["barge/0"].local.failed)


def test_a_task_that_hangs_can_be_cancelled(lab: Lab) -> None:
    deploy(lab)
    lab("run", "--background", "barge/0", "wait")
    file = lab.inside("barge/0", "waiting")
    wait_for(lambda: file.exists() and file.read_text().strip(), 10, "the action waits")
    assert lab.json("show-task", "2")["status"] == "running"
    lab("cancel-task", "2")
    lab.wait(lambda records: records.tasks["2"].status == "aborted")
    assert lab.json("run", "barge/0", "turn", "side=port")["barge/0"]["status"] == "completed"


def test_a_task_is_cancelled_at_whatever_moment(lab: Lab) -> None:
    """Before its process exists, while it begins, and when it has begun."""
    deploy(lab)
    for pause_s in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1):
        lab("run", "--background", "barge/0", "wait")
        number = max(lab.records.tasks, key=int)
        lab.wait(lambda records: records.tasks[number].status == "running")  # noqa: B023
        lab.host().book.wait_for(lambda: False, pause_s)
        lab("cancel-task", number)
        lab.wait(lambda records: records.tasks[number].is_done)  # noqa: B023
        assert lab.records.tasks[number].status == "aborted"


def test_a_charm_that_floods_its_log(lab: Lab) -> None:
    deploy(lab, order='[ "$name" != install ] || yes flood | head -c 600000')
    log = lab.host().folder / "debug.log"
    assert log.stat().st_size < 70 << 20
    assert lab("debug-log", "--limit", "3").count("\n") == 3
    assert lab.unit("barge/0").local.started


def test_secret_hooks(lab: Lab) -> None:
    order = (
        'case "$name" in '
        "start) secret-add --owner unit --label key --rotate hourly --expire 2h abc=1;; "
        'secret-rotate) secret-set "$JUJU_SECRET_ID" abc=2;; '
        'secret-remove) secret-remove "$JUJU_SECRET_ID" --revision "$JUJU_SECRET_REVISION";; '
        'secret-expired) secret-remove "$JUJU_SECRET_ID" --revision "$JUJU_SECRET_REVISION";; '
        "esac"
    )
    deploy(lab, order=order)
    (secret,) = lab.records.secrets.values()
    assert secret.rotate == "hourly"
    with lab.host().book.change():
        secret.next_rotate = 1.0
    lab.wait(lambda _: secret.latest == 2)
    lab.wait(lambda _: "secret-remove" in lab.hooks("barge/0"))
    lab.wait(lambda _: list(secret.revisions) == ["2"])
    assert secret.next_rotate > 1.0
    with lab.host().book.change():
        secret.revisions["2"].expire = 1.0
    lab.wait(lambda records: not records.secrets)
    told = [line for line in lab.told("barge/0") if line.startswith("secret-")]
    assert told == ["secret-rotate - key", "secret-remove - key", "secret-expired - key"]


def test_rotation_repeats_until_there_is_a_new_revision(lab: Lab) -> None:
    deploy(lab, order='[ "$name" != start ] || secret-add --owner unit --rotate hourly abc=1')
    (secret,) = lab.records.secrets.values()
    for count in (1, 2):
        with lab.host().book.change():
            secret.next_rotate = 1.0
        lab.wait(lambda _: lab.hooks("barge/0").count("secret-rotate") == count)  # noqa: B023
        lab.wait(lambda _: secret.next_rotate > 1.0)  # the hook has been committed
    assert secret.latest == 1


def test_update_status_comes_in_its_interval(lab: Lab) -> None:
    deploy(lab)
    due = lab.unit("barge/0").next_update_status - lab.host().book.now()
    assert 0.8 * 300 - 5 <= due <= 1.2 * 300
    lab("model-config", "update-status-hook-interval=50ms")
    lab.wait(lambda _: lab.hooks("barge/0").count("update-status") >= 3)
    lab("model-config", "update-status-hook-interval=1h")
    status = {entry[2] for entry in lab.unit("barge/0").history if entry[1] == "juju-unit"}
    assert "executing" in status
    messages = [entry[3] for entry in lab.unit("barge/0").history]
    assert not [text for text in messages if "update-status" in text]


def test_refresh_keeps_what_the_charm_made(lab: Lab) -> None:
    deploy(lab, order='[ "$name" != install ] || echo mine > "$CHARM_DIR/made"')
    charm = lab.inside("barge/0", "charm")
    lab("refresh", "barge", "--path", lab.pack(BARGE, extra="new"))
    lab.wait(lambda _: lab.hooks("barge/0")[-2:] == ["upgrade-charm", "config-changed"])
    lab.settle()
    assert (charm / "extra").read_text() == "new"
    assert (charm / "made").read_text() == "mine\n"
    lab("refresh", "barge", "--path", lab.pack(BARGE, other="newer"))
    lab.wait(lambda _: lab.hooks("barge/0").count("upgrade-charm") == 2)
    assert [(charm / name).exists() for name in ("extra", "other", "made")] == [False, True, True]
    again = lab.pack(BARGE, other="newer")
    lab("refresh", "barge", "--path", again)
    lab.wait(lambda _: lab.hooks("barge/0").count("upgrade-charm") == 3)
    assert lab.json("status")["applications"]["barge"]["charm-rev"] == 3


def test_refresh_takes_nothing_away(lab: Lab) -> None:
    deploy(lab, "--storage", "hold=rootfs")
    lab("deploy", lab.pack(BARGE), "other")
    lab("integrate", "barge:pier", "other:dock")
    text = (BARGE / "metadata.yaml").read_text()
    for old, new, complaint in (
        ("  pier: {interface: barge_pier, limit: 1}\n", "",
         'to charm "local:barge-1": would break relation "other:dock barge:pier"'),
        ("interface: barge_pier, limit", "interface: other, limit", "would break relation"),
        ("  hold: {type: filesystem, multiple", "  deck: {type: filesystem, multiple",
         'existing storage "hold" removed'),
        ("type: filesystem", "type: block",
         'existing storage "hold" type changed from "filesystem" to "block"'),
        ("name: barge", "name: raft", 'cannot refresh "barge" to "raft": different charms'),
    ):  # fmt: skip
        assert old in text
        charm = lab.pack(BARGE, **{"metadata.yaml": text.replace(old, new)})
        assert complaint in lab.refused("refresh", "barge", "--path", charm)
    assert lab.json("status")["applications"]["barge"]["charm-rev"] == 0


def test_refresh_waits_for_an_error_unless_forced(lab: Lab) -> None:
    lab("model-config", "automatically-retry-hooks=false")
    deploy(
        lab,
        order='[ "$name" != config-changed ] || [ -e "$CHARM_DIR/extra" ] || [ "$(config-get speed)" = 3 ]',
    )
    lab("config", "barge", "speed=4")
    lab.wait(lambda records: records.units["barge/0"].local.failed)
    lab("refresh", "barge", "--path", lab.pack(BARGE, extra="new"), "--force-units")
    lab.wait(lambda records: records.units["barge/0"].local.deployed.endswith("-1"))
    lab("resolved", "barge/0")
    lab.wait(lambda records: not records.units["barge/0"].local.failed)
    assert "upgrade-charm" not in lab.hooks("barge/0")


def test_resources(lab: Lab) -> None:
    (lab.folder / "map").write_text("here be")
    deploy(
        lab,
        order='[ "$name" != upgrade-charm ] || cp "$CHARM_DIR/../../../../../..$(resource-get map)" "$CHARM_DIR/../map"',
    )
    assert lab.json("resources", "barge")["resources"][0]["used"] is False
    lab("attach-resource", "barge", f"map={lab.folder / 'map'}")
    lab.wait(lambda _: lab.inside("barge/0", "map").exists())
    assert lab.inside("barge/0", "map").read_text() == "here be"
    assert lab.json("resources", "barge")["resources"][0]["revision"] == "0"
    (lab.folder / "map").write_text("dragons")
    lab("attach-resource", "barge", f"map={lab.folder / 'map'}")
    lab.wait(lambda _: lab.inside("barge/0", "map").read_text() == "dragons")
    assert "has no resource" in lab.refused(
        "attach-resource", "barge", f"chart={lab.folder / 'map'}"
    )


def test_relation_limits_and_ambiguity(lab: Lab) -> None:
    charm = lab.pack(BARGE)
    for name in ("one", "two", "three"):
        lab("deploy", charm, name)
    assert "ambiguous relation" in lab.refused("integrate", "one", "two")
    lab("integrate", "one:pier", "two:dock")
    assert "already exists" in lab.refused("integrate", "two:dock", "one:pier")
    assert "would exceed its maximum relation limit of 1" in lab.refused(
        "integrate", "one:pier", "three:dock"
    )
    assert "no relations found" in lab.refused("integrate", "one:cargo", "two:dock")
    assert 'has no "deck" relation' in lab.refused("integrate", "one:deck", "two")


def test_removal_in_error_waits_and_force_does_not(lab: Lab) -> None:
    lab("model-config", "automatically-retry-hooks=false")
    deploy(lab, "-n", "2", order='[ "$name" != stop ]')
    lab("remove-unit", "barge/0")
    lab.wait(lambda records: records.units["barge/0"].local.failed)
    assert (
        lab.json("status")["applications"]["barge"]["units"]["barge/0"]["juju-status"]["life"]
        == "dying"
    )
    lab("resolved", "--no-retry", "barge/0")
    lab.wait(lambda records: "barge/0" not in records.units)
    lab("remove-unit", "--force", "barge/1")
    lab.wait(lambda records: not records.units)


def test_removed_by_force_in_the_middle_of_a_hook(lab: Lab) -> None:
    """The hook dies with its unit, nothing is complained of, and the name can be used again."""
    order = 'echo $$ > "$CHARM_DIR/../waiting"; [ "$name" != start ] || exec sleep 1000'
    lab("deploy", lab.pack(BARGE), "--config", f"order={order}")
    lab.wait(lambda records: records.units["barge/0"].agent.message == "running start hook")
    wait_for(lambda: lab.hooks("barge/0")[-1] == "start", 10, "the hook has begun")
    wait_for(lambda: lab.inside("barge/0", "waiting").read_text().strip(), 10, "its process")
    process = int(lab.inside("barge/0", "waiting").read_text())
    lab("run", "--background", "barge/0", "turn", "side=port")
    agent = lab.host().agents["barge/0"]
    lab("remove-application", "barge", "--force")
    assert lab.records.units == {}
    wait_for(lambda: not Path(f"/proc/{process}").exists(), 10, "the hook is dead")
    lab("deploy", lab.pack(BARGE))
    lab.settle()
    agent.join(10)
    assert not agent.is_alive()
    assert lab.hooks("barge/0") == [
        "install", "crew-relation-created", "leader-elected", "config-changed", "start",
    ]  # fmt: skip
    task = lab.json("show-task", "2")
    assert (task["status"], task["message"]) == ("cancelled", "unit removed")
    log = lab("debug-log", "--replay", "--level", "WARNING")
    assert log == ""


def test_removed_by_force_while_a_hook_is_prepared(lab: Lab) -> None:
    """Between its preparation and its context: nothing to complain of, the agent just ends."""
    deploy(lab)
    agent = lab.host().agents["barge/0"]
    lab("remove-application", "barge", "--force")
    with agent.book.read(), pytest.raises(UnitGone):
        make_context(agent, "hook", "start")


def test_a_dying_leader_leads_to_the_end(lab: Lab) -> None:
    deploy(
        lab,
        "-n",
        "2",
        order='echo "$name $(is-leader)" >> "$CHARM_DIR/../../../../../../../leads-${JUJU_UNIT_NAME#*/}"',
    )
    leader = next(u.name for u in lab.records.units.values() if u.local.leader)
    root = lab.host().keepers[lab.unit(leader).machine].container.root
    file = root.parent / f"leads-{leader.partition('/')[2]}"
    other = next(name for name in lab.records.units if name != leader)
    text: list[str] = []

    def left(records: Records) -> bool:
        if file.exists():
            text[:] = file.read_text().splitlines()
        return leader not in records.units

    lab("remove-unit", leader)
    lab.wait(left)
    lab.wait(lambda records: records.units[other].local.leader)
    assert "leader-elected" in lab.hooks(other)
    assert [line for line in text if line.startswith("stop")] in (["stop True"], [])


def test_broken_charms_are_refused(lab: Lab, tmp_path: Path) -> None:
    junk = tmp_path / "junk.charm"
    junk.write_text("no zip")
    assert "is not a packed charm" in lab.refused("deploy", str(junk))
    assert "no charm was found" in lab.refused("deploy", "./nowhere.charm")
    empty = lab.pack(tmp_path / "nothing")
    assert "has no metadata.yaml" in lab.refused("deploy", empty)
    for text, complaint in (
        ("a: [", "cannot read metadata.yaml"),
        ("- a", "metadata.yaml: expected a map"),
        ("summary: x", "metadata: name: expected string, got nothing"),
        ("name: Bad_Name", 'metadata: name: invalid charm name "Bad_Name"'),
        ("name: a\nprovides: {x: {}}", "metadata: provides.x.interface: expected string, got nothing"),
        ("name: a\nprovides: [x]", "metadata: provides: expected map"),
        ("name: a\nprovides: {x: i}\nrequires: {x: i}", 'charm "a" using a duplicated relation name: "x"'),
        ("name: a\nprovides: {juju-info: i}", 'charm "a" using a reserved relation name: "juju-info"'),
        ("name: a\nstorage: {d: {type: tape}}", 'metadata: storage.d.type: unexpected value "tape"'),
        ("name: a\nstorage: {d: {type: filesystem, multiple: {range: x}}}", "multiple.range"),
        ("name: a\nsubordinate: true", 'subordinate charm "a" lacks "requires" relation with container scope'),
    ):  # fmt: skip
        charm = lab.pack(tmp_path / "nothing", **{"metadata.yaml": text, "dispatch": ""})
        assert complaint in lab.refused("deploy", charm), text
    assert lab.records.applications == {}
    assert lab.records.charms == {}
    bad = {"metadata.yaml": "name: a", "dispatch": ""}
    charm = lab.pack(tmp_path / "nothing", **bad, **{"config.yaml": "options: {x: {type: date}}"})
    assert 'invalid config: option "x" has unknown type "date"' in lab.refused("deploy", charm)
    charm = lab.pack(tmp_path / "nothing", **bad, **{"actions.yaml": "Bad_name: {}"})
    assert "bad action name Bad_name" in lab.refused("deploy", charm)
    charm = lab.pack(tmp_path / "nothing", **bad)
    outside = {"metadata.yaml": "name: a", "../over": "the edge"}
    assert "lies outside the charm" in lab.refused("deploy", lab.pack(tmp_path, **outside))
    assert 'unknown option "colour"' in lab.refused("deploy", charm, "--config", "colour=red")
    assert 'has no store called "data"' in lab.refused("deploy", charm, "--storage", "data=1G")
    assert lab.records.applications == {}


def test_a_refused_deployment_leaves_nothing(lab: Lab) -> None:
    charm = lab.pack(BARGE)
    for words in (
        ("--storage", "hold=nopool"),
        ("--storage", "hold=3"),
        ("--config", "speed=fast"),
        ("--to", "99"),
        ("--config", "nothing=1"),
    ):
        lab.refused("deploy", charm, *words)
    assert lab.records.applications == lab.records.units == lab.records.machines == {}
    deploy(lab, "--storage", "hold=rootfs,1G")
    assert list(lab.records.storage) == ["hold/0"]


def test_storage_pools(lab: Lab) -> None:
    lab("create-storage-pool", "fast", "loop")
    lab("create-storage-pool", "here", "hostdir", f"path={lab.folder / 'pool'}")
    pools = lab.json("storage-pools")
    assert pools["here"] == {"provider": "hostdir", "attrs": {"path": str(lab.folder / "pool")}}
    assert set(pools) == {"fast", "here", "loop", "rootfs", "tmpfs"}
    assert "already exists" in lab.refused("create-storage-pool", "fast", "loop")
    assert 'storage provider "tape" not found' in lab.refused("create-storage-pool", "t", "tape")
    assert "absolute path" in lab.refused("create-storage-pool", "h", "hostdir")
    deploy(lab, "--storage", "hold=rootfs")
    assert 'pool "slow" not found' in lab.run("add-storage", "barge/0", "hold=slow")[2]
    lab("remove-storage-pool", "fast")
    assert "not found" in lab.refused("remove-storage-pool", "fast")
    assert lab.refused("detach-storage", "hold/0").startswith("failed to detach hold/0: ")


def test_status_cuts_and_colours(lab: Lab) -> None:
    deploy(
        lab,
        order=f'[ "$name" != start ] || {{ status-set active "{"m" * 150}"; application-version-set {"1" * 30}; }}',
    )
    code, plain, _ = lab.run("status")
    assert (code, "\x1b" in plain) == (0, False)
    _, coloured, _ = lab.run("status", tty=True)
    assert "\x1b[" in coloured
    assert "m" * 117 + "..." in plain
    assert "1" * 12 + "..." in plain
    assert "\x1b" in lab.run("status", "--color")[1]
    assert "\x1b" not in lab.run("status", "--no-color", tty=True)[1]
    json.loads(lab.run("status", "--format", "json", tty=True)[1])
