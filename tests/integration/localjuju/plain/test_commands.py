"""Single commands: what they keep, show and refuse, against the structures of Juju 3.6's client."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.plain_model import Lab

CHARMS = Path(__file__).parent / "charms"
BARGE = CHARMS / "barge"
EVERYWHERE = ["0.0.0.0/0", "::/0"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        lab("deploy", lab.pack(BARGE), "-n", "2", "--storage", "hold=rootfs,1G")
        lab("deploy", lab.pack(CHARMS / "moss"))
        lab.settle()
        yield lab


def exposed(lab: Lab) -> dict[str, dict[str, list[str]]]:
    shown = lab.json("show-application", "barge")["barge"]
    assert shown["exposed"] is lab.json("status")["applications"]["barge"]["exposed"]
    return shown.get("exposed-endpoints", {})  # type: ignore[no-any-return]


def test_expose_all_or_by_endpoint(lab: Lab) -> None:
    assert exposed(lab) == {}
    lab("expose", "barge")
    assert exposed(lab) == {"": {"expose-to-cidrs": EVERYWHERE}}
    lab("expose", "barge", "--endpoints", "pier,cargo", "--to-cidrs", "10.0.0.0/8, 192.168.1.0/24")
    lab("expose", "barge", "--endpoints", "crew", "--to-spaces", "alpha")
    some = {"expose-to-cidrs": ["10.0.0.0/8", "192.168.1.0/24"]}
    assert exposed(lab) == {
        "": {"expose-to-cidrs": EVERYWHERE}, "pier": some, "cargo": some,
        "crew": {"expose-to-spaces": ["alpha"]},
    }  # fmt: skip
    lab("expose", "barge", "--endpoints", "pier")
    assert exposed(lab)["pier"] == {"expose-to-cidrs": EVERYWHERE}
    assert "yes" in lab("status").splitlines()[4]
    lab("unexpose", "barge", "--endpoints", "pier,crew")
    assert sorted(exposed(lab)) == ["", "cargo"]
    lab("unexpose", "barge")
    assert exposed(lab) == {}
    assert lab("status").splitlines()[4].endswith(" no")


@pytest.mark.parametrize(("words", "text"), [
    (["expose"], "no application name specified"),
    (["expose", "barge", "moss"], 'unrecognized args: ["moss"]'),
    (["expose", "barge", "--endpoints", "mast"], 'endpoint "mast" not found'),
    (["expose", "barge", "--to-spaces", "dmz"], 'space "dmz" not found'),
    (["expose", "barge", "--to-cidrs", "10.0.0.1"], 'unable to parse "10.0.0.1" as a CIDR'),
    (["expose", "raft"], 'application "raft" not found'),
    (["unexpose", "barge", "--endpoints", "pier"], 'endpoint "pier" is not exposed'),
    (["unexpose", "barge", "--endpoints", "mast"], 'endpoint "mast" not found'),
])  # fmt: skip
def test_what_expose_refuses(lab: Lab, words: list[str], text: str) -> None:
    assert text in lab.refused(*words)
    assert exposed(lab) == {}


def test_show_application_has_what_juju_shows(lab: Lab) -> None:
    shown = lab.json("show-application", "barge", "moss")
    assert list(shown["barge"]) == [
        "charm", "base", "constraints", "principal", "exposed", "remote", "life", "endpoint-bindings",
    ]  # fmt: skip
    assert (shown["barge"]["principal"], shown["moss"]["principal"]) == (True, False)
    assert shown["barge"]["endpoint-bindings"] == dict.fromkeys(
        ["", "cargo", "crew", "dock", "pier"], "alpha"
    )
    assert 'application "raft" not found' in lab.refused("show-application", "barge", "raft")
    assert "application name 1/x not valid" in lab.refused("show-application", "1/x")
    assert "application names 1/x, y/ not valid" in lab.refused("show-application", "1/x", "y/")


def test_storage_by_what_backs_it(lab: Lab) -> None:
    whole = lab.json("storage")
    assert sorted(whole) == ["filesystems", "storage"]
    assert lab.json("storage", "--filesystem") == {"filesystems": whole["filesystems"]}
    one = lab.json("storage", "--filesystem", "1")["filesystems"]
    assert [body["storage"] for body in one.values()] == ["hold/1"]
    table = lab("storage", "--filesystem").splitlines()
    assert re.split(" {2,}", table[0]) == [
        "Machine", "Unit", "Storage ID", "ID", "Volume", "Provider ID", "Mountpoint", "Size", "State",
        "Message",
    ]  # fmt: skip
    assert [line.split()[:3] for line in table[1:]] == [
        ["0", "barge/0", "hold/0"], ["1", "barge/1", "hold/1"],
    ]  # fmt: skip
    assert lab.run("storage", "--volume") == (0, "", "No storage to display.\n")
    assert lab.run("storage", "--volume", "--format", "json") == (0, "", "")
    assert "can not be used together" in lab.refused("storage", "--volume", "--filesystem")
    assert "specifying IDs only supported" in lab.refused("storage", "hold/0")
    shown = lab.json("show-storage", "hold/0", "hold/1")
    assert shown == whole["storage"]
    assert 'storage "hold/9" not found' in lab.refused("show-storage", "hold/9")


def test_an_empty_list_is_told_beside_the_output(lab: Lab) -> None:
    lab("add-model", "bare")
    assert lab.run("storage", "-m", "bare") == (0, "", "No storage to display.\n")
    lab("destroy-model", "bare", "--no-prompt")


GO_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \w+")


def test_tasks_and_operations(lab: Lab) -> None:
    ran = lab.json("run", "barge/0", "turn", "side=port", "--utc")["barge/0"]
    assert sorted(ran) == ["id", "results", "status", "timing", "unit"]
    assert ran["results"] == {"degrees": "90", "return-code": 0}
    assert sorted(ran["timing"]) == ["completed", "enqueued", "started"]
    assert all(GO_TIME.fullmatch(when) for when in ran["timing"].values())
    assert ran["timing"]["enqueued"].endswith(" +0000 UTC")
    assert lab.json("show-task", ran["id"], "--utc") == ran
    operation = str(int(ran["id"]) - 1)
    shown = lab.json("show-operation", operation, "--utc")
    assert list(shown) == ["summary", "status", "action", "timing", "tasks"]
    assert shown["action"] == {"name": "turn", "parameters": {"degrees": 90, "side": "port"}}
    assert list(shown["timing"]) == ["enqueued", "started", "completed"]
    (task,) = shown["tasks"].values()
    assert list(task) == ["host", "status", "timing", "results"]
    assert task["host"] == "barge/0"
    lab("exec", "--unit", "barge/1", "true")
    everything = lab.json("operations", "--utc")
    assert everything[operation] == shown
    assert len(everything) == 2


@pytest.mark.parametrize(("words", "count"), [
    (["--units", "barge/1"], 1), (["--units", "barge/0,barge/1"], 2), (["--apps", "barge"], 2),
    (["--applications", "moss"], 0), (["--machines", "0"], 1), (["--actions", "turn"], 1),
    (["--actions", "juju-exec"], 1), (["--status", "completed"], 2), (["--status", "failed"], 0),
    (["--limit", "1"], 1), (["--offset", "1"], 1), (["--actions", "turn", "--machines", "1"], 0),
])  # fmt: skip
def test_operations_are_filtered(lab: Lab, words: list[str], count: int) -> None:
    code, out, err = lab.run("operations", *words, "--format", "json")
    assert code == 0
    assert (len(json.loads(out)) if out else 0) == count
    assert err == ("" if count else "no matching operations\n")


def test_a_page_of_operations(lab: Lab) -> None:
    lines = lab("operations", "--limit", "1").splitlines()
    assert lines[0] == "Displaying operation results 1 to 1."
    assert lines[1] == "Run the command again with --offset=1 --limit=1 to see the next batch."
    assert lines[3].split() == ["ID", "Status", "Started", "Finished", "Task", "IDs", "Summary"]
    assert 'invalid value "x" for option --limit' in lab.refused("operations", "--limit", "x")


def test_tasks_are_cancelled_and_that_is_told(lab: Lab) -> None:
    lab("run", "--background", "barge/0", "wait")
    lab.wait(lambda records: any(t.status == "running" for t in records.tasks.values()))
    lab("run", "--background", "barge/0", "turn", "side=port")
    running, pending = (
        next(t.id for t in lab.records.tasks.values() if t.status == status)
        for status in ("running", "pending")
    )
    code, out, err = lab.run("cancel-task", pending, running, "999", "--format", "json")
    assert code == 0
    told = json.loads(out)["actions"]
    assert [(item["action"], item["id"], item["status"], item["unit"]) for item in told] == [
        ("turn", pending, "cancelled", "barge/0"), ("wait", running, "aborting", "barge/0"),
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", told[0]["completed at"])
    assert told[1]["completed at"] == "n/a"
    assert err.startswith("WARNING The following tasks could not be canceled:\ntask: 999, error: ")
    lab.wait(lambda records: records.tasks[running].status == "aborted")


def test_relate_is_integrate(lab: Lab) -> None:
    lab("relate", "moss", "barge")
    lab.wait(lambda records: len(records.units_of("moss")) == 2)
    lab.settle()
    lab("remove-relation", "moss", "barge")
    lab.wait(lambda records: not records.units_of("moss"))


def test_status_is_shown_again_until_its_reader_leaves(lab: Lab) -> None:
    with lab.reading("status", "--watch", "50ms") as screens:
        first, second = next(screens), next(screens)
        assert first.startswith("Model ")
        assert [line.split()[0] for line in first.splitlines() if line.startswith("barge/")] == [
            line.split()[0] for line in second.splitlines() if line.startswith("barge/")
        ]
        lab("config", "barge", "speed=9")
        lab("add-unit", "barge")
        assert any("barge/2" in screen for screen in screens)
    assert not [t for t in threading.enumerate() if t.name == "reader"]
    with lab.reading("status", "--watch", "50ms", tty=True) as screens:
        assert next(screens).startswith("\x1b[H\x1b[2J")
    assert 'invalid value "soon" for option --watch' in lab.refused("status", "--watch", "soon")
