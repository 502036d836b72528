"""What single hooks of a running unit do: join, follow options, swap certificates, publish."""

import json

import pytest
from ops import testing

from etcd_charm.cluster.facts import UserSpec
from etcd_charm.cluster.steps import AddLearner, Promote, RestartMember, StartJoiner
from etcd_charm.reconcile.credentials import now
from etcd_charm.workload.certificates import issue_leaf, make_authority, read_common_name
from tests.unit.etcd_charm.conftest import app_bag, peer_bag


def change(state: testing.State, **changes) -> testing.State:
    fields = {
        "leader": state.leader,
        "relations": state.relations,
        "secrets": state.secrets,
        "config": state.config,
        "resources": state.resources,
    }
    return testing.State(**{**fields, **changes})


def with_peers(state: testing.State, peers: dict[int, dict[str, str]]) -> set:
    old = state.get_relations("cluster")[0]
    others = {r for r in state.relations if r.endpoint != "cluster"}
    peer = testing.PeerRelation(
        "cluster",
        id=old.id,
        local_app_data=old.local_app_data,
        local_unit_data=old.local_unit_data,
        peers_data=peers,
    )
    return {peer, *others}


def joining(bench):
    """A second unit beside a founded first one."""
    first = bench()
    state = first.found()
    second = bench(unit_id=1, units={"etcd/0": "active", "etcd/1": "allocating"})
    second.engine.cluster = first.engine.cluster
    old = state.get_relations("cluster")[0]
    peer = testing.PeerRelation(
        "cluster",
        id=old.id,
        local_app_data=old.local_app_data,
        peers_data={0: dict(old.local_unit_data)},
    )
    network = testing.Network(
        "cluster",
        bind_addresses=[testing.BindAddress([testing.Address("10.0.0.1")])],
        ingress_addresses=["10.0.0.1"],
    )
    return second, testing.State(relations={peer}, secrets=state.secrets, networks={network})


def test_a_joiner_enters_as_a_learner_and_is_promoted_in_the_next_hook(bench):
    b, state = joining(bench)
    state = b.run(b.context.on.start(), state)
    assert [type(step) for step in b.engine.steps] == [AddLearner, StartJoiner]
    assert peer_bag(state)["role"] == "learner"
    assert state.unit_status == testing.WaitingStatus("catching up as a learner")
    assert b.engine.wakes[-1][0] == 1
    state = b.run(b.context.on.update_status(), state)
    assert isinstance(b.engine.steps[-1], Promote)
    assert peer_bag(state)["role"] == "voter"
    assert state.unit_status == testing.ActiveStatus("cluster is healthy with 2 members")


def test_a_joiner_waits_for_the_learner_before_it(bench):
    b, state = joining(bench)
    b.engine.cluster.add_learner("https://10.0.0.9:2380", 0)
    state = b.run(b.context.on.start(), state)
    assert not b.engine.steps
    assert state.unit_status.message.endswith("to finish joining")


def test_each_membership_change_shows_a_new_nonce(bench):
    b, state = joining(bench)
    first = b.run(b.context.on.start(), state)
    second = b.run(b.context.on.update_status(), first)
    assert peer_bag(first)["nonce"] != peer_bag(second)["nonce"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("port", 0),
        ("election_timeout", 300),
        ("quota", "much"),
        ("log-level", "loud"),
        ("engine", "etcd"),
        ("snapshot_count", "-1"),
        ("heartbeat_interval", 9),
        ("management_port", 2379),
    ],
)
def test_a_wrong_option_blocks_and_leaves_the_service_alone(bench, option, value):
    b = bench()
    state = b.found()
    prepared, steps = len(b.engine.prepared), len(b.engine.steps)
    state = b.run(b.context.on.config_changed(), change(state, config={option: value}))
    assert isinstance(state.unit_status, testing.BlockedStatus)
    assert option in state.unit_status.message
    assert state.app_status == state.unit_status
    assert (len(b.engine.prepared), len(b.engine.steps)) == (prepared, steps)
    assert b.engine.is_running


def test_an_option_restarts_a_single_member_at_once(bench):
    b = bench()
    state = b.found()
    state = b.run(b.context.on.config_changed(), change(state, config={"heartbeat_interval": 150}))
    assert isinstance(b.engine.steps[-1], RestartMember)
    assert b.engine.prepared[-1].settings.heartbeat_ms == 150


