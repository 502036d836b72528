from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftkv.raft.settings import RaftSettings
from raftkv.replica.batch import encode_batch
from raftkv.replica.effects import Effects
from raftkv.replica.forcing import NotForceableError, force_alone, read_membership
from raftkv.replica.inputs import Boot, Tick
from raftkv.replica.membership import bootstrap_entries, encode_change
from raftkv.replica.replica_state import founding_state
from raftkv.replica.step import Replica
from raftkv.values import (
    Entry,
    EntryKind,
    Index,
    Member,
    MemberId,
    MembershipChange,
    MembershipChangeKind,
    Term,
)
from tests.kit.scripted_cluster import Journal

MEMBERS = [Member(MemberId(i), f"m{i}", (f"http://m{i}",)) for i in (1, 2, 3)]


def commands(index: int, text: str, *, term: int = 4) -> Entry:
    data = encode_batch(1, 1, index, [text.encode()])
    return Entry(Term(term), Index(index), EntryKind.COMMANDS, data)


def change(index: int, kind: MembershipChangeKind, member: Member, *, term: int = 4) -> Entry:
    data = encode_batch(0, 0, 0, [encode_change(MembershipChange(kind, member))])
    return Entry(Term(term), Index(index), EntryKind.MEMBERSHIP, data)


def boot(
    member: int = 1,
    *,
    commit: int = 3,
    more: Sequence[Entry] = (),
    members: Sequence[Member] = tuple(MEMBERS),
) -> Boot:
    entries = [*bootstrap_entries(members), *more]
    return Boot(MemberId(member), 7, hard_state=(5, 2, commit), entries=entries)


def start(booted: Boot) -> tuple[Replica, Journal, Effects]:
    machine = Journal()
    replica = Replica(RaftSettings(), booted, machine, 1)
    effects = replica.step(Tick())
    return replica, machine, effects


def test_the_survivor_is_alone_and_keeps_what_it_cannot_know_to_be_committed() -> None:
    forced = force_alone(boot(more=[commands(4, "told"), commands(5, "perhaps")]))
    assert forced is not None
    assert [m.name for m in forced.removed] == ["m2", "m3"]
    replica, machine, _ = start(forced.boot)
    assert machine.commands == ["told", "perhaps"]
    assert replica.membership.voters == {1}
    assert replica.membership.removed == {2, 3}


def test_the_term_is_above_everything_seen() -> None:
    forced = force_alone(boot(more=[commands(4, "x", term=5)]))
    assert forced is not None
    assert forced.hard_state.term == 6
    assert {entry.term for entry in forced.entries} == {6}
    assert forced.hard_state.commit == forced.entries[-1].index == 6


def test_a_learner_is_promoted() -> None:
    learner = Member(MemberId(4), "m4", ("http://m4",))
    forced = force_alone(
        boot(4, more=[change(4, MembershipChangeKind.ADD_LEARNER, learner)], commit=3)
    )
    assert forced is not None
    replica, _, _ = start(forced.boot)
    assert replica.membership.voters == {4}
    assert not replica.membership.learners


def test_changes_in_the_tail_count() -> None:
    added = Member(MemberId(4), "m4", ("http://m4",))
    tail = [
        change(4, MembershipChangeKind.ADD_VOTER, added),
        change(5, MembershipChangeKind.REMOVE, MEMBERS[2]),
    ]
    assert set(read_membership(boot(more=tail)).members) == {1, 2, 4}
    forced = force_alone(boot(more=tail))
    assert forced is not None
    assert {m.member_id for m in forced.removed} == {2, 4}


def test_a_removed_member_cannot_be_forced() -> None:
    tail = [change(4, MembershipChangeKind.REMOVE, MEMBERS[0])]
    with pytest.raises(NotForceableError, match="removed"):
        force_alone(boot(more=tail))


def test_alone_already_is_nothing_to_do() -> None:
    assert force_alone(boot(members=MEMBERS[:1], commit=1)) is None


def test_a_log_that_the_backend_has_overtaken_starts_behind_it() -> None:
    index, term, state = founding_state(MEMBERS)
    behind = Boot(
        MemberId(1),
        2,
        hard_state=(3, 0, 0),
        applied=Index(index + 10),
        applied_term=Term(2),
        state=state,
    )
    forced = force_alone(behind)
    assert forced is not None
    assert forced.reset_to == (index + 10, 2)
    assert forced.entries[0].index == index + 11
    replica, _, _ = start(forced.boot)
    assert replica.membership.voters == {1}
    assert term == 1
