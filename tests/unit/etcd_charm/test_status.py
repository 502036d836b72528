"""What `juju status` says, for units and for the application."""

import dataclasses

import pytest
from ops import testing

from etcd_charm.cluster.facts import DataState, Disk, EngineFacts
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.status import Level, describe, describe_app, list_notes
from tests.unit.etcd_charm.test_decisions import facts, member, view

GIB = 1 << 30


def healthy(count: int, **engine):
    fields = {"is_running": True, "data": DataState.OURS, **engine}
    members = [member(number) for number in range(count)]
    return facts(*range(1, count), engine=EngineFacts(**fields), view=view(*members))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1 member, can lose 0"),
        (2, "2 members, can lose 0 (no more than 1: odd numbers are better)"),
        (3, "3 members, can lose 1"),
        (4, "4 members, can lose 1 (no more than 3: odd numbers are better)"),
        (5, "5 members, can lose 2"),
    ],
)
def test_the_application_says_how_many_it_can_lose(count, text):
    known = healthy(count)
    report = describe_app(known, decide(known))
    assert (report.level, report.message) == (Level.ACTIVE, text)


@pytest.mark.parametrize(
    ("disk", "text"),
    [
        (Disk(10 * GIB, 10 << 20), "the disk of the data is full: 10 MiB free"),
        (Disk(10 * GIB, 9 * GIB, is_read_only=True), "read-only"),
    ],
)
def test_a_disk_that_takes_nothing_blocks(disk, text):
    known = healthy(3, disk=disk)
    report = describe(known, decide(known))
    assert report.level is Level.BLOCKED
    assert text in report.message


def test_a_disk_that_is_nearly_full_is_said_beside_the_health():
    known = healthy(3, disk=Disk(10 * GIB, GIB // 2))
    assert list_notes(known) == ("disk 95 % full",)
    assert describe(known, decide(known)).message.endswith("3 members, disk 95 % full")


def test_row_11_a_slow_disk_is_said_with_how_long_its_syncs_take():
    assert list_notes(healthy(3, disk=Disk(10 * GIB, 9 * GIB, sync_p99_ms=499))) == ()
    known = healthy(3, disk=Disk(10 * GIB, 9 * GIB, sync_p99_ms=2048))
    assert list_notes(known) == ("slow disk: syncs take 2.0 s (p99)",)


@pytest.mark.parametrize(
    ("days", "notes"),
    [
        (21, ()),
        (20, ("certificate ends in 20 d",)),
        (-1, ("a certificate has expired",)),
        (None, ()),
    ],
)
def test_row_19_the_end_of_a_certificate_is_said_from_21_days_on(days, notes):
    assert list_notes(healthy(1, expires_in_days=days)) == notes


def test_an_alarm_blocks_and_names_the_action():
    known = healthy(3)
    raised = dataclasses.replace(known.view, alarms=("NOSPACE at etcd1",))
    known = dataclasses.replace(known, view=raised)
    assert "alarm-list" in describe(known, decide(known)).message
    assert describe_app(known, decide(known)).level is Level.BLOCKED


def test_a_learner_says_how_far_it_is():
    known = healthy(2)
    learner = member(0, is_learner=True, applied_index=30)
    known = dataclasses.replace(known, view=view(learner, member(1, applied_index=40)))
    assert describe(known, decide(known)).message == "catching up as a learner: 75 %"


def test_storage_that_is_not_mounted_is_never_an_empty_member():
    known = facts(engine=EngineFacts(data=DataState.UNMOUNTED))
    plan = decide(known)
    assert "not mounted" in plan.blocked
    assert plan.steps == ()


def test_the_leader_sets_the_status_of_the_application(bench):
    b = bench()
    state = b.found()
    assert state.app_status == testing.ActiveStatus("1 member, can lose 0")
