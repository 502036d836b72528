"""What this machine cannot run is skipped with the reason: machines without root, long tests."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from localjuju.machines.nspawn import missing_prerequisites

OWN_JUJU = Path(sys.executable).with_name("juju")


def _machines_problem() -> str:
    """Machines are this host's, unless a real Juju comes first in PATH."""
    found = shutil.which("juju")
    if found is not None and Path(found) != OWN_JUJU:
        return ""
    return missing_prerequisites()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    problem = _machines_problem()
    for item in items:
        if problem and item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.skip(reason=problem))
        if item.get_closest_marker("long") and not os.environ.get("RAFTKV_LONG"):
            item.add_marker(pytest.mark.skip(reason="only in ./run test-long"))
