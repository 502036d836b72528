"""Row 13 of what users suffer from: one large range holds nobody up and fills no memory."""

from __future__ import annotations

import gc

from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from raftkv.api import large_ranges
from raftkv.api.access import Caller
from raftkv.api.large_ranges import RangeStream
from raftkv.store.range_walk import RangeWalk
from tests.kit.one_member import Answer, OneMember, Stream

KEYS = 12_000


def filled() -> OneMember:
    member = OneMember()
    kv = member.machine.kv
    kv.begin()
    for number in range(KEYS):
        kv.put(b"k%06d" % number, b"v" * 200, 0)
    kv.commit()
    kv.changes = []
    return member


def ask(member: OneMember, request: m.RangeRequest) -> tuple[Answer, int]:
    """The answer, and in how many turns of the loop it was made."""
    answer = member.call("Range", request)
    turns = 1
    while member.later:
        member.run_later()
        turns += 1
    return answer, turns


def test_a_large_range_takes_many_turns_and_says_its_length_first() -> None:
    member = filled()
    answer, turns = ask(member, m.RangeRequest(b"k", b"l"))
    assert answer.body is not None
    assert answer.announced == len(answer.body)
    found = decode(m.RangeResponse, answer.body)
    assert found.count == KEYS
    assert len(found.kvs) == KEYS
    assert not found.more
    assert turns > KEYS // large_ranges.KEYS_PER_STEP
    assert member.machine.kv.walkers == 0


def test_a_sorted_range_forgets_in_many_turns_what_its_limit_left() -> None:
    member = filled()
    answer = member.call("Range", m.RangeRequest(b"k", b"l", 1, sort_target=m.SortTarget.VALUE))
    while answer.body is None:
        member.run_later()
    turns = 0
    while member.later:
        member.run_later()
        turns += 1
    assert turns > 5


def test_nothing_of_a_large_range_waits_for_the_collector() -> None:
    member = filled()
    gc.collect()
    gc.disable()
    try:
        for target in m.SortTarget:
            ask(member, m.RangeRequest(b"k", b"l", sort_target=target))
        assert [found for found in gc.get_objects() if isinstance(found, RangeWalk)] == []
    finally:
        gc.enable()


def test_a_small_range_of_a_large_store_is_answered_at_once() -> None:
    member = filled()
    answer, turns = ask(member, m.RangeRequest(b"k0000", b"k0001"))
    assert answer.body is not None
    assert decode(m.RangeResponse, answer.body).count == 100
    assert turns == 1


def test_counting_everything_takes_turns_too() -> None:
    member = filled()
    answer, turns = ask(member, m.RangeRequest(b"\0", b"\0", limit=1))
    assert answer.body is not None
    found = decode(m.RangeResponse, answer.body)
    assert (found.count, len(found.kvs), found.more) == (KEYS, 1, True)
    assert turns > 5


class SlowStream(Stream):
    """A client that takes nothing until it is told to."""

    is_slow = True

    def pending_bytes(self) -> int:
        return sum(map(len, self.sent)) if self.is_slow else 0


def test_a_slow_client_gets_no_more_than_it_takes() -> None:
    member = filled()
    stream = SlowStream()
    call = RangeStream(member, stream, Caller())  # type: ignore[arg-type]
    call.receive(encode(m.RangeRequest(b"k", b"l")))
    for _ in range(200):
        member.run_later()
    limit = large_ranges.PENDING_BYTES + 2 * large_ranges.BYTES_PER_STEP
    assert 0 < sum(map(len, stream.sent)) < limit
    stream.is_slow = False
    while member.later:
        member.run_later()
    assert not stream.is_open
    assert stream.error is None
    merged = b"".join(inner_of(body) for body in stream.sent)
    found = decode(m.RangeResponse, merged)
    assert [kv.key for kv in found.kvs] == [b"k%06d" % n for n in range(KEYS)]
    assert found.count == KEYS
    assert found.header is not None


def inner_of(body: bytes) -> bytes:
    """Field 1 of a RangeStreamResponse."""
    assert body[0] == 0x0A
    at = 1
    while body[at] & 0x80:
        at += 1
    return body[at + 1 :]


def test_who_stops_taking_altogether_loses_the_answer_and_pins_nothing() -> None:
    member = filled()
    stream = SlowStream()
    call = RangeStream(member, stream, Caller())  # type: ignore[arg-type]
    call.receive(encode(m.RangeRequest(b"k", b"l")))
    big = [b"x" * large_ranges.PENDING_BYTES * 2]
    stream.sent += big
    for _ in range(int(large_ranges.STALLED_S / large_ranges.RETRY_S) + 50):
        member.run_later()
    assert stream.error is not None
    assert member.machine.kv.walkers == 0
