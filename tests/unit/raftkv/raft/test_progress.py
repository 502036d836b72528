"""What a leader believes about a follower: each transition of the table in ``progress``."""

from __future__ import annotations

from raftkv.raft.messages import Append
from raftkv.raft.progress import Progress, ProgressState
from raftkv.raft.settings import RaftSettings
from raftkv.values import Entry, EntryKind, Index, Term


def append(prev: int, count: int, size: int = 10, commit: int = 0) -> Append:
    entries = tuple(
        Entry(Term(1), Index(prev + 1 + i), EntryKind.COMMANDS, bytes(size)) for i in range(count)
    )
    return Append(Term(1), Index(prev), Term(1), Index(commit), entries)


def progress(*, messages: int = 2, size: int = 1000, next_index: int = 11) -> Progress:
    settings = RaftSettings(max_inflight_messages=messages, max_inflight_bytes=size)
    return Progress(settings, next_index)


def test_a_probe_waits_for_an_answer() -> None:
    p = progress()
    assert not p.is_paused
    p.note_sent(append(10, 1))
    assert p.is_paused
    assert p.next == 11


def test_an_acknowledgement_starts_streaming() -> None:
    p = progress()
    assert p.acknowledge(Index(10))
    p.become_replicate()
    assert (p.match, p.next, p.state) == (10, 11, ProgressState.REPLICATE)
    p.note_sent(append(10, 3))
    assert p.next == 14


def test_an_old_acknowledgement_changes_nothing() -> None:
    p = progress()
    p.acknowledge(Index(10))
    assert not p.acknowledge(Index(4))
    assert p.match == 10


def test_the_window_is_bounded_by_messages() -> None:
    p = progress(messages=2)
    p.acknowledge(Index(10))
    p.become_replicate()
    p.note_sent(append(10, 1))
    p.note_sent(append(11, 1))
    assert p.is_paused
    p.acknowledge(Index(11))
    p.inflights.free_to(11)
    assert not p.is_paused


def test_the_window_is_bounded_by_bytes() -> None:
    p = progress(messages=100, size=1000)
    p.acknowledge(Index(10))
    p.become_replicate()
    p.note_sent(append(10, 1, size=1500))
    assert p.is_paused
    p.inflights.free_to(11)
    assert not p.is_paused


def test_a_rejection_while_streaming_goes_back_to_probing() -> None:
    p = progress()
    p.acknowledge(Index(10))
    p.become_replicate()
    p.note_sent(append(10, 5))
    assert not p.reject(Index(9), Index(9))
    assert p.reject(Index(15), Index(12))
    assert (p.state, p.next) == (ProgressState.PROBE, 11)


def test_a_rejection_while_probing_follows_the_hint() -> None:
    p = progress()
    p.note_sent(append(10, 1))
    assert not p.reject(Index(7), Index(3))
    assert p.reject(Index(10), Index(4))
    assert p.next == 5
    assert not p.is_paused


def test_a_snapshot_pauses_until_it_ends() -> None:
    p = progress()
    p.become_snapshot(Index(50))
    assert p.is_paused
    p.end_snapshot(Index(60), is_accepted=True)
    assert (p.state, p.next, p.is_paused) == (ProgressState.PROBE, 61, True)


def test_a_failed_snapshot_starts_over_at_the_match() -> None:
    p = progress()
    p.acknowledge(Index(3))
    p.become_snapshot(Index(50))
    p.end_snapshot(Index(60), is_accepted=False)
    assert (p.state, p.next) == (ProgressState.PROBE, 4)


def test_the_commit_index_is_told_as_far_as_the_entries_reach() -> None:
    p = progress()
    p.note_sent(append(10, 2, commit=40))
    assert p.sent_commit == 12


def test_only_who_is_heard_from_needs_the_log() -> None:
    p = progress()
    assert p.needed_after is None
    p.is_active = True
    assert p.needed_after == p.next - 1
    p.acknowledge(Index(7))
    p.become_replicate()
    p.note_sent(append(7, 2))
    assert p.needed_after == 7
    p.is_active, p.was_active = False, True
    assert p.needed_after == 7
    p.was_active = False
    assert p.needed_after is None


def test_who_gets_the_state_needs_what_follows_on_it() -> None:
    p = progress()
    p.become_snapshot(Index(50))
    assert p.needed_after == 50
