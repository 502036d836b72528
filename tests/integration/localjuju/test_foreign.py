"""Charms in other styles run as they are: plain hooks, the ops framework, a subordinate."""

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import jubilant
import pytest

from tests.integration.localjuju.conftest import JUJU, pack

pytestmark = pytest.mark.integration


def pack_with_ops(name: str, folder: Path) -> Path:
    """Pack a charm together with the framework, as ``charmcraft pack`` would."""
    target = pack(name, folder)
    with zipfile.ZipFile(target, "a") as archive:
        for name_of_part in sorted(_needed("ops")):
            for file in distribution(name_of_part).files or []:
                if ".." not in file.parts and file.suffix in {".py", ".txt", ""}:
                    archive.write(str(file.locate()), f"lib/{file}")
    return target


def _needed(name: str) -> set[str]:
    """Return a distribution and what it requires, as far as it is installed."""
    found = {name}
    for text in distribution(name).requires or []:
        if "extra" in text:
            continue
        with contextlib.suppress(PackageNotFoundError):
            found |= _needed(re.split(r"[^\w-]", text)[0])
    return found


@pytest.fixture(scope="module")
def desk(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[jubilant.Juju]:
    """A model with two applications of one ops charm."""
    folder = tmp_path_factory.mktemp("charms")
    model = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=20)
    model.add_model("desk")
    charm = pack_with_ops("charms/scribe", folder)
    model.deploy(charm, "author", storage={"desk": "loop,16M"})
    model.deploy(charm, "reader", storage={"desk": "tmpfs,16M"})
    model.deploy(pack("plain/charms/gate", folder))
    model.deploy(pack("plain/charms/moss", folder))
    model.wait(lambda status: status.apps["gate"].is_active, delay=0.1)
    yield model
    with contextlib.suppress(jubilant.CLIError):
        model.destroy_model("desk", destroy_storage=True, force=True)


def message(juju: jubilant.Juju, app: str) -> str:
    (unit,) = juju.status().apps[app].units.values()
    return unit.workload_status.message


def test_plain_hooks_without_any_framework(desk: jubilant.Juju) -> None:
    assert message(desk, "gate") == "open"
    log = desk.cli("debug-log", "--replay", "--include", "unit-gate-0", "--level", "DEBUG")
    assert "unit.gate/0.install said" in log


def test_secrets_storage_and_a_second_application(desk: jubilant.Juju) -> None:
    desk.wait(lambda _: message(desk, "reader") == "started 1", delay=0.1)
    desk.integrate("author:gives", "reader:takes")
    desk.wait(lambda _: message(desk, "reader") == "read one", delay=0.1)
    assert desk.run("author/0", "rewrite", {"word": "two"}).results["starts"] == "1"
    desk.wait(lambda _: message(desk, "reader") == "read two", delay=0.1)
    desk.wait(lambda _: message(desk, "author") == "removed 1", delay=0.1)
    assert desk.ssh("reader/0", "cat", "/srv/desk/word") == "two"
    (secret,) = json.loads(desk.cli("secrets", "--format", "json")).values()
    assert [secret["revision"], secret["owner"], secret["label"]] == [2, "author", "word"]
    (shown,) = desk.secrets()
    assert shown.label == "word"


def test_a_reboot_starts_again_with_what_was_stored(desk: jubilant.Juju) -> None:
    desk.exec("juju-reboot", unit="author/0")
    desk.wait(lambda _: message(desk, "author") == "started 2", delay=0.1)
    assert desk.ssh("reader/0", "cat", "/srv/desk/word") == "two"


def test_a_subordinate_beside_a_charm_that_knows_nothing_of_it(desk: jubilant.Juju) -> None:
    desk.integrate("moss", "author")
    desk.wait(lambda status: status.apps["author"].units["author/0"].subordinates, delay=0.1)
    desk.wait(jubilant.all_agents_idle, delay=0.1)
    status = desk.status()
    assert status.apps["moss"].subordinate_to == ["author"]
    (name,) = status.apps["author"].units["author/0"].subordinates
    host = desk.ssh("author/0", "hostname")
    assert desk.ssh(name, "hostname") == host
    desk.remove_relation("moss", "author")
    desk.wait(lambda status: not status.apps["author"].units["author/0"].subordinates, delay=0.1)


def test_the_second_application_leaves(desk: jubilant.Juju) -> None:
    desk.remove_application("author", destroy_storage=True)
    desk.wait(lambda status: "author" not in status.apps, delay=0.1)
    assert desk.secrets() == []
    desk.wait(jubilant.all_agents_idle, delay=0.1)
