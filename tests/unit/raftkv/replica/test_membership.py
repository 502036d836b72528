"""The membership table: what is possible, what is refused, how it is stored."""

from __future__ import annotations

import pytest

from raftkv.raft.errors import InvariantViolated
from raftkv.replica.membership import (
    ChangeRefusal,
    MembershipTable,
    bootstrap_entries,
    decode_change,
    encode_change,
)
from raftkv.replica.replica_state import decode_state, encode_state
from raftkv.replica.sessions import Sessions
from raftkv.values import Member, MemberId, MembershipChange, MembershipChangeKind

KIND = MembershipChangeKind


def member(number: int, *, learner: bool = False, url: str | None = None) -> Member:
    urls = (url or f"http://m{number}",)
    return Member(MemberId(number), f"m{number}", urls, ("http://c",), is_learner=learner)


def change(kind: MembershipChangeKind, number: int, **more: str) -> MembershipChange:
    return MembershipChange(kind, member(number, **more))  # type: ignore[arg-type]


def table(voters: int = 3, learners: int = 0) -> MembershipTable:
    made = MembershipTable()
    for number in range(1, voters + 1):
        made.apply(change(KIND.ADD_VOTER, number))
    for number in range(voters + 1, voters + learners + 1):
        made.apply(change(KIND.ADD_LEARNER, number))
    return made


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (change(KIND.ADD_VOTER, 9), None),
        (change(KIND.ADD_VOTER, 2), ChangeRefusal.MEMBER_EXISTS),
        (change(KIND.ADD_VOTER, 9, url="http://m2"), ChangeRefusal.PEER_URL_EXISTS),
        (change(KIND.ADD_LEARNER, 9), ChangeRefusal.TOO_MANY_LEARNERS),
        (change(KIND.PROMOTE, 4), None),
        (change(KIND.PROMOTE, 2), ChangeRefusal.NOT_LEARNER),
        (change(KIND.PROMOTE, 9), ChangeRefusal.MEMBER_NOT_FOUND),
        (change(KIND.REMOVE, 2), None),
        (change(KIND.REMOVE, 4), None),
        (change(KIND.REMOVE, 9), ChangeRefusal.MEMBER_NOT_FOUND),
        (change(KIND.UPDATE_PEER_URLS, 2, url="http://new"), None),
        (change(KIND.UPDATE_PEER_URLS, 2, url="http://m2"), None),
        (change(KIND.UPDATE_PEER_URLS, 2, url="http://m1"), ChangeRefusal.PEER_URL_EXISTS),
        (change(KIND.PUBLISH, 2), None),
        (change(KIND.PUBLISH, 9), ChangeRefusal.MEMBER_NOT_FOUND),
    ],
)
def test_refusals(wanted: MembershipChange, refusal: ChangeRefusal | None) -> None:
    assert table(3, 1).find_refusal(wanted) is refusal


def test_a_removed_member_never_comes_back() -> None:
    made = table()
    made.apply(change(KIND.REMOVE, 2))
    assert made.find_refusal(change(KIND.ADD_VOTER, 2)) is ChangeRefusal.MEMBER_REMOVED
    assert made.view.removed == {2}


def test_the_last_voter_stays() -> None:
    made = table(1, 1)
    assert made.find_refusal(change(KIND.REMOVE, 1)) is ChangeRefusal.LAST_VOTER


def test_a_promoted_learner_votes() -> None:
    made = table(3, 1)
    assert made.view.learners == {4}
    made.apply(change(KIND.PROMOTE, 4))
    assert made.view.voters == {1, 2, 3, 4}


def test_publishing_keeps_the_peer_urls() -> None:
    made = table()
    made.apply(MembershipChange(KIND.PUBLISH, Member(MemberId(2), "new", (), ("http://x",))))
    assert made.view.members[MemberId(2)] == Member(
        MemberId(2), "new", ("http://m2",), ("http://x",)
    )


