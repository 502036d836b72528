"""All that jubilant can ask of a Juju, unmodified; nothing here is particular to the local model.

`JUJU_FOR_TESTS=juju` (a program in PATH, or a path) runs it on the controller that this Juju is
logged in to; without it the local model of this repository answers.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jubilant
import pytest

from tests.integration.localjuju.conftest import FOREIGN_JUJU, JUJU, pack

pytestmark = pytest.mark.integration

PATIENCE_S = 900 if FOREIGN_JUJU else 60
POOL = "rootfs,64M"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("charms")
    for name in ("charms/sprout", "charms/spade", "plain/charms/moss"):
        pack(name, folder)
    return folder


@pytest.fixture(scope="module")
def model(state: Path, folder: Path) -> Iterator[jubilant.Juju]:
    """One model with one unit of a charm in shell."""
    juju = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=PATIENCE_S)
    juju.add_model("jubilee", config={"update-status-hook-interval": "10m"})
    juju.deploy(folder / "sprout.charm", config={"word": "bud"}, storage={"data": POOL})
    juju.wait(settled)
    yield juju
    with contextlib.suppress(jubilant.CLIError):
        juju.destroy_model("jubilee", destroy_storage=True, force=True)


def settled(status: jubilant.Status) -> bool:
    return jubilant.all_active(status) and jubilant.all_agents_idle(status)


def test_version_and_model(model: jubilant.Juju) -> None:
    version = model.version()
    assert version.major >= 3
    shown = model.show_model()
    assert shown.short_name == "jubilee"
    assert shown.model_type == "iaas"
    assert shown.life == "alive"


def test_status(model: jubilant.Juju) -> None:
    status = model.status()
    assert status.model.name == "jubilee"
    unit = status.apps["sprout"].units["sprout/0"]
    assert (unit.leader, unit.is_active, unit.open_ports) == (True, True, ["8080/tcp"])
    assert unit.workload_status.message == "bud"
    assert unit.juju_status.current == "idle"
    assert status.apps["sprout"].charm_origin == "local"
    assert status.apps["sprout"].scale in {0, 1}
    assert status.machines[unit.machine].juju_status.current == "started"
    assert status.machines[unit.machine].ip_addresses
    assert status.storage.storage["data/0"].kind == "filesystem"
    assert jubilant.any_waiting(status) is jubilant.any_blocked(status) is False


def test_configuration(model: jubilant.Juju) -> None:
    assert model.config("sprout")["word"] == "bud"
    model.config("sprout", {"word": "leaf", "count": 9})
    model.wait(lambda s: s.apps["sprout"].app_status.message == "leaf")
    assert (model.config("sprout")["word"], model.config("sprout")["count"]) == ("leaf", 9)
    model.config("sprout", reset="word")
    model.wait(lambda s: s.apps["sprout"].app_status.message == "hello")
    assert "trust" in model.config("sprout", app_config=True)
    model.trust("sprout")
    assert model.config("sprout", app_config=True)["trust"] is True
    model.trust("sprout", remove=True)
    with pytest.raises(jubilant.CLIError) as refusal:
        model.config("sprout", {"colour": "green"})
    assert 'unknown option "colour"' in refusal.value.stderr


def test_model_configuration(model: jubilant.Juju) -> None:
    assert model.model_config()["update-status-hook-interval"] == "10m"
    model.model_config({"update-status-hook-interval": "20m"})
    assert model.model_config()["update-status-hook-interval"] == "20m"
    model.model_config(reset="update-status-hook-interval")
    assert model.model_config()["update-status-hook-interval"] == "5m"
    model.model_constraints({"arch": "amd64"})
    assert model.model_constraints() == {"arch": "amd64"}
    model.model_constraints({})


def test_actions_and_commands(model: jubilant.Juju) -> None:
    task = model.run("sprout/0", "greet", {"name": "you"})
    assert (task.success, task.status, task.return_code) == (True, "completed", 0)
    assert task.results == {"text": "hello you", "deep": {"key": "1"}}
    assert task.stdout == "said\n"
    assert model.run("sprout/leader", "greet").results["text"] == "hello world"
    with pytest.raises(jubilant.TaskError) as error:
        model.run("sprout/0", "fails")
    assert (error.value.task.status, error.value.task.message) == ("failed", "exit status 4")
    with pytest.raises(ValueError, match="not found"):
        model.run("sprout/0", "undefined")
    assert model.exec("echo $JUJU_UNIT_NAME", unit="sprout/0").stdout == "sprout/0\n"
    machine = model.status().apps["sprout"].units["sprout/0"].machine
    assert model.exec("whoami", machine=int(machine)).stdout == "root\n"
    with pytest.raises(jubilant.TaskError) as error:
        model.exec("exit 7", unit="sprout/0")
    assert error.value.task.return_code == 7


def test_shells_and_copies(model: jubilant.Juju, tmp_path: Path) -> None:
    assert model.ssh("sprout/0", "whoami").strip() == "ubuntu"
    (tmp_path / "there").write_text("seed\n")
    model.scp(tmp_path / "there", "sprout/0:/tmp/seed")
    model.scp("sprout/0:/tmp/seed", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "seed\n"
    with pytest.raises(jubilant.CLIError) as error:
        model.ssh("sprout/0", "exit 3")
    assert error.value.returncode == 3
    assert "unit-sprout-0" in model.debug_log(limit=50)


def test_ssh_keys(model: jubilant.Juju) -> None:
    key = (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDl8yUkRkD1Q0LmJsoAVFhQGJ2Jc4vB9Hn2yKf5bPzqK someone"
    )
    model.add_ssh_key(key)
    assert "someone" in model.cli("ssh-keys", "--full")
    model.remove_ssh_key("someone")


def test_secrets_of_a_person(model: jubilant.Juju) -> None:
    uri = model.add_secret("password", {"word": "sesame"}, info="opens")
    shown = model.show_secret("password", reveal=True)
    assert (shown.content, shown.description, shown.revision) == ({"word": "sesame"}, "opens", 1)
    model.grant_secret("password", "sprout")
    assert "word: sesame" in model.exec(f"secret-get {uri}", unit="sprout/0").stdout
    model.update_secret(uri, {"word": "open"}, info="also opens", name="word")
    assert model.show_secret("word", revisions=True).revisions
    assert [secret.name for secret in model.secrets() if secret.name] == ["word"]
    model.remove_secret("word")
    assert [secret for secret in model.secrets() if secret.name] == []


def test_scale_and_relate(model: jubilant.Juju, folder: Path) -> None:
    model.add_unit("sprout", num_units=2)
    model.wait(lambda s: len(s.apps["sprout"].units) == 3 and settled(s))
    model.remove_unit("sprout/2")
    model.wait(lambda s: len(s.apps["sprout"].units) == 2 and settled(s))
    model.deploy(folder / "spade.charm")
    model.integrate("sprout:feed", "spade:feed")
    model.wait(lambda s: s.apps["spade"].app_status.message == "one" and settled(s))
    (info,) = [i for i in model.show_unit("spade/0").relation_info if i.endpoint == "feed"]
    assert info.related_units.keys() == {"sprout/0", "sprout/1"}
    assert info.app_data["secret"].startswith("secret:")
    model.remove_relation("sprout:feed", "spade:feed")
    model.wait(lambda s: not s.apps["spade"].relations and jubilant.all_agents_idle(s))


def test_machines(model: jubilant.Juju) -> None:
    before = set(model.status().machines)
    model.add_machine()
    model.wait(lambda s: len(s.machines) > len(before) and all(
        m.juju_status.current == "started" for m in s.machines.values()))  # fmt: skip
    (new,) = set(model.status().machines) - before
    model.add_unit("sprout", to=new)
    model.wait(lambda s: len(s.apps["sprout"].units) == 3 and settled(s))
    assert {u.machine for u in model.status().apps["sprout"].units.values()} >= {new}


def test_refresh(model: jubilant.Juju, folder: Path) -> None:
    revision = model.status().apps["sprout"].charm_rev
    (folder / "blob").write_text("words")
    model.refresh("sprout", path=folder / "sprout.charm", resources={"blob": str(folder / "blob")})
    model.wait(lambda s: s.apps["sprout"].charm_rev > revision and settled(s))
    assert model.run("sprout/0", "blob").results == {"text": "words"}


def test_a_subordinate(model: jubilant.Juju, folder: Path) -> None:
    model.deploy(folder / "moss.charm")
    model.integrate("moss", "sprout")
    model.wait(lambda s: all(u.subordinates for u in s.apps["sprout"].units.values()))
    model.wait(jubilant.all_agents_idle)
    assert model.status().apps["moss"].subordinate_to == ["sprout"]


def test_removal(model: jubilant.Juju) -> None:
    model.remove_application("moss", "sprout", "spade", destroy_storage=True)
    model.wait(lambda s: not s.apps)
    model.destroy_model("jubilee", destroy_storage=True)
    with pytest.raises(jubilant.CLIError):
        model.show_model("jubilee")


@pytest.mark.skipif(bool(FOREIGN_JUJU), reason="a real Juju can do these")
@pytest.mark.parametrize("words", [
    ("add-cloud", "elsewhere"), ("add-credential", "elsewhere"),
    ("update-cloud", "elsewhere"), ("offer", "a:b"), ("consume", "c:admin/m.a"), ("add-k8s", "k"),
])  # fmt: skip
def test_what_only_a_controller_can_do_is_refused_by_name(
    state: Path, words: tuple[str, ...]
) -> None:
    juju = jubilant.Juju(cli_binary=str(JUJU))
    with pytest.raises(jubilant.CLIError) as refusal:
        juju.cli(*words, include_model=False)
    assert "local model" in refusal.value.stderr
