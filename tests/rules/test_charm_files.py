"""What `charmcraft analyse` looks at, and a charm store's rules, without charmcraft.

The real one is run by hand, as CONTRIBUTING.md says; its linters are named here one by one.
"""

import ast
import os
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARMS = [ROOT, *(ROOT / "tests/charms" / name for name in ("authority", "consumer", "easyrsa"))]
SVG = "{http://www.w3.org/2000/svg}svg"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
OLD_NAMES = {
    "management_port",
    "heartbeat_interval",
    "election_timeout",
    "snapshot_count",
    "bind_to_all_interfaces",
}
"""Options with the names that operators of earlier charms know."""


def load(charm: Path, name: str) -> dict:
    path = charm / name
    return yaml.safe_load(path.read_text()) if path.is_file() else {}


@pytest.mark.parametrize("charm", CHARMS, ids=lambda charm: charm.name)
def test_metadata_says_who_and_what(charm):
    """Linter `metadata`: the three fields that a store demands, as texts."""
    metadata = load(charm, "metadata.yaml")
    for field in ("name", "display-name", "summary", "description"):
        assert isinstance(metadata[field], str), field
        assert metadata[field].strip(), field
    assert NAME.fullmatch(metadata["name"])
    assert len(metadata["summary"]) <= 100
    assert metadata["assumes"]


def test_the_entry_point_can_be_read_out_of_dispatch():
    """Linters `language`, `entrypoint` and `ops-main-call`."""
    dispatch = ROOT / "dispatch"
    assert os.access(dispatch, os.X_OK)
    last = [line for line in dispatch.read_text().splitlines() if line.strip()][-1]
    for charm in CHARMS:
        entry = charm / shlex.split(last)[-1]
        assert entry.suffix == ".py"
        assert os.access(entry, os.X_OK), entry
        tree = ast.parse(entry.read_text())
        calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "ops.main" in calls, entry


@pytest.mark.parametrize("charm", CHARMS, ids=lambda charm: charm.name)
def test_options_have_a_known_type_and_a_default_of_it(charm):
    """Linter `juju-config`."""
    types = {"string": str, "int": int, "float": float, "boolean": bool, "secret": str}
    for name, option in load(charm, "config.yaml").get("options", {}).items():
        assert set(option) <= {"type", "default", "description"}, name
        assert type(option["default"]) is types[option["type"]], name
        assert option["description"].strip(), name
        assert NAME.fullmatch(name) or name in OLD_NAMES, name


@pytest.mark.parametrize("charm", CHARMS, ids=lambda charm: charm.name)
def test_actions_are_schemas(charm):
    """Linter `juju-actions`."""
    for name, action in load(charm, "actions.yaml").items():
        assert NAME.fullmatch(name), name
        assert action["description"].strip(), name
        assert action["additionalProperties"] is False, name
        parameters = action.get("params", {})
        assert set(action.get("required", ())) <= set(parameters), name
        for parameter, schema in parameters.items():
            assert NAME.fullmatch(parameter), (name, parameter)
            assert schema["type"] in {"string", "boolean", "integer", "number"}, (name, parameter)


def test_the_icon_is_a_square_drawing():
    root = ET.parse(ROOT / "icon.svg").getroot()
    assert root.tag == SVG
    _, _, width, height = root.attrib["viewBox"].split()
    assert width == height


def test_the_library_s_version_is_its_folder_s():
    for path in (ROOT / "lib/charms").glob("*/v*/*.py"):
        constants = {
            ast.unparse(node.targets[0]): ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("LIB")
        }
        assert constants["LIBID"]
        assert f"v{constants['LIBAPI']}" == path.parent.name
        assert constants["LIBPATCH"] >= 1
