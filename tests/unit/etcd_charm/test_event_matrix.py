"""Each event of the charm in each state of a unit: nothing raises, and the status is true.

The events are those that the charm observes, as the framework lists them; the states are those
that the decisions tell apart. `active` needs a serving voter and a quorum; what waits is woken by
somebody; what is blocked says what to do; a hook that failed to change the state runs again with
the same outcome.
"""

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from ops import testing

from etcd_charm.cluster.facts import DataState, Disk, RebuildState
from tests.unit.etcd_charm.test_reconcile_hooks import change, joining, make_answer, with_peers

TEARDOWN = {"stop", "data_storage_detaching", "remove"}
CUSTOM = {"cluster_wake", "scheduled_snapshot"}
COLLECTED = {"collect_unit_status", "collect_app_status"}
"""Emitted by the framework at the end of each hook, so every cell of the matrix has them."""
PEERS = {
    1: {"client-url": "https://10.0.0.1:2379", "member-id": "2"},
    2: {"client-url": "https://10.0.0.2:2379", "member-id": "3"},
}

Case = tuple[Any, testing.State]


def three(bench, **changes) -> Case:
    """A founder beside two other members."""
    units = {f"etcd/{number}": "active" for number in range(3)}
    b = bench(units=units)
    state = b.found(**changes)
    for number in (1, 2):
        b.engine.cluster.found(f"etcd{number}", f"https://10.0.0.{number}:2380")
    state = change(state, relations=with_peers(state, PEERS))
    return b, b.run(b.context.on.update_status(), state)


def changed(bench, **engine) -> Case:
    b, state = three(bench)
    for name, value in engine.items():
        setattr(b.engine, name, value)
    return b, state


def fresh(bench) -> Case:
    b = bench()
    return b, testing.State(leader=True)


def follower_without_authorities(bench) -> Case:
    b = bench(unit_id=1, units={"etcd/0": "allocating", "etcd/1": "allocating"})
    return b, testing.State(relations={testing.PeerRelation("cluster")})


def claimed(bench) -> Case:
    b = bench()
    state = testing.State(leader=True, relations={testing.PeerRelation("cluster")})
    return b, b.run(b.context.on.leader_elected(), state)


def alone(bench) -> Case:
    b = bench()
    return b, b.found()


def follower(bench) -> Case:
    b, state = three(bench)
    return b, change(state, leader=False)


def learner(bench) -> Case:
    b, state = joining(bench)
    return b, b.run(b.context.on.start(), state)


def one_silent(bench) -> Case:
    b, state = three(bench)
    list(b.engine.cluster.members.values())[2].is_running = False
    return b, state


def quorum_lost(bench) -> Case:
    b, state = three(bench)
    for member in list(b.engine.cluster.members.values())[1:]:
        member.is_running = False
    return b, state


def stopped(bench) -> Case:
    b, state = three(bench)
    next(iter(b.engine.cluster.members.values())).is_running = False
    b.engine.is_running = False
    return b, state


def with_data(bench, data: DataState) -> Case:
    b, state = stopped(bench)
    b.engine.data = data
    return b, state


def wrong_option(bench) -> Case:
    b, state = three(bench)
    return b, change(state, config={"quota": "much"})


def with_order(bench, key: str, order: dict[str, str]) -> Case:
    b, state = three(bench)
    old = state.get_relations("cluster")[0]
    told = dataclasses.replace(old, local_app_data={**old.local_app_data, key: json.dumps(order)})
    rest = {r for r in state.relations if r.endpoint != "cluster"}
    return b, change(state, relations={told, *rest})


def restoring(bench) -> Case:
    return with_order(bench, "restore", {"id": "r1", "unit": "etcd/1", "token": "t"})


def rebuilding(bench) -> Case:
    b, state = with_order(bench, "rebuild", {"id": "r1", "unit": ""})
    b.engine.rebuild_id, b.engine.rebuild_state = "r1", RebuildState.STOPPED
    b.engine.is_running = False
    return b, state


def dying(bench) -> Case:
    b, state = three(bench)
    b.goal_state.units["etcd/0"] = "dying"
    return b, state


def authority_answered(bench) -> Case:
    b, state = three(bench)
    answer = make_answer("etcd_0", "192.0.2.0")
    authority = testing.Relation("certificates", remote_units_data={0: answer})
    return b, change(state, relations={*state.relations, authority})


STATES: dict[str, tuple[Callable[..., Case], set[str]]] = {
    "fresh": (fresh, {"waiting"}),
    "no authorities": (follower_without_authorities, {"waiting"}),
    "claimed": (claimed, {"waiting", "active"}),
    "alone": (alone, {"active"}),
    "leader of three": (three, {"active"}),
    "follower of three": (follower, {"active"}),
    "learner": (learner, {"waiting", "active"}),
    "one silent": (one_silent, {"waiting"}),
    "quorum lost": (quorum_lost, {"blocked"}),
    "stopped": (stopped, {"waiting"}),
    "data lost": (lambda bench: with_data(bench, DataState.NEW), {"waiting"}),
    "diverged": (lambda bench: with_data(bench, DataState.DIVERGED), {"waiting"}),
    "foreign data": (lambda bench: with_data(bench, DataState.FOREIGN), {"waiting"}),
    "detached": (lambda bench: with_data(bench, DataState.DETACHED), {"blocked"}),
    "unmounted": (lambda bench: with_data(bench, DataState.UNMOUNTED), {"blocked"}),
    "paused": (lambda bench: changed(bench, is_paused=True), {"maintenance"}),
    "disk full": (lambda bench: changed(bench, disk=Disk(10 << 30, 1 << 20)), {"blocked"}),
    "nothing installed": (lambda bench: changed(bench, lacks="run juju attach-…"), {"blocked"}),
    "refused": (lambda bench: changed(bench, refusal="no leader"), {"active", "waiting"}),
    "wrong option": (wrong_option, {"blocked"}),
    "restoring": (restoring, {"maintenance"}),
    "rebuilding": (rebuilding, {"maintenance"}),
    "dying": (dying, {"maintenance"}),
    "authority answered": (authority_answered, {"active", "waiting"}),
}
UNCHANGED_BY_LOOKS = {"nothing installed", "refused"}
"""A hook that only looks installs nothing and takes no step: it says how the cluster is."""


