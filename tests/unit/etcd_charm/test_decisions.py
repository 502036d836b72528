"""Single decisions that deserve a sentence of their own; their interplay is simulated."""

import dataclasses

import pytest

from etcd_charm.cluster.facts import (
    Claim,
    ClusterView,
    DataState,
    EngineFacts,
    Facts,
    MemberId,
    MemberView,
    PeerUnit,
    Turn,
    UnitName,
)
from etcd_charm.cluster.leaving import Farewell, decide_leave, is_removal_known
from etcd_charm.cluster.membership import GHOST_ABSENCE_S, find_ghosts
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.settings import Settings
from etcd_charm.cluster.status import Level, Report, describe
from etcd_charm.cluster.steps import (
    AddLearner,
    FoundCluster,
    RemoveMember,
    RestartMember,
    SetDataAside,
    StartMember,
    UpdateMember,
    WokenBy,
)

ME = UnitName("etcd/0")


def url(number: int) -> str:
    return f"https://10.0.0.{number}:2380"


def member(number: int, **changes) -> MemberView:
    fields = {
        "member_id": MemberId(100 + number),
        "name": f"etcd{number}",
        "peer_urls": (url(number),),
        "client_urls": (url(number).replace("2380", "2379"),),
        "is_reachable": True,
    }
    return MemberView(**{**fields, **changes})


def view(*members: MemberView, **changes) -> ClusterView:
    fields = {"cluster_id": 7, "leader_id": MemberId(100), "has_quorum": True}
    return ClusterView(members=members, **{**fields, **changes})


def facts(*units: int, **changes) -> Facts:
    names = frozenset(UnitName(f"etcd/{number}") for number in (0, *units))
    peers = tuple(
        PeerUnit(UnitName(f"etcd/{n}"), url(n), member_id=MemberId(100 + n)) for n in units
    )
    fields = {
        "unit": ME,
        "settings": Settings(),
        "units_alive": names,
        "units_known": names,
        "peer_url": url(0),
        "has_authorities": True,
        "claim": Claim(ME, "token"),
        "cluster_id": "7",
        "access": "on  without ",
        "peers": peers,
        "engine": EngineFacts(is_running=True, data=DataState.OURS, started_with="c1"),
        "wanted": "c1",
        "now_s": 1000,
    }
    return Facts(**{**fields, **changes})


STOPPED = EngineFacts(is_running=False, data=DataState.OURS)
EMPTY = EngineFacts()


def test_an_empty_member_that_has_run_is_replaced_not_started():
    known = facts(
        1, 2, engine=EMPTY, view=view(member(0, is_reachable=False), member(1), member(2))
    )
    assert decide(known).steps == (RemoveMember(MemberId(100), "its data is gone"),)


def test_data_of_another_cluster_is_set_aside_by_a_joiner():
    foreign = EngineFacts(data=DataState.FOREIGN)
    plan = decide(facts(1, engine=foreign, view=view(member(1))))
    assert [type(step) for step in plan.steps] == [SetDataAside]


def test_a_member_that_differed_is_rebuilt_once_the_others_are_a_quorum():
    diverged = EngineFacts(data=DataState.DIVERGED)
    others = view(member(0, is_reachable=False), member(1), member(2))
    silent = dataclasses.replace(others, has_quorum=False)
    plan = decide(facts(1, 2, engine=diverged, view=silent))
    assert not plan.steps
    assert plan.waiting is not None
    plan = decide(facts(1, 2, engine=diverged, view=others))
    assert [type(step) for step in plan.steps] == [SetDataAside]


def test_data_of_another_cluster_is_not_adopted_by_a_founder():
    foreign = EngineFacts(data=DataState.FOREIGN)
    plan = decide(facts(engine=foreign, cluster_id=""))
    assert "storage" in plan.blocked
    assert not plan.steps


def test_a_stopped_member_starts_without_asking_anybody():
    assert decide(facts(1, 2, engine=STOPPED, view=None)).steps == (StartMember(),)


def test_row_27_a_long_start_is_waited_for_and_its_progress_shown():
    progress = "starting: loading the store: 25 %, 50 of 200"
    engine = EngineFacts(is_running=True, data=DataState.OURS, start_progress=progress)
    known = facts(view=None, engine=engine)
    plan = decide(known)
    assert not plan.steps
    assert describe(known, plan) == Report(Level.WAITING, progress)


def test_a_removed_member_does_not_start_again_on_its_data():
    plan = decide(facts(1, 2, engine=STOPPED, view=view(member(1), member(2))))
    assert [type(step) for step in plan.steps] == [SetDataAside]


def test_a_list_without_quorum_proves_nothing():
    stale = view(member(1), member(2), has_quorum=False)
    plan = decide(facts(1, 2, view=stale))
    assert not plan.steps
    assert plan.waiting.woken_by is WokenBy.TIMER


def test_a_new_address_is_announced():
    moved = view(member(0, peer_urls=("https://10.9.9.9:2380",)), member(1))
    assert decide(facts(1, view=moved)).steps == (UpdateMember(MemberId(100), url(0)),)


def test_nobody_founds_while_a_peer_has_a_member():
    known = facts(1, engine=EMPTY, cluster_id="", view=None)
    assert not any(isinstance(step, FoundCluster) for step in decide(known).steps)


def test_a_joiner_adds_only_itself():
    plan = decide(facts(1, engine=EMPTY, view=view(member(1))))
    assert plan.steps[0] == AddLearner(url(0))


