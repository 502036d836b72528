"""Actions on members and their upkeep: what they do, and what they refuse with which words."""

import json

import pytest
from ops import testing

from etcd_charm.cluster.facts import DataState, LogPosition, MemberId, RebuildState
from etcd_charm.cluster.steps import ForceAlone, StopForRebuild, StopMember
from tests.unit.etcd_charm.conftest import app_bag, peer_bag
from tests.unit.etcd_charm.test_actions import run_action
from tests.unit.etcd_charm.test_reconcile_hooks import change, with_peers

THREE = {"etcd/0": "active", "etcd/1": "active", "etcd/2": "active"}


def with_three(bench):
    b = bench(units=dict(THREE))
    state = b.found()
    b.engine.cluster.found("etcd1", "https://10.0.0.1:2380")
    b.engine.cluster.found("etcd2", "https://10.0.0.2:2380")
    return b, state


def silence(b, *names):
    for member in b.engine.cluster.members.values():
        member.is_running = member.name not in names


def test_members_are_listed_for_people_and_programs(bench):
    b, state = with_three(bench)
    results = run_action(b, "members", state)
    assert len(results["output"].splitlines()) == 3
    rows = json.loads(results["members"])
    assert [row["role"] for row in rows] == ["leader", "voter", "voter"]
    assert {row["state"] for row in rows} == {"healthy"}


def test_a_member_of_a_unit_that_stays_is_not_removed(bench):
    b, state = with_three(bench)
    with pytest.raises(testing.ActionFailed, match="juju remove-unit etcd/1"):
        run_action(b, "remove-member", state, member="etcd1")


def test_a_member_without_a_unit_is_removed_by_name_or_id(bench):
    b, state = with_three(bench)
    added = b.engine.cluster.found("by-hand", "https://10.9.9.9:2380")
    run_action(b, "remove-member", state, member=f"{added:x}")
    assert added not in b.engine.cluster.members


def test_a_removal_that_costs_the_majority_is_refused(bench):
    b, state = with_three(bench)
    b.engine.cluster.found("by-hand", "https://10.9.9.9:2380")
    silence(b, "etcd2")
    b.goal_state.units.pop("etcd/2")
    b.engine.cluster.found("another", "https://10.9.9.8:2380")
    silence(b, "etcd2", "another")
    with pytest.raises(testing.ActionFailed, match="no majority"):
        run_action(b, "remove-member", state, member="by-hand")


def test_leadership_goes_where_it_is_asked_to(bench):
    b, state = with_three(bench)
    results = run_action(b, "transfer-leadership", state, to="etcd/2")
    assert results["output"] == "etcd2 leads instead of etcd0"
    assert b.engine.cluster.history[-1].startswith("lead ")


def test_leadership_does_not_go_to_who_does_not_answer(bench):
    b, state = with_three(bench)
    silence(b, "etcd2")
    with pytest.raises(testing.ActionFailed, match="etcd2 cannot lead"):
        run_action(b, "transfer-leadership", state, to="etcd2")


def test_pause_stops_until_resume(bench):
    b, state = with_three(bench)
    run_action(b, "pause", state)
    assert StopMember() in b.engine.steps
    assert not b.engine.is_running
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status == testing.MaintenanceStatus("paused: run the action resume")
    assert not b.engine.is_running
    run_action(b, "resume", state)
    assert b.engine.is_running


def test_pause_is_refused_where_the_cluster_cannot_spare_it(bench):
    b, state = with_three(bench)
    silence(b, "etcd1")
    with pytest.raises(testing.ActionFailed, match="force=true"):
        run_action(b, "pause", state)
    assert b.engine.is_running
    alone = bench()
    with pytest.raises(testing.ActionFailed, match="force=true"):
        run_action(alone, "pause", alone.found())


def test_what_an_action_saw_is_looked_at_again(bench):
    b, state = with_three(bench)
    silence(b, "etcd1")
    b.engine.wakes.clear()
    with pytest.raises(testing.ActionFailed):
        run_action(b, "health", state)
    assert b.engine.wakes, "nobody else would correct the status"


def test_compact_says_which_revision(bench):
    b = bench()
    state = b.found()
    assert run_action(b, "compact", state)["revision"] == "77"
    assert run_action(b, "compact", state, revision="9", physical=True)["revision"] == "9"
    assert b.engine.cared[-1] == ("compact", 9, True)
    with pytest.raises(testing.ActionFailed, match="a number"):
        run_action(b, "compact", state, revision="soon")


def test_defrag_rolls_and_the_raft_leader_is_last(bench):
    b, state = with_three(bench)
    results = run_action(b, "defrag", state)
    assert [line.partition(":")[0] for line in results["output"].splitlines()] == [
        "etcd1",
        "etcd2",
        "etcd0",
    ]
    assert results["output"].endswith("etcd0: 4M -> 1M")


def test_defrag_stops_at_a_member_that_does_not_answer(bench):
    b, state = with_three(bench)
    silence(b, "etcd1")
    with pytest.raises(testing.ActionFailed, match="etcd1 does not answer"):
        run_action(b, "defrag", state)
    assert not b.engine.cared


