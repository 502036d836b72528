"""Commands in the documents name actions, parameters and options that exist."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = re.compile(r"juju (?:run|run-action) (?:new-)?etcd/\S+ ([a-z-]+)((?: +[a-z-]+=\S+)*)")
CONFIG = re.compile(r"juju (?:config etcd|deploy etcd --config)((?: +[a-z_-]+=\S+)+)")


def read_actions() -> dict[str, set[str]]:
    actions = yaml.safe_load((ROOT / "actions.yaml").read_text())
    return {name: set(action.get("params", {})) for name, action in actions.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_actions_and_their_parameters_exist(page):
    actions = read_actions()
    for name, parameters in RUN.findall(page.read_text()):
        assert name in actions, f"{page.name}: there is no action {name}"
        for pair in parameters.split():
            assert pair.partition("=")[0] in actions[name], f"{page.name}: {name} {pair}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_exist(page):
    options = yaml.safe_load((ROOT / "config.yaml").read_text())["options"]
    for pairs in CONFIG.findall(page.read_text()):
        for pair in pairs.split():
            assert pair.partition("=")[0] in options, f"{page.name}: {pair}"


def test_every_action_is_named_in_some_document_beside_the_reference():
    texts = "".join(p.read_text() for p in PAGES if p.name != "actions.md")
    missing = [name for name in read_actions() if name not in texts]
    assert not missing
