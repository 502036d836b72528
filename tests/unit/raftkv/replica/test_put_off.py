"""A follower's answer leaves before it applies (ADR 18)."""

from __future__ import annotations

from raftkv.raft.messages import Append, AppendReply
from raftkv.replica.effects import Effects
from raftkv.replica.inputs import PeerMessage, Persisted
from raftkv.replica.step import Replica
from raftkv.values import Entry, EntryKind, Index, MemberId
from tests.kit.scripted_cluster import ScriptedCluster

LEADER, FOLLOWER = MemberId(1), MemberId(2)


def new_follower() -> tuple[Replica, PeerMessage]:
    """A follower, and its leader's message: one more entry, which is committed already."""
    cluster = ScriptedCluster()
    cluster.run("cluster 3\ncampaign 1\nstabilize\npropose 1 a\nstabilize")
    replica = cluster.members[FOLLOWER].replica
    assert replica is not None
    last = replica.last_index
    assert replica.applied_index == last
    entry = Entry(replica.term, Index(last + 1), EntryKind.COMMANDS, b"")
    append = Append(replica.term, last, replica.term, Index(last + 1), (entry,))
    return replica, PeerMessage(LEADER, append)


def answers(effects: Effects) -> list[AppendReply]:
    return [send.message for send in effects.send if isinstance(send.message, AppendReply)]


def test_the_answer_comes_first_and_nothing_is_left_after_it() -> None:
    replica, message = new_follower()
    before = replica.applied_index
    written = replica.step_many([message], may_put_off=True)
    assert len(written.persist) == 1
    assert replica.has_put_off
    done = Persisted(written.persist[0].sequence)
    answered = replica.step_many([done], may_put_off=True)
    assert [reply.match for reply in answers(answered)] == [before + 1]
    assert (replica.applied_index, replica.has_put_off) == (before, True)
    replica.step_many(())
    assert (replica.applied_index, replica.has_put_off) == (before + 1, False)


def test_a_step_by_itself_puts_nothing_off() -> None:
    replica, message = new_follower()
    before = replica.applied_index
    written = replica.step_many([message])
    replica.step_many([Persisted(written.persist[0].sequence)])
    assert (replica.applied_index, replica.has_put_off) == (before + 1, False)