def add_surroundings(state: testing.State) -> testing.State:
    """Add what the events are about: consumers, an authority, storage, a secret."""
    present = {relation.endpoint for relation in state.relations}
    relations = set(state.relations)
    if "cluster" not in present:
        return state
    for endpoint in ("certificates", "db", "proxy"):
        if endpoint not in present:
            relations.add(testing.Relation(endpoint, remote_app_name=f"{endpoint}-app"))
    return dataclasses.replace(state, relations=relations, storages={testing.Storage("data")})


def list_events(b: Any, state: testing.State) -> dict[str, Any]:
    """Return every event of the matrix that can happen in a state, by the framework's name."""
    on = b.context.on
    events = {
        name: getattr(on, name)()
        for name in (
            "install", "start", "upgrade_charm", "config_changed", "update_status", "stop", "remove",
        )
    }  # fmt: skip
    if state.leader:
        events["leader_elected"] = on.leader_elected()
    for name in CUSTOM:
        events[name] = on.update_status()  # the frame in which `run` emits it
    for storage in state.storages:
        events["data_storage_attached"] = on.storage_attached(storage)
        events["data_storage_detaching"] = on.storage_detaching(storage)
    for secret in state.secrets:
        if secret.owner is None:
            events["secret_changed"] = on.secret_changed(secret)
    for relation in state.relations:
        for suffix in ("created", "joined", "changed", "departed", "broken"):
            is_peer = isinstance(relation, testing.PeerRelation)
            if is_peer and (
                suffix == "broken" or (suffix != "created" and not relation.peers_data)
            ):
                continue
            make = getattr(on, f"relation_{suffix}")
            has_unit = suffix in {"joined", "changed", "departed"}
            remote = min(relation.peers_data) if is_peer and has_unit else 0
            events[f"{relation.endpoint}_relation_{suffix}"] = make(
                relation, **({"remote_unit": remote} if has_unit else {})
            )
    return events


def run(b: Any, name: str, event: Any, state: testing.State) -> testing.State | None:
    """Run a hook; return `None` for a teardown hook that the cluster refuses, and Juju repeats."""
    if name in CUSTOM:
        with b.context(event, b.complete(state)) as frame:
            getattr(frame.charm.on, name).emit()
            return frame.run()
    try:
        return b.run(event, state)
    except testing.errors.UncaughtCharmError as error:
        if name in TEARDOWN and "CannotLeave" in str(error):
            return None
        raise


def assert_true(name: str, event: str, b: Any, state: testing.State) -> None:
    """Judge a unit's status by what the fakes know."""
    status = state.unit_status
    cell = f"{event} in {name}: {status}"
    assert status.name in {"active", "waiting", "blocked", "maintenance"}, cell
    assert status.message, cell
    if status.name == "active":
        view = b.engine.cluster.view()
        own = next(m for m in view.members if m.name == b.engine.unit.replace("/", ""))
        is_voter = own.is_reachable and not own.is_learner
        assert (b.engine.is_running, view.has_quorum, is_voter) == (True, True, True), cell
    if status.name == "waiting":
        is_awaited = "waiting for" in status.message
        assert b.engine.wakes or is_awaited, f"{cell}: nobody wakes it"


@pytest.mark.parametrize("name", STATES)
def test_every_event_is_answered_in_this_state(bench, name):
    make, levels = STATES[name]
    b, state = make(bench)
    state = add_surroundings(state)
    before = copy.deepcopy(vars(b.engine))
    for event_name, event in list_events(b, state).items():
        vars(b.engine).clear()
        vars(b.engine).update(copy.deepcopy(before))
        b.engine.wakes.clear()
        after = run(b, event_name, event, state)
        if after is None or event_name in TEARDOWN:
            continue
        assert_true(name, event_name, b, after)
        if event_name not in CUSTOM and name not in UNCHANGED_BY_LOOKS:
            assert after.unit_status.name in levels, f"{event_name} in {name}: {after.unit_status}"


def test_the_matrix_has_every_event_that_the_charm_observes(bench):
    b, state = three(bench)
    state = add_surroundings(state)
    state = dataclasses.replace(
        state, secrets={*state.secrets, testing.Secret({"key": "value"}, owner=None)}
    )
    covered = set(list_events(b, state))
    with b.context(b.context.on.update_status(), b.complete(state)) as running:
        observed = {kind for _, _, _, kind in running.charm.framework._observers}
        running.run()
    observed = {kind for kind in observed if not kind.endswith("_action")} - COLLECTED
    assert observed - covered == set()
