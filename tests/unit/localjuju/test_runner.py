"""Killing a run at whatever moment: before it begins, as it begins, while it is read."""

import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from localjuju.machines.nspawn import Container
from localjuju.runner import Run
from tests.kit.waiting import wait_for


class OneProcess:
    """A machine that runs one process as it is, and knows of it only the second time it is asked."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.asked = 0

    def spawn(
        self, unit: str, command: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> subprocess.Popen[bytes]:
        del unit, environment, folder
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        return self.process

    def kill_unit(self, unit: str) -> None:
        del unit
        self.asked += 1
        if self.process is not None and self.asked > 1:
            self.process.kill()

    def is_up(self) -> bool:
        return True


@pytest.mark.parametrize("delay_s", [None, 0.0, 0.0005, 0.001, 0.002, 0.01])
def test_a_run_is_killed_at_whatever_moment(delay_s: float | None) -> None:
    machine = OneProcess()
    run = Run(cast(Container, machine), "unit")
    if delay_s is None:
        run.kill()
    else:
        threading.Timer(delay_s, run.kill).start()
    lines: list[tuple[str, str]] = []
    outcome = run.execute(
        ["sh", "-c", "echo begun; exec sleep 1000"], {}, "/", lambda *line: lines.append(line)
    )
    assert outcome.code == 128 + 9
    assert not outcome.lost
    assert machine.asked > 1
    assert lines in ([], [("stdout", "begun")])


def test_what_runs_is_dead_when_it_has_been_killed() -> None:
    """juju-reboot --now relies on it: the hook must not go on after the tool's answer."""
    machine = OneProcess()
    machine.asked = 1
    run = Run(cast(Container, machine), "unit")
    outcome: list[int] = []

    def perform() -> None:
        outcome.append(run.execute(["sleep", "1000"], {}, "/", lambda *_: None).code)

    thread = threading.Thread(target=perform)
    thread.start()
    wait_for(lambda: run._process is not None, 10, "the process exists")
    run.kill()
    assert machine.asked >= 2
    thread.join(10)
    assert outcome == [128 + 9]
