"""Users by certificate: made before auth is on, taken back with their certificates."""

import dataclasses
import json

import pytest
from ops import testing

from etcd_charm.cluster.access import (
    decide_access,
    describe_access,
    is_on,
    is_user,
    list_users,
    must_wait_for_access,
)
from etcd_charm.cluster.facts import Access, UserSpec
from etcd_charm.cluster.settings import Settings
from etcd_charm.cluster.steps import KeepAccess
from tests.unit.etcd_charm.conftest import app_bag, peer_bag
from tests.unit.etcd_charm.test_actions import run_action
from tests.unit.etcd_charm.test_decisions import facts, member, view
from tests.unit.etcd_charm.test_reconcile_hooks import change

OWN = view(member(0))
PLAIN = view(member(0, client_urls=("http://10.0.0.0:2379",)))


def test_users_and_the_switch_come_in_one_step_users_first():
    known = facts(is_leader=True, view=OWN, access="", users=list_users(["db-app-1"], []))
    decision = decide_access(known)
    assert decision.step == KeepAccess(Access(True, (UserSpec("db-app-1", "all-keys"),)))
    assert decision.record == "on db-app-1=all-keys without "
    done = dataclasses.replace(known, access=decision.record)
    assert decide_access(done).step is None


def test_only_the_leader_keeps_users():
    assert decide_access(facts(view=OWN, access="")).step is None


def test_plain_http_waits_until_auth_is_off():
    settings = Settings(tls=False)
    known = facts(is_leader=True, view=OWN, settings=settings)
    assert must_wait_for_access(known)
    decision = decide_access(known)
    assert decision.step == KeepAccess(Access(False, ()))
    assert decision.record == "off"
    assert not must_wait_for_access(dataclasses.replace(known, access="off"))


def test_auth_comes_on_again_when_the_last_member_speaks_tls():
    known = facts(1, is_leader=True, access="off", view=view(*OWN.members, *PLAIN.members))
    assert decide_access(known).step is None
    assert decide_access(dataclasses.replace(known, view=OWN)).step is not None


def test_an_operator_may_switch_it_off():
    settings = Settings(auth_enabled=False)
    decision = decide_access(facts(is_leader=True, view=OWN, settings=settings))
    assert decision.record == "off"


@pytest.mark.parametrize(
    ("record", "name", "known"),
    [
        ("", "db-app-1", True),
        ("off", "db-app-1", True),
        ("on db-app-1=all-keys without ", "db-app-1", True),
        ("on db-app-11=all-keys without ", "db-app-1", False),
        ("on  without db-app-1", "db-app-1", False),
    ],
)
def test_who_is_let_in(record, name, known):
    assert is_user(record, name) is known


def test_the_record_names_everything_that_matters():
    access = Access(True, (UserSpec("b", "r"), UserSpec("a", "s")), ("gone",))
    assert describe_access(access) == "on a=s,b=r without gone"
    assert is_on(describe_access(access))


def with_credentials(bench, **params):
    b = bench()
    state = b.found()
    state = b.run(b.context.on.action("generate-client-certificates", params=params), state)
    return b, state


def test_a_certificate_has_the_name_the_role_and_the_life_that_are_asked_for(bench):
    b, state = with_credentials(bench, cn="alice", role="readers", **{"validity-days": 7})
    assert b.engine.users == [("alice", "readers")]
    issued = json.loads(peer_bag(state)["issued"])
    assert (issued[0]["cn"], issued[0]["role"]) == ("alice", "readers")
    assert b.context.action_results["serial"] == issued[0]["serial"]
    assert "PRIVATE" not in json.dumps(issued)


@pytest.mark.parametrize("name", ["root", "db-app-1", "proxy-x-2", "-x", "a b", "x" * 64])
def test_names_that_belong_to_others_cannot_be_had(bench, name):
    b = bench()
    with pytest.raises(testing.ActionFailed, match="cannot be had"):
        run_action(b, "generate-client-certificates", b.found(), cn=name)


def test_a_revoked_certificate_is_on_the_list_and_its_user_goes(bench):
    b, state = with_credentials(bench, cn="alice")
    action = b.context.on.action("revoke-client-certificate", params={"cn": "alice"})
    state = b.run(action, state)
    assert json.loads(app_bag(state)["revoked"])[0]["cn"] == "alice"
    state = b.run(b.context.on.update_status(), state)
    assert len(b.engine.prepared[-1].revoked) == 1
    assert b.engine.access[-1] == Access(True, (), ("alice",))


def test_one_of_two_certificates_may_go_and_the_user_stays(bench):
    b, state = with_credentials(bench, cn="alice")
    serial = b.context.action_results["serial"]
    again = b.context.on.action("generate-client-certificates", params={"cn": "alice"})
    state = b.run(again, state)
    action = b.context.on.action("revoke-client-certificate", params={"serial": serial})
    state = b.run(action, state)
    state = b.run(b.context.on.update_status(), state)
    assert b.engine.access[-1] == Access(True, (UserSpec("alice", "all-keys"),))


def test_what_is_not_known_is_not_revoked_by_name(bench):
    b, state = with_credentials(bench, cn="alice")
    with pytest.raises(testing.ActionFailed, match="alice"):
        run_action(b, "revoke-client-certificate", state, cn="bob")


def test_an_application_that_goes_is_revoked(bench):
    b = bench()
    state = b.found()
    consumer = testing.Relation("db", remote_app_name="app")
    state = change(state, relations={*state.relations, consumer})
    for _ in range(3):
        state = b.run(b.context.on.update_status(), state)
    present = state.get_relation(consumer.id)
    state = b.run(b.context.on.relation_broken(present), state)
    relations = {r for r in state.relations if r.endpoint != "db"}
    state = b.run(b.context.on.update_status(), change(state, relations=relations))
    b.run(b.context.on.update_status(), state)
    assert len(b.engine.prepared[-1].revoked) == 1
    assert b.engine.access[-1].gone == (f"db-app-{consumer.id}",)
