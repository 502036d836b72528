"""How fast it is: a status, a hook around a charm that does nothing, and doing nothing at all."""

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import jubilant
import pytest

from tests.integration.localjuju.conftest import JUJU, pack

pytestmark = pytest.mark.integration

UNITS = 5
STATUS_SECONDS = 0.1
HOOK_SECONDS = 0.06
IDLE_SECONDS = 5.0
IDLE_SHARE = 0.004  # one or two clock ticks


@pytest.fixture(scope="module")
def track(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[jubilant.Juju]:
    """Five units of a charm that does nothing."""
    model = jubilant.Juju(cli_binary=str(JUJU), wait_timeout=60)
    model.add_model("track")
    model.deploy(pack("charms/nothing", tmp_path_factory.mktemp("charms")), num_units=UNITS)
    model.wait(lambda s: len(s.apps["nothing"].units) == UNITS and jubilant.all_agents_idle(s))
    yield model
    with contextlib.suppress(jubilant.CLIError):
        model.destroy_model("track", destroy_storage=True, force=True)


def test_status_is_quick(track: jubilant.Juju) -> None:
    times = []
    for _ in range(15):
        began = time.monotonic()
        command = [str(JUJU), "status", "--format", "json", "-m", "track"]
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.monotonic() - began)
    print(f"status: median {statistics.median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f}")
    assert statistics.median(times) < STATUS_SECONDS


def test_a_hook_costs_little_beside_the_charm(track: jubilant.Juju) -> None:
    """From one hook's end to the next one's, while the charm itself does nothing."""
    for speed in range(4):
        track.exec(f"true {speed}", unit="nothing/0")
    track.add_unit("nothing")
    track.wait(lambda s: len(s.apps["nothing"].units) > UNITS and jubilant.all_agents_idle(s))
    log = track.cli(
        "debug-log", "--replay", "--date", "--ms", "--include", f"unit-nothing-{UNITS}"
    )
    ended = [
        datetime.fromisoformat(" ".join(line.split()[1:3])).timestamp()
        for line in log.splitlines()
        if 'juju.worker.uniter.operation ran "' in line
    ]
    costs = [later - earlier for earlier, later in pairwise(ended)]
    assert len(costs) > 8
    print(f"hook: median {statistics.median(costs) * 1000:.0f} ms of {len(costs)}")
    assert statistics.median(costs) < HOOK_SECONDS


def test_an_idle_model_is_idle(track: jubilant.Juju, state: Path) -> None:
    track.wait(jubilant.all_agents_idle)
    pid = int((state / "daemon.lock").read_text())

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(1)
    before = used()
    time.sleep(IDLE_SECONDS)
    share = (used() - before) / IDLE_SECONDS
    print(f"idle: {share:.2%} of one processor")
    assert share <= IDLE_SHARE
