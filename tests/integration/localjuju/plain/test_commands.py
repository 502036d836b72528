"""Single commands: what they keep, show and refuse, against the structures of Juju 3.6's client."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localjuju.entities import Storage
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


def test_show_unit_and_what_narrows_it(lab: Lab) -> None:
    shown = lab.json("show-unit", "barge/0")["barge/0"]
    assert list(shown) == [
        "machine", "opened-ports", "public-address", "charm", "leader", "life", "relation-info",
    ]  # fmt: skip
    (crew,) = shown["relation-info"]
    assert list(crew) == [
        "relation-id", "endpoint", "related-endpoint", "application-data", "local-unit",
        "related-units",
    ]  # fmt: skip
    assert crew["local-unit"]["in-scope"] is True
    assert sorted(crew["local-unit"]["data"]) == [
        "egress-subnets", "ingress-address", "private-address",
    ]  # fmt: skip
    assert list(crew["related-units"]) == ["barge/1"]

    def narrowed(*words: str) -> list[dict[str, Any]]:
        return lab.json("show-unit", "barge/0", *words)["barge/0"].get("relation-info", [])  # type: ignore[no-any-return]

    assert [sorted(info) for info in narrowed("--app")] == [
        ["application-data", "endpoint", "related-endpoint", "relation-id"]
    ]
    assert narrowed("--endpoint", "crew") == [crew]
    assert narrowed("--endpoint", "pier") == []
    assert "related-units" not in narrowed("--related-unit", "barge/7")[0]
    assert 'unit "barge/9" not found' in lab.refused("show-unit", "barge/9")


def test_the_log_of_statuses_is_narrowed(lab: Lab) -> None:
    everything = lab.json("show-status-log", "barge/0")
    assert len(everything) <= 20
    more = lab.json("show-status-log", "barge/0", "-n", "200")
    told = [(entry["type"], entry["status"], entry["message"]) for entry in more]
    assert told[:2] == [
        ("workload", "waiting", "waiting for machine"),
        ("juju-unit", "allocating", ""),
    ]
    assert [words for kind, *words in told if kind == "workload"] == [
        ["waiting", "waiting for machine"], ["waiting", "installing agent"],
        ["waiting", "agent initialising"], ["maintenance", "installing charm software"],
        ["unknown", ""],
    ]  # fmt: skip
    assert list(everything[0]) == ["since", "type", "status", "message"]
    assert lab.json("show-status-log", "barge/0", "-n", "1") == everything[-1:]
    only = lab.json("show-status-log", "barge/0", "--type", "workload")
    assert {entry["type"] for entry in only} == {"workload"}
    assert lab.json("show-status-log", "barge/0", "--days", "1")[-20:] == everything
    assert lab.json("show-status-log", "barge/0", "--from-date", "2020-02-03")[-20:] == everything
    assert lab.json("show-status-log", "barge/0", "--from-date", "2999-12-31") == []


@pytest.mark.parametrize(("words", "text"), [
    ([], "entity name is missing."),
    (["barge/0", "x"], "unexpected arguments after entity name."),
    (["barge/0", "--type", "mood"], 'unexpected status type "mood"'),
    (["barge/0", "-n", "3", "--days", "2"], "cannot be specified together"),
    (["barge/0", "--from-date", "soon"], "parsing backlog date"),
    (["barge/0", "-n", "x"], 'invalid value "x" for option -n'),
])  # fmt: skip
def test_what_the_log_of_statuses_refuses(lab: Lab, words: list[str], text: str) -> None:
    assert text in lab.refused("show-status-log", *words)


def test_resources_say_who_gave_them_and_when(lab: Lab) -> None:
    file = lab.folder / "map.txt"
    file.write_text("here be dragons")
    (store,) = lab.json("resources", "barge")["resources"]
    assert (store["origin"], store["used"], store["timestamp"]) == (
        "store", False, "0001-01-01T00:00:00Z",
    )  # fmt: skip
    lab("attach-resource", "barge", f"map={file}")
    (uploaded,) = lab.json("resources", "barge")["resources"]
    assert (uploaded["origin"], uploaded["used"], uploaded["size"], uploaded["username"]) == (
        "upload", True, 15, "admin",
    )  # fmt: skip
    assert uploaded["fingerprint"] == hashlib.sha384(b"here be dragons").hexdigest()
    name, giver, revision = lab("resources", "barge").splitlines()[1].split()
    assert (name, giver) == ("map", "admin")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", revision)
    lab.settle()


def test_secrets_of_a_person(lab: Lab) -> None:
    uri = lab("add-secret", "key", "token=abc", "--info", "a key").strip()
    (shown,) = lab.json("show-secret", uri).values()
    assert list(shown) == [
        "revision", "checksum", "rotation", "owner", "created", "updated", "description", "name",
    ]  # fmt: skip
    assert (shown["owner"], shown["name"], shown["description"]) == ("<model>", "key", "a key")
    content = '{"token":"YWJj"}'
    assert shown["checksum"] == hashlib.sha256(content.encode()).hexdigest()
    lab("update-secret", "key", "token=xyz")
    (again,) = lab.json("show-secret", "key", "--reveal").values()
    assert (again["revision"], again["content"]) == (2, {"Data": {"token": "xyz"}})
    assert again["checksum"] != shown["checksum"]
    (first,) = lab.json("show-secret", "key", "--reveal", "--revision", "1").values()
    assert first["content"] == {"Data": {"token": "abc"}}
    lab("grant-secret", "key", "barge")
    (granted,) = lab.json("show-secret", "key").values()
    assert [(a["target"], a["role"]) for a in granted["access"]] == [("application-barge", "view")]
    lab("revoke-secret", "key", "barge")
    assert "access" not in next(iter(lab.json("show-secret", "key").values()))
    listed = lab.json("secrets")
    assert list(listed) == [uri.removeprefix("secret:")]
    assert lab.json("secrets", "--owner", "barge") == {}
    both = lab.refused("show-secret", "key", "--reveal", "--revisions")
    assert "specify either --revisions or --reveal but not both" in both
    lab("remove-secret", "key")
    assert lab.json("secrets") == {}


def test_models_and_their_configuration(lab: Lab) -> None:
    (shown,) = lab.json("show-model", "lab").values()
    assert {"name", "short-name", "model-uuid", "model-type", "life", "status", "agent-version",
            "users", "machines", "cloud", "region", "controller-name"} <= set(shown)  # fmt: skip
    listed = lab.json("models")
    assert (listed["current-model"], [m["short-name"] for m in listed["models"]]) == (
        "lab",
        ["lab"],
    )
    config = lab.json("model-config")
    assert config["update-status-hook-interval"] == {"Value": "5m", "Source": "default"}
    lab("model-config", "update-status-hook-interval=7m")
    assert lab("model-config", "update-status-hook-interval") == "7m\n"
    changed = lab.json("model-config")["update-status-hook-interval"]
    assert changed == {"Value": "7m", "Source": "model"}
    lab("model-config", "--reset", "update-status-hook-interval")
    assert lab("model-config", "update-status-hook-interval") == "5m\n"
    assert 'key "mood" not found in "lab" model.' in lab.refused("model-config", "mood")
    lab("set-model-constraints", "mem=4G", "cores=2")
    assert lab("model-constraints") == "cores=2 mem=4G\n"
    assert lab.json("model-constraints") == {"cores": "2", "mem": "4G"}
    lab("set-model-constraints", "mem=", "cores=")


def test_configuration_of_an_application(lab: Lab) -> None:
    shown = lab.json("config", "barge")
    assert list(shown) == ["application", "application-config", "charm", "settings"]
    assert shown["settings"]["speed"]["source"] == "default"
    lab("config", "barge", "speed=8")
    assert lab("config", "barge", "speed") == "8\n"
    changed = lab.json("config", "barge")["settings"]["speed"]
    assert (changed["source"], changed["value"], changed["type"]) == ("user", 8, "int")
    lab("config", "barge", "--reset", "speed")
    assert lab("config", "barge", "speed") == "3\n"
    lab("trust", "barge")
    assert lab.json("config", "barge")["application-config"]["trust"]["value"] is True
    lab("trust", "barge", "--remove")
    assert "not found" in lab.refused("config", "barge", "mood")
    assert 'application "raft" not found' in lab.refused("config", "raft")
    lab.settle()


def test_machines_and_their_status(lab: Lab) -> None:
    shown = lab.json("show-machine", "0")
    assert list(shown) == ["model", "machines"]
    assert {"juju-status", "hostname", "dns-name", "ip-addresses", "instance-id", "machine-status",
            "base", "network-interfaces", "hardware"} <= set(shown["machines"]["0"])  # fmt: skip
    assert shown["machines"]["0"] == lab.json("machines")["machines"]["0"]
    assert shown["machines"]["0"] == lab.json("status")["machines"]["0"]


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


@pytest.mark.parametrize(("words", "text"), [
    (["config", "barge", "--file", "none.yaml"], "open none.yaml: no such file or directory"),
    (["config", "barge", "order=@none"], "open none: no such file or directory"),
    (["config", "barge", "--file", "list.yaml"], "list.yaml must contain a YAML map"),
    (["config", "barge", "--file", "bad.yaml"], "yaml: "),
    (["config", "barge", "mast=3"], 'unknown option "mast"'),
    (["config", "barge", "speed=fast"], 'option "speed" expected int, got "fast"'),
    (["run", "barge/0", "turn", "--params", "none"], "open none: no such file or directory"),
    (["run", "barge/0", "turn", "side=[port"], "yaml: "),
    (["add-secret", "s", "--file", "none"], "open none: no such file or directory"),
    (["debug-log", "-n", "x"], 'invalid value "x" for option --lines'),
    (["debug-log", "--level", "loud"], 'level value "loud" is not one of "TRACE", "DEBUG"'),
    (["add-machine", "-n", "x"], 'invalid value "x" for option -n'),
    (["show-secret", "s", "--revision", "x"], 'invalid value "x" for option --revision'),
    (["remove-unit", "barge/0", "--num-units", "1"], "--num-units is for models on Kubernetes"),
    (["wait-for", "application"], "application name must be supplied"),
    (["integrate", "barge:cargo", "moss:host"], "no relations found"),
    (["frobnicate"], '"frobnicate" is not a juju command'),
    (["status", "--format", "xml"], 'invalid value "xml" for option --format'),
])  # fmt: skip
def test_mistakes_are_told_in_words(lab: Lab, words: list[str], text: str) -> None:
    (lab.folder / "list.yaml").write_text("- a\n")
    (lab.folder / "bad.yaml").write_text("a: [\n")
    assert text in lab.refused(*words)


def test_a_dry_run_removes_nothing(lab: Lab) -> None:
    lab("integrate", "barge", "moss")
    lab.wait(lambda records: len(records.units_of("moss")) == len(records.units_of("barge")))
    lab.settle()
    before = sorted(lab.records.units), sorted(lab.records.machines), sorted(lab.records.relations)
    for words, told in (
        (("remove-unit", "barge/0"), "will remove unit barge/0\n"),
        (("remove-unit", "barge/0", "--force"), "will remove unit barge/0\n"),
        (("remove-application", "moss", "--force"), "will remove application moss\n"),
        (("remove-machine", "0", "--force"), "will remove machine 0\n"),
        (("remove-relation", "barge", "moss"), ""),
    ):
        code, _, err = lab.run(*words, "--dry-run")
        assert (code, err[: len(told)]) == (0, told)
    units = lab.records.units.values()
    assert {unit.life for unit in units} == {"alive"}
    assert before == (
        sorted(lab.records.units), sorted(lab.records.machines), sorted(lab.records.relations),
    )  # fmt: skip
    lab("remove-relation", "barge", "moss")
    lab.wait(lambda records: not records.units_of("moss"))


def test_deploy_takes_storage_that_is_there(lab: Lab) -> None:
    charm, item = lab.pack(BARGE), "hold/50"
    with lab.host().book.change() as records:
        records.storage[item] = Storage(item, "hold", "rootfs", 1024, "", provider="rootfs")
    assert "--attach-storage cannot be used with -n" in lab.refused(
        "deploy", charm, "tow", "-n", "2", "--attach-storage", item
    )
    assert 'storage "hold/99" not found' in lab.refused(
        "deploy", charm, "tow", "--attach-storage", "hold/99"
    )
    assert "tow" not in lab.records.applications
    lab("deploy", charm, "tow", "--attach-storage", item)
    lab.settle()
    assert [s.id for s in lab.records.storage.values() if s.unit == "tow/0"] == [item]
    assert "hold-storage-attached" in lab.hooks("tow/0")
    lab("remove-application", "tow")
    lab.wait(lambda records: "tow" not in records.applications)


def test_removed_storage_keeps_its_content_if_asked(lab: Lab) -> None:
    content = lab.host().folder / "storage/hold-60"
    for flag in ("--no-destroy", ""):
        content.mkdir(parents=True, exist_ok=True)
        with lab.host().book.change() as records:
            records.storage["hold/60"] = Storage("hold/60", "hold", "loop", 8, "", provider="loop")
        lab("remove-storage", "hold/60", *filter(None, [flag]))
        assert "hold/60" not in lab.records.storage
        assert content.exists() is bool(flag)


def test_deploy_refuses_what_belongs_to_bundles(lab: Lab) -> None:
    text = "options provided but not supported when deploying a charm: --dry-run, --overlay."
    assert text in lab.refused("deploy", lab.pack(BARGE), "x", "--dry-run", "--overlay", "o.yaml")