def test_with_others_a_restart_waits_for_its_turn(bench):
    b = bench(units={"etcd/0": "active", "etcd/1": "active"})
    state = b.found()
    b.engine.cluster.found("etcd1", "https://10.0.0.1:2380")
    steps = len(b.engine.steps)
    config = {"heartbeat_interval": 150}
    state = b.run(b.context.on.config_changed(), change(state, config=config))
    assert len(b.engine.steps) == steps
    assert peer_bag(state)["restart-wanted"]
    assert json.loads(app_bag(state)["turn"])["unit"] == "etcd/0"
    state = b.run(b.context.on.update_status(), state)
    assert isinstance(b.engine.steps[-1], RestartMember)
    assert peer_bag(state)["turn-done"] == "1"


def make_answer(unit: str, address: str) -> dict[str, str]:
    authority = make_authority("easyrsa", now())
    leaf = issue_leaf(authority, address, [address], now(), serves=True)
    return {
        "ca": authority.certificate,
        f"{unit}.server.cert": leaf.certificate,
        f"{unit}.server.key": leaf.key,
    }


def test_a_related_authority_is_asked_with_sorted_names_and_its_answer_is_used(bench):
    b = bench()
    state = b.found()
    authority = testing.Relation("certificates", remote_app_name="easyrsa")
    state = change(state, relations={*state.relations, authority})
    state = b.run(b.context.on.relation_created(authority), state)
    asked = state.get_relation(authority.id).local_unit_data
    assert asked["unit_name"] == asked["certificate_name"] == "etcd_0"
    assert json.loads(asked["sans"]) == sorted(json.loads(asked["sans"]))
    assert asked["common_name"] in json.loads(asked["sans"])
    assert "127.0.0.1" in json.loads(asked["sans"])
    assert b.engine.prepared[-1].related_server is None, "it serves on with its own certificate"

    answer = make_answer("etcd_0", asked["common_name"])
    answered = testing.Relation(
        "certificates",
        remote_app_name="easyrsa",
        id=authority.id,
        local_unit_data=dict(asked),
        remote_units_data={0: answer},
    )
    relations = {r for r in state.relations if r.id != authority.id} | {answered}
    b.run(
        b.context.on.relation_changed(answered, remote_unit=0), change(state, relations=relations)
    )
    used = b.engine.prepared[-1]
    assert used.related_server.ca == answer["ca"]
    assert answer["ca"].strip() in used.server_bundle
    assert used.authorities.server.certificate.strip() in used.server_bundle
    assert isinstance(b.engine.steps[-1], RestartMember)


def test_a_key_that_does_not_fit_its_certificate_is_not_used(bench):
    b = bench()
    state = b.found()
    answer = make_answer("etcd_0", "10.0.0.0")
    answer["etcd_0.server.key"] = make_answer("etcd_0", "10.0.0.0")["etcd_0.server.key"]
    authority = testing.Relation("certificates", remote_units_data={0: answer})
    state = change(state, relations={*state.relations, authority})
    b.run(b.context.on.relation_changed(authority, remote_unit=0), state)
    assert b.engine.prepared[-1].related_server is None


@pytest.mark.parametrize("endpoint", ["db", "proxy"])
def test_a_consumer_gets_a_complete_message_with_a_certificate_of_its_own(bench, endpoint):
    b = bench()
    state = b.found()
    consumer = testing.Relation(endpoint, remote_app_name="app")
    state = change(state, relations={*state.relations, consumer})
    state = b.run(b.context.on.relation_created(consumer), state)
    assert "client_key" not in state.get_relation(consumer.id).local_unit_data
    assert b.engine.wakes[-1] == (1, "making users")
    state = b.run(b.context.on.update_status(), state)
    name = f"{endpoint}-app-{consumer.id}"
    assert b.engine.access[-1].users == (UserSpec(name, "all-keys"),)
    state = b.run(b.context.on.update_status(), state)
    message = state.get_relation(consumer.id).local_unit_data
    assert read_common_name(message["client_cert"]) == name
    assert "PRIVATE KEY" in message["client_key"]
    wanted = b.engine.prepared[-1]
    assert wanted.authorities.server.certificate.strip() in message["client_ca"]
    if endpoint == "db":
        assert message["connection_string"] == wanted.client_url
        assert message["version"] == "3.4.36"
    else:
        assert message["cluster"] == f"etcd0={wanted.peer_url}"
        assert wanted.authorities.peer.certificate.strip() in message["client_ca"]


