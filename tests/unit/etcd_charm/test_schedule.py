"""Snapshots by the calendar: each one is tried, and the status says how the last one went."""

import json
import re

import pytest
from ops import testing

from etcd_charm.cluster.status import format_age
from etcd_charm.workload import host, schedule
from tests.unit.etcd_charm.conftest import app_bag
from tests.unit.etcd_charm.test_reconcile_hooks import change
from tests.unit.etcd_charm.test_workload_files import paths

__all__ = ["paths"]


def fire(b, state):
    """Let the timer run out."""
    state = b.complete(state)
    with b.context(b.context.on.update_status(), state) as manager:
        manager.charm.on.scheduled_snapshot.emit()
        return manager.run()


def scheduled(bench, **engine):
    b = bench()
    state = change(b.found(), config={"snapshot-schedule": "daily"})
    for name, value in engine.items():
        setattr(b.engine, name, value)
    state = fire(b, state)
    return b, b.run(b.context.on.update_status(), state)


def test_row_9_a_scheduled_snapshot_is_started_and_compared(bench):
    b, state = scheduled(bench)
    record = json.loads(app_bag(state)["snapshot"])
    assert record["problem"] == ""
    assert ("drop", b.engine.cared[-1][1], True) in b.engine.cared, "old ones go"
    assert re.search(r"verified snapshot \d+ s ago$", state.app_status.message)


def test_row_9_data_that_differs_is_said(bench):
    _, state = scheduled(bench, proof_hash=6)
    assert "differs" in state.app_status.message
    assert isinstance(state.app_status, testing.BlockedStatus)


def test_row_9_a_snapshot_that_does_not_start_is_said(bench):
    _, state = scheduled(bench, lacks="a member does not start on the restored data: torn page")
    assert "torn page" in json.loads(app_bag(state)["snapshot"])["problem"]


def test_a_unit_that_does_not_lead_takes_none(bench):
    b = bench()
    state = change(b.found(), config={"snapshot-schedule": "daily"}, leader=False)
    state = fire(b, state)
    assert "snapshot" not in app_bag(state)


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (61, "1 min"), (7300, "2 h"), (200_000, "2 d")]
)
def test_ages(seconds, text):
    assert format_age(seconds) == text


def test_the_timer_is_written_once_and_taken_away(paths, monkeypatch):
    commands = []
    monkeypatch.setattr(
        host.subprocess, "run", lambda words, **_: commands.append(words) or Done()
    )
    schedule.keep_timer(paths, "etcd/0", "*-*-* 03:00")
    timer = paths.find_unit_file("etcd-snapshot-etcd-0").with_suffix(".timer")
    assert "OnCalendar=*-*-* 03:00" in timer.read_text()
    service = timer.with_suffix(".service").read_text()
    assert "hooks/scheduled_snapshot" in service
    count = len(commands)
    schedule.keep_timer(paths, "etcd/0", "*-*-* 03:00")
    assert len(commands) == count
    schedule.keep_timer(paths, "etcd/0", "")
    assert not timer.exists()


class Done:
    returncode = 0
    stdout = ""
    stderr = ""
