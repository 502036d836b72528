"""Leaving: through a survivor, known to all, or not at all."""

import pytest
from ops import testing

from etcd_charm.cluster.facts import DataState
from etcd_charm.cluster.leaving import LEAVE_TRIES


def leaver(bench, *others: str):
    """A founder beside other members, whose unit is dying."""
    names = {f"etcd/{number + 1}": "active" for number in range(len(others))}
    b = bench(units={"etcd/0": "active", **names})
    state = b.found()
    for number, name in enumerate(others):
        b.engine.cluster.found(name, f"https://10.0.0.{number + 1}:2380")
    b.goal_state.units["etcd/0"] = "dying"
    return b, state


def test_a_leaver_hands_over_is_removed_and_stops(bench):
    b, state = leaver(bench, "etcd1", "etcd2")
    state = b.run(b.context.on.stop(), state)
    names = {member.name for member in b.engine.cluster.members.values()}
    assert names == {"etcd1", "etcd2"}
    assert any(line.startswith("lead") for line in b.engine.cluster.history)
    assert b.engine.stopped == 1
    b.run(b.context.on.stop(), state)
    assert b.engine.has_left


def test_going_from_two_to_one_the_survivor_knows(bench):
    b, state = leaver(bench, "etcd1")
    b.run(b.context.on.stop(), state)
    assert [member.name for member in b.engine.cluster.members.values()] == ["etcd1"]


def test_the_last_unit_just_stops(bench):
    b, state = leaver(bench)
    b.run(b.context.on.stop(), state)
    assert len(b.engine.cluster.members) == 1
    assert b.engine.stopped == 1


def test_when_the_whole_application_goes_nobody_is_removed(bench):
    b, state = leaver(bench, "etcd1")
    b.goal_state.units["etcd/1"] = "dying"
    b.run(b.context.on.stop(), state)
    assert len(b.engine.cluster.members) == 2
    assert b.engine.stopped == 1


def test_a_removal_that_would_lose_the_quorum_fails_the_hook(bench):
    b, state = leaver(bench, "etcd1", "etcd2")
    list(b.engine.cluster.members.values())[2].is_running = False
    with pytest.raises(testing.errors.UncaughtCharmError, match="CannotLeave"):
        b.run(b.context.on.stop(), state)
    assert b.engine.rests == LEAVE_TRIES
    assert b.engine.is_running, "it goes on serving"


def test_a_lost_quorum_does_not_hold_the_unit(bench):
    b, state = leaver(bench, "etcd1", "etcd2")
    for member in list(b.engine.cluster.members.values())[1:]:
        member.is_running = False
    b.run(b.context.on.stop(), state)
    assert b.engine.stopped == 1
    assert len(b.engine.cluster.members) == 3, "the ghost rule finishes it"


def test_storage_that_goes_from_a_living_unit_stops_the_engine_only(bench):
    b = bench(units={"etcd/0": "active", "etcd/1": "active"})
    storage = testing.Storage("data")
    state = b.found(storages={storage})
    b.engine.cluster.found("etcd1", "https://10.0.0.1:2380")
    state = b.run(b.context.on.storage_detaching(storage), state)
    assert len(b.engine.cluster.members) == 2
    assert b.engine.stopped == 1
    b.engine.data = DataState.DETACHED
    state = b.run(b.context.on.update_status(), state)
    assert isinstance(state.unit_status, testing.BlockedStatus)
    assert not b.engine.is_running


def test_a_dying_unit_does_not_join_again(bench):
    b, state = leaver(bench, "etcd1", "etcd2")
    state = b.run(b.context.on.stop(), state)
    b.engine.steps.clear()
    state = b.run(b.context.on.update_status(), state)
    assert not b.engine.steps
    assert state.unit_status == testing.MaintenanceStatus("leaving")


def test_remove_takes_the_keys(bench):
    b, state = leaver(bench)
    b.run(b.context.on.remove(), state)
    assert b.engine.removed
