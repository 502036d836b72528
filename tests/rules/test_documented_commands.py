"""Commands in the documents name actions, parameters and options that exist."""

import re
from pathlib import Path

import pytest
import yaml

from tests.kit.pages import EXECUTED, list_pages, read_commands

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


def test_every_page_with_commands_is_executed():
    assert list_pages() == tuple(sorted(EXECUTED))


def test_every_executed_page_is_worked_through_to_its_end():
    """Each command of a page is taken by one call, in the page's order, by a word that it has."""
    story = (ROOT / "tests/integration/etcd/test_pages.py").read_text()
    for page in EXECUTED:
        assert f'Page("{page}"' in story, page
        body = story.partition(f'Page("{page}"')[2].partition("\ndef test_")[0]
        words = re.findall(r'page\.(?:run|skip|prepare)\(\s*(?:f?)"([^"]+)"', body)
        missing = [word for word in words if not any(word in c for c in read_commands(page))]
        assert not [word for word in missing if "{" not in word], (page, missing)


def test_every_promise_names_a_test_that_exists():
    text = (ROOT / "docs/reference/promises.md").read_text()
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("|") and not row.startswith(("|---", "| text"))
    ]
    assert len(rows) > 40
    files = {path.stem for path in (ROOT / "tests").rglob("*.py")}
    folders = {path.name for path in (ROOT / "tests/integration").iterdir()}
    folders |= {"conformance", "simulation"}
    for text_cell, verdict, _, seen in rows:
        assert verdict in {"verbatim", "corrected", "not applicable", "abolished"}, text_cell
        names = re.findall(r"`([^`]+)`", seen)
        assert names or verdict == "not applicable" or seen == "all", text_cell
        for name in names:
            last = name.rpartition("/")[2]
            is_test = last in files or last in folders or name.split("/")[0] in folders
            assert is_test or (ROOT / name).is_file(), (text_cell, name)