def test_a_follower_publishes_what_the_leader_made(bench):
    b = bench()
    state = b.found()
    consumer = testing.Relation("db", remote_app_name="app")
    state = b.run(
        b.context.on.relation_created(consumer),
        change(state, relations={*state.relations, consumer}),
    )
    for _ in range(2):
        state = b.run(b.context.on.update_status(), state)
    led = dict(state.get_relation(consumer.id).local_unit_data)
    empty = testing.Relation("db", remote_app_name="app", id=consumer.id)
    relations = {r for r in state.relations if r.id != consumer.id} | {empty}
    state = b.run(b.context.on.update_status(), change(state, relations=relations, leader=False))
    assert dict(state.get_relation(consumer.id).local_unit_data) == led


def test_a_broken_relation_takes_its_certificate_with_it(bench):
    b = bench()
    state = b.found()
    consumer = testing.Relation("db", remote_app_name="app")
    state = change(state, relations={*state.relations, consumer})
    state = b.run(b.context.on.relation_created(consumer), state)
    assert len(state.secrets) == 4
    state = b.run(b.context.on.relation_broken(state.get_relation(consumer.id)), state)
    assert json.loads(app_bag(state)["consumers"]) == {}
    assert len(state.secrets) == 3


def test_a_member_that_does_not_answer_is_never_active(bench):
    b = bench(units={"etcd/0": "active", "etcd/1": "active", "etcd/2": "active"})
    state = b.found()
    for number in (1, 2):
        b.engine.cluster.found(f"etcd{number}", f"https://10.0.0.{number}:2380")
    members = list(b.engine.cluster.members.values())
    members[1].is_running = False
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status == testing.WaitingStatus(
        "cluster is degraded: 2 of 3 members healthy, no answer from etcd1"
    )
    assert b.engine.wakes[-1][0] == 20
    members[2].is_running = False
    state = b.run(b.context.on.update_status(), state)
    assert state.unit_status == testing.BlockedStatus(
        "cluster-health check failed: 1 of 3 members answer, no quorum"
    )


def test_a_stopped_engine_is_started_again_by_update_status(bench):
    b = bench()
    state = b.found()
    b.engine.is_running = False
    b.run(b.context.on.update_status(), state)
    assert b.engine.is_running


def test_nothing_secret_stands_in_a_peer_databag_or_status(bench):
    b = bench()
    state = b.found()
    texts = [*peer_bag(state).values(), *app_bag(state).values(), state.unit_status.message]
    assert not any("PRIVATE" in text for text in texts)


def test_with_peers_shown_twice_nothing_changes_twice(bench):
    """Equal facts write nothing: no hook of this charm wakes others for ever."""
    b = bench()
    state = b.found()
    again = b.run(b.context.on.update_status(), state)
    assert peer_bag(again) == peer_bag(state)
    assert app_bag(again) == app_bag(state)
    assert with_peers(again, {})


def test_row_23_consumers_that_an_election_kept_from_being_told_are_told_soon(bench):
    b = bench()
    state = b.found()
    consumer = testing.Relation("db", remote_app_name="app")
    state = change(state, relations={*state.relations, consumer})
    for _ in range(3):
        state = b.run(b.context.on.update_status(), state)
    told = state.get_relation(consumer.id).local_unit_data["connection_string"]
    b.engine.steps.clear()
    b.engine.wakes.clear()
    b.engine.elects_after_steps = True
    state = b.run(b.context.on.config_changed(), change(state, config={"log-level": "debug"}))
    assert b.engine.steps, "it has restarted"
    assert b.engine.wakes, "nobody else says when the election is over"
    assert b.engine.wakes[-1][0] <= 20
    b.engine.elects_after_steps = False
    state = b.run(b.context.on.update_status(), state)
    assert state.get_relation(consumer.id).local_unit_data["connection_string"] == told
