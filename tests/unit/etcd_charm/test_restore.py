"""Restoring: the action prepares, every unit takes its part, and nothing is lost if it fails."""

import dataclasses

import pytest
from ops import testing

from etcd_charm.cluster.facts import (
    Claim,
    DataState,
    EngineFacts,
    PeerUnit,
    Restore,
    RestoreState,
    UnitName,
)
from etcd_charm.cluster.leaving import Farewell, decide_leave
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.restore import describe_step
from etcd_charm.cluster.status import Level, describe
from etcd_charm.cluster.steps import StopMember, SwapRestored
from tests.unit.etcd_charm.conftest import app_bag, peer_bag
from tests.unit.etcd_charm.test_actions import run_action
from tests.unit.etcd_charm.test_decisions import ME, facts
from tests.unit.etcd_charm.test_reconcile_hooks import change, with_peers

ORDER = Restore("r1", ME, "new-token")
ELSEWHERE = Restore("r1", UnitName("etcd/1"), "new-token")


def running() -> EngineFacts:
    return EngineFacts(is_running=True, data=DataState.OURS)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "snapshot.tar.gz"
    path.write_bytes(b"x")
    return path


def with_snapshot(state, path):
    return change(state, resources={testing.Resource(name="snapshot", path=path)})


def test_without_a_snapshot_it_says_what_to_attach(bench, tmp_path):
    b = bench()
    empty = tmp_path / "snapshot.tar.gz"
    empty.touch()
    state = with_snapshot(b.found(), empty)
    with pytest.raises(testing.ActionFailed, match="attach a snapshot"):
        run_action(b, "restore", state)


@pytest.mark.parametrize("skips", [True, False])
def test_one_unit_restores_within_the_action(bench, source, skips):
    b = bench()
    state = with_snapshot(b.found(), source)
    results = run_action(b, "restore", state, **{"skip-backup": skips})
    assert b.engine.restored[0].source == source
    assert b.engine.restored[0].keeps_backup is not skips
    assert results["restore"]["state"] == "restored"
    assert results["restore"]["revision"] == "10000005"
    assert ("backup" in results) is not skips


def test_the_revision_that_clients_have_seen_is_told_to_the_restore(bench, source):
    b = bench()
    run_action(b, "restore", with_snapshot(b.found(), source))
    assert b.engine.restored[0].least_revision == 5


def test_after_it_the_leader_records_the_new_cluster(bench, source):
    b = bench()
    state = with_snapshot(b.found(), source)
    before = app_bag(state)["claim"]
    state = b.run(b.context.on.action("restore", params={}), state)
    assert "restore" in app_bag(state)
    state = b.run(b.context.on.update_status(), state)
    assert "restore" not in app_bag(state)
    assert b.engine.restored[0].token in app_bag(state)["claim"] != before
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status == testing.ActiveStatus("(leader) cluster is healthy with 1 member")
    assert app_bag(state)["cluster-id"]


def test_a_damaged_snapshot_stops_nothing(bench, source):
    b = bench(units={"etcd/0": "active", "etcd/1": "active"})
    state = with_snapshot(b.found(), source)
    b.engine.lacks = "the snapshot cannot be restored: checksum"
    with pytest.raises(testing.ActionFailed, match="checksum"):
        run_action(b, "restore", state)
    assert "restore" not in app_bag(state)
    assert b.engine.is_running


def test_new_data_that_does_not_serve_is_said_and_the_former_is_back(bench, source):
    b = bench()
    b.engine.restore_ends = RestoreState.FAILED
    with pytest.raises(testing.ActionFailed, match="former data is back"):
        run_action(b, "restore", with_snapshot(b.found(), source))


def test_only_the_leader_restores(bench, source):
    b = bench()
    state = dataclasses.replace(with_snapshot(b.found(), source), leader=False)
    with pytest.raises(testing.ActionFailed, match="leader"):
        run_action(b, "restore", state)


def test_on_several_units_it_waits_until_all_others_have_stopped(bench, source):
    b = bench(units={"etcd/0": "active", "etcd/1": "active"})
    state = with_snapshot(b.found(), source)
    state = b.run(b.context.on.action("restore", params={}), state)
    assert b.context.action_results["restore"]["state"] == "started"
    assert not any(isinstance(step, SwapRestored) for step in b.engine.steps)
    assert state.unit_status == testing.MaintenanceStatus("restoring: 0 of 1 members stopped")
    looks_count = b.engine.looks_count
    state = b.run(b.context.on.update_status(), state)
    assert b.engine.looks_count == looks_count, "nobody answers: all are about to stop"
    restore_id = b.engine.restored[0].restore_id
    bag = {"restore-step": f"{restore_id} stopped"}
    state = change(state, relations=with_peers(state, {1: bag}))
    state = b.run(b.context.on.update_status(), state)
    assert isinstance(b.engine.steps[-1], SwapRestored)
    assert peer_bag(state)["restore-step"] == f"{restore_id} restored"


def test_a_second_restore_waits_for_the_first_and_the_first_can_be_given_up(bench, source):
    b = bench(units={"etcd/0": "active", "etcd/1": "active"})
    state = with_snapshot(b.found(), source)
    state = b.run(b.context.on.action("restore", params={}), state)
    with pytest.raises(testing.ActionFailed, match="restores already"):
        run_action(b, "restore", state)
    state = b.run(b.context.on.action("restore", params={"cancel": True}), state)
    assert "restore" not in app_bag(state)
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status.name == "active"


def test_the_others_stop_and_show_it():
    known = facts(1, engine=running(), restore=ELSEWHERE)
    assert decide(known).steps == (StopMember(),)
    assert describe_step(known) == ""
    stopped = dataclasses.replace(known, engine=EngineFacts(data=DataState.OURS))
    assert decide(stopped).steps == ()
    assert describe_step(stopped) == "r1 stopped"
    report = describe(stopped, decide(stopped))
    assert report.level is Level.MAINTENANCE


def test_a_stop_for_another_restore_does_not_count():
    engine = EngineFacts(
        is_running=True,
        data=DataState.OURS,
        restore_id="r1",
        restore_state=RestoreState.READY,
    )
    peer = PeerUnit(UnitName("etcd/1"), restore_step="r0 stopped")
    known = facts(1, engine=engine, restore=ORDER, peers=(peer,))
    assert decide(known).steps == ()


def test_a_machine_that_knows_nothing_of_its_restore_gives_it_up():
    known = facts(1, engine=running(), restore=ORDER, is_leader=True)
    assert describe_step(known) == "r1 failed"
    plan = decide(known)
    assert plan.app.ends_restore
    assert plan.app.claim is None


def test_the_leader_records_the_outcome_that_the_restorer_shows():
    peer = PeerUnit(UnitName("etcd/1"), restore_step="r1 restored")
    known = facts(1, restore=ELSEWHERE, peers=(peer,), is_leader=True)
    app = decide(known).app
    assert app.claim == Claim(UnitName("etcd/1"), "new-token")
    assert app.replaces_claim
    assert app.cluster_id == ""


def test_a_restorer_that_is_gone_ends_the_restore_and_the_former_data_serves_on():
    known = facts(restore=ELSEWHERE, is_leader=True, engine=running())
    app = decide(known).app
    assert app.ends_restore
    assert app.claim is None


def test_a_unit_that_leaves_during_a_restore_just_stops():
    known = facts(1, engine=running(), restore=ELSEWHERE, is_dying=True)
    assert decide_leave(known).farewell is Farewell.STOP