def test_a_view_is_never_changed_in_place() -> None:
    made = table()
    before = made.view
    made.apply(change(KIND.REMOVE, 3))
    assert before.voters == {1, 2, 3}


def test_an_impossible_change_cannot_be_applied() -> None:
    with pytest.raises(InvariantViolated):
        table().apply(change(KIND.PROMOTE, 9))


@pytest.mark.parametrize("wants_vote", [False, True])
@pytest.mark.parametrize("kind", sorted(set(KIND) - {KIND.RAISE_LEVEL}))
def test_changes_come_back(kind: MembershipChangeKind, *, wants_vote: bool) -> None:
    urls = ("http://a", "http://b")
    wanted = MembershipChange(
        kind, Member(MemberId((1 << 64) - 1), "näme", urls, (), True, wants_vote)
    )
    assert decode_change(encode_change(wanted)) == wanted


def test_a_rise_of_the_level_comes_back() -> None:
    wanted = MembershipChange(KIND.RAISE_LEVEL, level=2)
    assert decode_change(encode_change(wanted)) == wanted


def test_the_table_keeps_its_first_format_until_the_level_rises() -> None:
    made = table()
    before = made.encode()
    assert before[0] == 1
    assert made.find_refusal(MembershipChange(KIND.RAISE_LEVEL, level=1)) is not None
    made.apply(MembershipChange(KIND.RAISE_LEVEL, level=2))
    assert made.encode()[0] == 2
    loaded = MembershipTable()
    loaded.load(made.encode())
    assert loaded.view == made.view


def test_a_level_that_this_version_does_not_understand_is_refused() -> None:
    made = table()
    made.apply(MembershipChange(KIND.RAISE_LEVEL, level=2))
    older = MembershipTable(understood=1)
    with pytest.raises(InvariantViolated, match="start the newer version again"):
        older.load(made.encode())
    with pytest.raises(InvariantViolated, match="level 3, this version understands 2"):
        made.apply(MembershipChange(KIND.RAISE_LEVEL, level=3))


def test_voters_that_wait_and_learners_have_limits_of_their_own() -> None:
    made = table()
    for number in range(10, 14):
        waiting = Member(MemberId(number), "", (f"http://m{number}",), wants_vote=True)
        wanted = MembershipChange(KIND.ADD_LEARNER, waiting)
        assert made.find_refusal(wanted) is None
        made.apply(wanted)
    fifth = Member(MemberId(14), "", ("http://m14",), wants_vote=True)
    one_more = MembershipChange(KIND.ADD_LEARNER, fifth)
    assert made.find_refusal(one_more) is ChangeRefusal.TOO_MANY_LEARNERS
    assert made.find_refusal(change(KIND.ADD_LEARNER, 15)) is None


def test_the_replica_state_comes_back() -> None:
    made = table(3, 1)
    made.apply(change(KIND.REMOVE, 2))
    sessions = Sessions()
    assert sessions.accept(3, 1, 1)
    assert sessions.accept(1, 7, 3)
    loaded, loaded_sessions = MembershipTable(), Sessions()
    decode_state(encode_state(made, sessions), loaded, loaded_sessions)
    assert loaded.view == made.view
    assert loaded_sessions.rows == sessions.rows
    assert encode_state(loaded, loaded_sessions) == encode_state(made, sessions)


def test_founders_write_equal_entries() -> None:
    members = [member(2), member(1)]
    assert bootstrap_entries(members) == bootstrap_entries(reversed(members))
    assert [entry.index for entry in bootstrap_entries(members)] == [1, 2]


def test_sessions_accept_only_what_is_newer() -> None:
    sessions = Sessions()
    numbers = [(1, 1), (1, 2), (1, 2), (1, 1), (2, 1), (1, 9), (2, 2)]
    accepted = [sessions.accept(5, *number) for number in numbers]
    assert accepted == [True, True, False, False, True, False, True]
    sessions.forget(5)
    assert sessions.accept(5, 1, 1)
