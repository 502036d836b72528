"""Locks and elections: who waits for whom, who gives up, whose lease ends."""

from __future__ import annotations

from etcdwire import messages as m
from etcdwire import messages_lock as ml
from etcdwire.protobuf import decode, encode
from raftkv.api.access import Caller
from raftkv.api.v3_lock import Observation
from tests.kit.one_member import Answer, OneMember, Stream


def with_leases(count: int) -> OneMember:
    member = OneMember()
    for lease_id in range(1, count + 1):
        member.must("LeaseGrant", m.LeaseGrantRequest(100, lease_id), m.LeaseGrantResponse)
    return member


def settle(member: OneMember) -> None:
    """Pass deletions on to those who wait, as the driver does, until nothing moves."""
    hub = member.machine.hub
    while hub.deliveries or member.later:
        deliveries, hub.deliveries = hub.deliveries, []
        for delivery in deliveries:
            delivery.watcher.stream.deliver(delivery)  # type: ignore[attr-defined]
        member.run_later()


def lock(member: OneMember, lease: int, name: bytes = b"l") -> Answer:
    return member.call("Lock", ml.LockRequest(name, lease))


def holds(answer: Answer, lease: int) -> bool:
    if answer.body is None:
        return False
    return decode(ml.LockResponse, answer.body).key == b"l/%x" % lease


def test_one_after_another_in_order() -> None:
    member = with_leases(4)
    answers = {lease: lock(member, lease) for lease in (1, 2, 3, 4)}
    assert [holds(answers[lease], lease) for lease in answers] == [True, False, False, False]
    for lease in (1, 2, 3):
        member.must("Unlock", ml.UnlockRequest(b"l/%x" % lease), ml.UnlockResponse)
        settle(member)
        assert [holds(answers[i], i) for i in answers] == [i <= lease + 1 for i in answers]


def test_a_lease_that_ends_lets_the_next_one_in() -> None:
    member = with_leases(2)
    lock(member, 1)
    waiting = lock(member, 2)
    member.must("LeaseRevoke", m.LeaseRevokeRequest(1), m.LeaseRevokeResponse)
    settle(member)
    assert holds(waiting, 2)


def test_who_waits_with_a_lease_that_ends_is_told_and_never_holds_it() -> None:
    member = with_leases(2)
    lock(member, 1)
    waiting = lock(member, 2)
    member.must("LeaseRevoke", m.LeaseRevokeRequest(2), m.LeaseRevokeResponse)
    settle(member)
    assert waiting.error is not None
    assert waiting.error.message == "mutex: session is expired"
    member.must("Unlock", ml.UnlockRequest(b"l/1"), ml.UnlockResponse)
    settle(member)
    assert waiting.body is None


def test_who_goes_away_loses_the_place() -> None:
    member = with_leases(3)
    lock(member, 1)
    gone, next_one = lock(member, 2), lock(member, 3)
    assert gone.closed is not None
    gone.closed()
    settle(member)
    assert member.machine.kv.latest(b"l/2") is None
    assert next_one.body is None
    member.must("Unlock", ml.UnlockRequest(b"l/1"), ml.UnlockResponse)
    settle(member)
    assert holds(next_one, 3)
    assert not member.machine.hub.watchers_count


def test_without_a_lease_one_of_a_minute_is_granted() -> None:
    member = OneMember()
    answer = lock(member, 0)
    assert answer.body is not None
    (lease,) = member.machine.lessor.leases.values()
    assert lease.granted_s == 60
    assert decode(ml.LockResponse, answer.body).key == b"l/%x" % lease.lease_id


def test_observers_see_every_leader_and_value() -> None:
    member = with_leases(2)
    stream = Stream()
    observation = Observation(member, stream, Caller())  # type: ignore[arg-type]
    observation.receive(encode(ml.LeaderRequest(b"e")))
    first = member.must("Campaign", ml.CampaignRequest(b"e", 1, b"a"), ml.CampaignResponse)
    settle(member)
    second = member.call("Campaign", ml.CampaignRequest(b"e", 2, b"b"))
    member.must("Proclaim", ml.ProclaimRequest(first.leader, b"c"), ml.ProclaimResponse)
    settle(member)
    member.must("Resign", ml.ResignRequest(first.leader), ml.ResignResponse)
    settle(member)
    assert second.body is not None
    seen = [decode(ml.LeaderResponse, body).kv for body in stream.sent]
    assert [kv.value for kv in seen if kv is not None] == [b"a", b"c", b"b"]
    observation.close()
    assert not member.machine.hub.watchers_count