def test_equal_members_are_consistent_and_unequal_ones_are_named(bench):
    b, state = with_three(bench)
    results = run_action(b, "check-consistency", state)
    assert results["consistent"] == "true"
    assert results["output"] == "3 member(s) are equal at revision 5"
    b.engine.hashes["https://10.0.0.2:2379"] = 6
    with pytest.raises(testing.ActionFailed, match="members differ"):
        run_action(b, "check-consistency", state)
    assert b.context.action_results["consistent"] == "false"


def test_no_alarm_is_said_too(bench):
    b = bench()
    assert run_action(b, "alarm-list", b.found())["output"] == "no alarm is raised"


def test_debug_writes_a_bundle_without_keys(bench):
    b = bench()
    results = run_action(b, "debug", b.found())
    content = next(iter(b.engine.private_files.values()))
    assert b"active" in content
    assert b"PRIVATE KEY" not in content
    assert results["copy"]["cmd"].startswith("juju scp etcd/0:etcd-debug-etcd-0-")


def test_snapshots_are_listed_and_tried(bench):
    b = bench()
    state = b.found()
    assert run_action(b, "list-snapshots", state)["count"] == "1"
    results = run_action(b, "verify-snapshot", state, path="/home/ubuntu/x.tar.gz")
    assert results["revision"] == "12"
    b.engine.lacks = "the snapshot cannot be restored: checksum"
    with pytest.raises(testing.ActionFailed, match="checksum"):
        run_action(b, "verify-snapshot", state, path="/home/ubuntu/x.tar.gz")


def test_row_1_nothing_is_rebuilt_while_a_quorum_answers(bench):
    b, state = with_three(bench)
    with pytest.raises(testing.ActionFailed, match="has its quorum"):
        run_action(b, "rebuild-cluster", state, confirm="7")


def lost(bench):
    b, state = with_three(bench)
    state = b.run(b.context.on.update_status(), state)
    silence(b, "etcd1", "etcd2")
    return b, state


def test_row_1_a_rebuild_names_what_is_to_be_confirmed(bench):
    b, state = lost(bench)
    with pytest.raises(testing.ActionFailed, match="confirm=7"):
        run_action(b, "rebuild-cluster", state)


def test_row_1_a_unit_that_is_merely_stopped_is_waited_for(bench):
    b, state = lost(bench)
    b.engine.position = LogPosition(3, 40)
    action = b.context.on.action("rebuild-cluster", params={"confirm": "7"})
    state = b.run(action, state)
    assert isinstance(b.engine.steps[-1], StopForRebuild)
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status.message == "rebuilding: waiting for etcd/1, etcd/2"
    assert not any(isinstance(step, ForceAlone) for step in b.engine.steps)


def test_row_1_the_highest_term_and_then_index_goes_on_alone(bench):
    b, state = lost(bench)
    b.engine.position = LogPosition(3, 40)
    state = b.run(b.context.on.action("rebuild-cluster", params={"confirm": "7"}), state)
    rebuild_id = b.engine.rebuild_id
    shown = {
        1: {"rebuild-step": f"{rebuild_id} stopped 3 39"},
        2: {"rebuild-step": f"{rebuild_id} stopped 2 99"},
    }
    state = change(state, relations=with_peers(state, shown))
    state = b.run(b.context.on.update_status(), state)
    assert json.loads(app_bag(state)["rebuild"])["unit"] == "etcd/0"
    state = b.run(b.context.on.update_status(), state)
    assert isinstance(b.engine.steps[-1], ForceAlone)
    assert peer_bag(state)["rebuild-step"] == f"{rebuild_id} rebuilt 3 40"
    state = b.run(b.context.on.update_status(), state)
    assert "rebuild" not in app_bag(state)
    assert b.engine.rebuild_state is RebuildState.REBUILT


def test_a_rebuild_that_waits_can_be_given_up(bench):
    b, state = lost(bench)
    state = b.run(b.context.on.action("rebuild-cluster", params={"confirm": "7"}), state)
    state = b.run(b.context.on.action("rebuild-cluster", params={"cancel": True}), state)
    assert "rebuild" not in app_bag(state)


def test_foreign_data_is_adopted_only_when_it_is_confirmed(bench):
    b = bench()
    b.engine.data = DataState.FOREIGN
    state = testing.State(leader=True, relations={testing.PeerRelation("cluster")})
    for event in (b.context.on.leader_elected(), b.context.on.config_changed()):
        state = b.run(event, state)
    state = b.run(b.context.on.start(), state)
    assert "another cluster" in state.unit_status.message
    with pytest.raises(testing.ActionFailed, match="confirm=true"):
        run_action(b, "adopt-data", state)
    run_action(b, "adopt-data", state, confirm=True)
    assert b.engine.is_running


def test_a_member_id_is_not_guessed(bench):
    b, state = with_three(bench)
    with pytest.raises(testing.ActionFailed, match="etcd0, etcd1, etcd2"):
        run_action(b, "remove-member", state, member=f"{MemberId(1):x}")
