"""Every case of the case files beside this one, through the real tool client and server."""

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.hooktools.runner import load, run_case

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
CASES = [case for file in FILES for case in load(file)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any], tmp_path: Path) -> None:
    assert run_case(case, tmp_path / "case") == []


def test_ids_are_unique() -> None:
    ids = [case["id"] for case in CASES]
    assert len(ids) == len(set(ids))
    assert len(ids) >= 400