def ghostly(**changes) -> Facts:
    dead = member(2, is_reachable=False)
    fields = {"is_leader": True, "view": view(member(0), member(1), dead)}
    return facts(1, **{**fields, **changes})


def test_a_ghost_is_only_remembered_at_first():
    plan = decide(ghostly())
    assert not plan.steps
    assert plan.absent_since_s == ((MemberId(102), 1000),)
    assert plan.waiting.after_s == GHOST_ABSENCE_S


def test_row_16_a_ghost_is_removed_after_a_minute():
    old = ghostly(absent_since_s=((MemberId(102), 1000 - GHOST_ABSENCE_S),))
    assert decide(old).steps == (RemoveMember(MemberId(102), "its unit is gone"),)


@pytest.mark.parametrize(
    "changes",
    [
        {"is_leader": False},
        {"view": view(member(0), member(1), member(2))},
        {"view": view(member(0), member(1), member(2, name="other", is_reachable=False))},
        {"view": view(member(0), *(member(n, is_reachable=False) for n in (1, 2, 3)))},
    ],
    ids=["follower", "it answers", "a name that is not ours", "the quorum would not survive"],
)
def test_row_16_a_ghost_stays_when_any_condition_fails(changes):
    old = tuple((MemberId(100 + number), 0) for number in (1, 2, 3))
    plan = decide(ghostly(absent_since_s=old, **changes))
    assert not any(isinstance(step, RemoveMember) for step in plan.steps)


def test_a_member_without_a_name_is_nobodys_only_when_all_have_shown_their_address():
    nameless = member(5, name="", is_reachable=False)
    seen = view(member(0), member(1), nameless)
    assert find_ghosts(facts(1, view=seen), seen) == (nameless,)
    hidden = dataclasses.replace(facts(1, 5, view=seen), peers=(PeerUnit(UnitName("etcd/1")),))
    assert find_ghosts(hidden, seen) == ()


def test_a_turn_is_granted_to_the_smallest_number_not_to_the_smallest_text():
    peers = tuple(
        PeerUnit(UnitName(f"etcd/{n}"), url(n), member_id=MemberId(100 + n), restart_wanted="c2")
        for n in (2, 10)
    )
    all_members = view(member(0), member(2), member(10))
    known = facts(2, 10, is_leader=True, view=all_members)
    plan = decide(dataclasses.replace(known, peers=peers))
    assert plan.app.turn == Turn(UnitName("etcd/2"), 1)


def test_a_turn_of_an_unheard_holder_is_kept():
    """A new leader has heard nobody yet: silence is no proof that the holder is done."""
    wish = facts(1, 2, is_leader=True, wanted="c2", turn=Turn(UnitName("etcd/1"), 4))
    known = dataclasses.replace(wish, peers=(), view=view(member(0), member(1), member(2)))
    assert decide(known).app.turn is None


def test_the_holder_of_a_turn_waits_for_sick_members():
    turn = Turn(ME, 1)
    sick = view(member(0), member(1, is_reachable=False), member(2))
    plan = decide(facts(1, 2, wanted="c2", turn=turn, view=sick))
    assert not plan.steps
    assert plan.turn_done == 0
    well = view(member(0), member(1), member(2))
    plan = decide(facts(1, 2, wanted="c2", turn=turn, view=well))
    assert plan.steps == (RestartMember("c2"),)
    assert plan.turn_done == 1


def dying(*units: int, **changes) -> Facts:
    known = facts(*units, **changes)
    return dataclasses.replace(known, is_dying=True, units_alive=known.units_alive - {ME})


def test_leadership_goes_to_a_unit_that_stays():
    seen = view(member(0), member(1), member(2))
    known = dying(1, 2, view=seen)
    known = dataclasses.replace(known, units_alive=frozenset({UnitName("etcd/2")}))
    decision = decide_leave(known)
    assert decision.farewell is Farewell.LEAVE
    assert decision.hand_over_to == MemberId(102)
    assert decision.helpers[0] == url(2).replace("2380", "2379")


def test_without_leadership_there_is_nothing_to_hand_over():
    seen = view(member(0), member(1), leader_id=MemberId(101))
    assert decide_leave(dying(1, view=seen)).hand_over_to == 0


@pytest.mark.parametrize(
    ("changes", "farewell"),
    [
        ({"view": None}, Farewell.RETRY),
        ({"view": view(member(0), member(1), has_quorum=False)}, Farewell.RETRY),
        (
            {"view": view(member(0), member(1, is_reachable=False), has_quorum=False)},
            Farewell.ABANDON,
        ),
        ({"view": view(member(1))}, Farewell.STOP),
        ({"engine": EMPTY, "view": None}, Farewell.STOP),
        ({"engine": EngineFacts(data=DataState.OURS, has_left=True)}, Farewell.STOP),
    ],
)
def test_farewells(changes, farewell):
    assert decide_leave(dying(1, **changes)).farewell is farewell


def test_a_removal_is_known_when_every_answer_shows_it():
    gone, still = frozenset({MemberId(2)}), frozenset({MemberId(1), MemberId(2)})
    assert is_removal_known({"a": gone, "b": None}, MemberId(1))
    assert not is_removal_known({"a": gone, "b": still}, MemberId(1))
    assert not is_removal_known({"a": None}, MemberId(1))
