"""Which process is a machine's init."""

import os
import subprocess
from pathlib import Path

import pytest

from localjuju.machines import nspawn


def test_a_process_that_ends_while_it_is_looked_at_is_not_a_machines_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor's shell has short-lived children before nspawn has one that stays."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    supervisor, program = 1, os.getpid()
    listed = {supervisor: [program], program: [ended.pid]}
    monkeypatch.setattr(nspawn, "_children", listed.__getitem__)
    container = nspawn.Container(tmp_path, "tag", "machine")
    container.pid = supervisor
    assert container._find_leader() == 0
