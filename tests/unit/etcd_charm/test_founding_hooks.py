"""Founding, seen through hooks: the claim is committed before it is used, and used once."""

import json

import pytest
from ops import testing

from etcd_charm.cluster.facts import DataState
from etcd_charm.cluster.steps import FoundCluster
from tests.unit.etcd_charm.conftest import app_bag, peer_bag


def peer(**app_data: str) -> testing.PeerRelation:
    return testing.PeerRelation("cluster", local_app_data=app_data)


def test_the_first_hook_makes_authorities_and_founds_nothing(bench):
    b = bench()
    state = b.run(b.context.on.leader_elected(), testing.State(leader=True, relations={peer()}))
    assert set(json.loads(app_bag(state)["authorities"])) == {"peer", "client", "server"}
    assert len(state.secrets) == 3
    assert not b.engine.steps
    assert b.engine.wakes[-1][0] == 1


def test_the_claim_is_written_one_hook_before_it_is_used(bench):
    b = bench()
    on = b.context.on
    state = b.run(on.leader_elected(), testing.State(leader=True, relations={peer()}))
    state = b.run(on.config_changed(), state)
    claim = json.loads(app_bag(state)["claim"])
    assert claim["unit"] == "etcd/0"
    assert not b.engine.steps, "a claim of this very hook is not committed"
    state = b.run(on.start(), state)
    assert b.engine.steps == [FoundCluster(claim["token"])]
    assert peer_bag(state)["role"] == "voter"


def test_leadership_that_moves_after_the_claim_founds_one_cluster(bench):
    b = bench()
    on = b.context.on
    state = b.run(on.leader_elected(), testing.State(leader=True, relations={peer()}))
    state = b.run(on.config_changed(), state)
    deposed = testing.State(
        leader=False, relations=state.relations, secrets=state.secrets, config=state.config
    )
    b.run(on.start(), deposed)
    assert [type(step) for step in b.engine.steps] == [FoundCluster], "the claimant still founds"

    other = bench(unit_id=1, units={"etcd/0": "active", "etcd/1": "active"})
    state = other.run(
        other.context.on.leader_elected(),
        testing.State(leader=True, relations=state.relations, secrets=state.secrets),
    )
    assert not other.engine.steps
    assert state.unit_status == testing.WaitingStatus("waiting for etcd/0 to found the cluster")
    assert json.loads(app_bag(state)["claim"])["unit"] == "etcd/0", "a claim is never overwritten"


def test_a_claimant_that_is_gone_blocks_with_the_remedy(bench):
    b = bench()
    state = b.run(b.context.on.leader_elected(), testing.State(leader=True, relations={peer()}))
    relation = state.get_relations("cluster")[0]
    claim = json.dumps({"unit": "etcd/9", "token": "t"})
    orphaned = testing.PeerRelation(
        "cluster",
        id=relation.id,
        local_app_data={**relation.local_app_data, "claim": claim},
    )
    state = b.run(
        b.context.on.update_status(),
        testing.State(leader=True, relations={orphaned}, secrets=state.secrets),
    )
    assert isinstance(state.unit_status, testing.BlockedStatus)
    assert "bootstrap-again" in state.unit_status.message
    with pytest.raises(testing.ActionFailed, match="confirm=t"):
        b.run(b.context.on.action("bootstrap-again"), state)
    state = b.run(b.context.on.action("bootstrap-again", params={"confirm": "t"}), state)
    assert json.loads(app_bag(state)["claim"])["unit"] == "etcd/0"
    b.run(b.context.on.update_status(), state)
    assert [type(step) for step in b.engine.steps] == [FoundCluster]


def test_row_3_lost_data_of_the_only_unit_is_never_founded_over(bench):
    b = bench()
    state = b.found()
    b.engine.cluster, b.engine.is_running, b.engine.data = None, False, DataState.NEW
    b.engine.steps.clear()
    state = b.run(b.context.on.start(), state)
    assert not b.engine.steps
    assert isinstance(state.unit_status, testing.BlockedStatus)


def test_a_founded_unit_says_it_is_healthy(bench):
    b = bench()
    state = b.found()
    message = "(leader) cluster is healthy with 1 member"
    assert state.unit_status == testing.ActiveStatus(message)
    assert state.workload_version == "0.1.0"
    assert {(port.port, port.protocol) for port in state.opened_ports} == {
        (2379, "tcp"),
        (2380, "tcp"),
    }
    assert app_bag(state)["cluster-id"] == "7"
