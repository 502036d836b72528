"""News of commits that wait for entries (ADR 16)."""

from __future__ import annotations

from raftkv.raft.messages import Append, Commit, Heartbeat
from raftkv.server.held_commit import HELD_S, PROMPT_FOR_S, HeldCommit
from raftkv.values import Index, Term

TERM = Term(3)


def commit(index: int, term: Term = TERM) -> Commit:
    return Commit(term, Index(index))


def append(index: int, term: Term = TERM) -> Append:
    return Append(term, Index(index), term, Index(index), ())


def test_entries_that_say_it_as_well_replace_it() -> None:
    held = HeldCommit()
    assert held.hold(commit(7), 10.0)
    assert held.take_before(append(7)) is None
    assert held.due_in_s(10.0) is None
    assert held.take() is None


def test_entries_that_do_not_say_it_come_after_it() -> None:
    for message in (append(6), append(7, Term(4)), Heartbeat(TERM, Index(9), 0)):
        held = HeldCommit()
        held.hold(commit(7), 10.0)
        assert held.take_before(message) == commit(7)
        assert held.take() is None


def test_the_newest_counts_and_waits_from_then_on() -> None:
    held = HeldCommit()
    held.hold(commit(7), 10.0)
    held.hold(commit(8), 10.0 + HELD_S / 2)
    assert held.due_in_s(10.0 + HELD_S) == 10.0 + HELD_S / 2 + HELD_S - (10.0 + HELD_S)
    assert held.due_in_s(11.0) == 0.0
    assert held.take() == commit(8)


def test_a_peer_that_asked_is_told_at_once() -> None:
    held = HeldCommit()
    held.be_prompt(10.0)
    assert not held.hold(commit(7), 10.0 + PROMPT_FOR_S / 2)
    assert held.due_in_s(10.1) is None
    assert held.hold(commit(8), 10.0 + PROMPT_FOR_S)
