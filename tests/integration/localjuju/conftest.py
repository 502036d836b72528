"""A state directory, a packed charm and a model that jubilant drives."""

import contextlib
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import jubilant
import pytest

from localjuju.machines.nspawn import missing_prerequisites

ROOM = Path(__file__).parent
JUJU = Path(sys.executable).with_name("juju")


def pack(name: str, folder: Path) -> Path:
    """Pack one of the shell charms."""
    target = folder / f"{Path(name).name}.charm"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted((ROOM / name).rglob("*")):
            archive.write(file, file.relative_to(ROOM / name))
    return target


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point the command line at a state directory of this module's own."""
    problem = missing_prerequisites()
    if problem:
        pytest.skip(problem)
    data = tmp_path_factory.mktemp("localjuju")
    before = os.environ.get("LOCALJUJU_DATA")
    os.environ["LOCALJUJU_DATA"] = str(data)
    yield data
    if before is None:
        del os.environ["LOCALJUJU_DATA"]
    else:
        os.environ["LOCALJUJU_DATA"] = before
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
def juju(state: Path) -> Iterator[jubilant.Juju]:
    """A temporary model."""
    model = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    model.add_model("meadow", config={"localjuju-lease-seconds": 4})
    yield model
    with contextlib.suppress(jubilant.CLIError):  # the last test has destroyed it
        model.destroy_model("meadow", destroy_storage=True, force=True)


@pytest.fixture(scope="module")
def charms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packed charms."""
    folder = tmp_path_factory.mktemp("charms")
    for name in ("sprout", "spade"):
        pack(f"charms/{name}", folder)
    return folder
