"""Pending reads and proposals: nobody who waits is forgotten."""

from __future__ import annotations

from raftkv.replica.proposals import PendingBatch, Proposals
from raftkv.replica.reads import RETRY_TICKS, Reads


def test_reads_share_a_question() -> None:
    reads = Reads(1)
    reads.gather([(0, "a"), (0, "b")])
    context = reads.next_question(2, 1, 1, 0)
    assert context is not None
    reads.gather([(0, "c")])
    assert reads.next_question(2, 1, 1, 0) is None
    reads.confirm(context, 5)
    assert reads.take_ready(4) == []
    assert reads.take_ready(5) == ["a", "b"]
    assert reads.next_question(2, 1, 1, 0) == context + 1


def test_without_a_leader_reads_wait() -> None:
    reads = Reads(1)
    reads.gather([(0, "a")])
    assert reads.next_question(0, 1, 1, 0) is None
    assert reads.expire(1) == ["a"]
    assert reads.is_idle


def test_a_question_is_repeated_to_a_new_leader_and_after_a_while() -> None:
    reads = Reads(1)
    reads.gather([(0, "a")])
    context = reads.next_question(2, 1, 1, 0)
    assert reads.next_question(3, 2, 1, 0) == context
    assert reads.next_question(3, 2, 1, RETRY_TICKS - 1) is None
    assert reads.next_question(3, 2, 1, RETRY_TICKS) == context


def test_an_answer_to_an_older_question_is_ignored() -> None:
    reads = Reads(1)
    reads.gather([(0, "a")])
    context = reads.next_question(2, 1, 1, 0)
    assert context is not None
    reads.confirm(context - 1, 5)
    assert reads.take_ready(99) == []


def test_contexts_differ_between_lives() -> None:
    assert Reads(1).context + 10**9 < Reads(2).context


def test_confirmed_reads_expire_too() -> None:
    reads = Reads(1)
    reads.gather([(0, "old"), (3, "new")])
    context = reads.next_question(2, 1, 1, 0)
    assert context is not None
    reads.confirm(context, 5)
    assert reads.expire(2) == ["old"]
    assert reads.take_ready(5) == ["new"]


def test_draining_returns_everything() -> None:
    reads = Reads(1)
    reads.gather([(0, "a")])
    context = reads.next_question(2, 1, 1, 0)
    assert context is not None
    reads.confirm(context, 5)
    reads.gather([(0, "b")])
    assert sorted(map(str, reads.drain())) == ["a", "b"]
    assert reads.is_idle


def _proposals() -> tuple[Proposals, list[object]]:
    lost: list[object] = []
    proposals = Proposals(lost.extend)
    for term, tick in ((1, 0), (1, 5), (2, 9)):
        sequence = proposals.begin()
        proposals.add(sequence, PendingBatch([b""], [f"t{sequence}"], term, tick))
    return proposals, lost


def test_taking_a_batch_loses_those_it_overtook() -> None:
    proposals, lost = _proposals()
    batch = proposals.take(2)
    assert batch is not None
    assert lost == ["t1"]
    assert len(proposals) == 1


def test_a_new_term_settles_the_old_ones() -> None:
    proposals, lost = _proposals()
    proposals.settle_term(2)
    assert lost == ["t1", "t2"]


def test_batches_expire() -> None:
    proposals, lost = _proposals()
    proposals.expire(5)
    assert lost == ["t1"]


def test_a_snapshot_settles_what_it_holds() -> None:
    proposals, lost = _proposals()
    proposals.settle_through(2)
    assert lost == ["t1", "t2"]
    assert proposals.drain() == ["t3"]
