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
FOREIGN_JUJU = os.environ.get("JUJU_FOR_TESTS", "")
"""The program of a real Juju, if the jubilant suite is to run on one."""
JUJU = Path(shutil.which(FOREIGN_JUJU or Path(sys.executable).with_name("juju")) or FOREIGN_JUJU)


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
    if FOREIGN_JUJU:
        yield Path(os.devnull)
        return
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


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On a real Juju run what can run there."""
    here = collection_path.name.startswith("test_") and collection_path.parent == ROOM
    return True if FOREIGN_JUJU and here and collection_path.name != "test_jubilant.py" else None
