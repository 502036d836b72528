"""Row 6: one of three endpoints is dead, frozen or isolated, and every call ends within 3 s.

With raftkv and with real etcd. A read, or a write of which nothing was sent, is done by another
endpoint; a write whose fate is unknown says so, and the next one goes elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from etcdwire import messages as m
from kvclient import Client, KeptLease, Lock, RequestError, Unavailable, Watch, aio, lease_calls
from kvclient.aio import AsyncClient
from tests.kit.relayed_cluster import RelayedCluster
from tests.kit.waiting import wait_for

CALL_MAX_S = 3.0
FAULTS = ("black hole", "frozen", "cut off")


@pytest.fixture(scope="module", params=["raftkv", "etcd"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelayedCluster]:
    if request.param == "etcd" and shutil.which("etcd") is None:
        pytest.skip("etcd is not here")
    directory = tmp_path_factory.mktemp(f"dead-{request.param}")
    with RelayedCluster(request.param, directory) as made:
        yield made


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """An address at which nothing is ever answered, not even by the kernel: its queue is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"


@contextlib.contextmanager
def one_bad(cluster: RelayedCluster, fault: str) -> Iterator[list[str]]:
    """The endpoints, the first of which has the fault; a follower, so that writes can go on."""
    with Client(cluster.endpoints, timeout_s=10) as client:
        leader = client.status().leader_id
        named = {one.name: one.member_id for one in client.member_list()}
    bad = next(member for member in cluster.members if named[member.name] != leader)
    others = [member.client_url for member in cluster.members if member is not bad]
    assert bad.process is not None
    if fault == "black hole":
        with black_hole() as address:
            yield [address, *others]
        return
    if fault == "frozen":
        bad.process.send_signal(signal.SIGSTOP)
    else:
        cluster.cut_off(bad)
        wait_for(lambda: not answers(bad.client_url), 20, "it has lost its leader")
    try:
        yield [bad.client_url, *others]
    finally:
        bad.process.send_signal(signal.SIGCONT)
        cluster.relays.conditions.cut = set()
        wait_for(lambda: answers(bad.client_url), 30, "it serves again")


def answers(endpoint: str) -> bool:
    """Whether this member can say what the cluster agreed on."""
    with Client([endpoint], timeout_s=1) as client:
        try:
            client.get(b"x")
        except Unavailable:
            return False
        return True


def hold(client: Client) -> None:
    with Lock(client, b"lock", 5) as lock:
        lock.guarded_txn([m.RequestOp(request_put=m.PutRequest(b"held", b"1"))])


def watch(client: Client, revision: int) -> None:
    with contextlib.closing(Watch(client, b"watched", start_revision=revision).events()) as seen:
        assert next(seen).kv is not None


CALLS: dict[str, Callable[[Client], object]] = {
    "get": lambda client: client.get(b"k"),
    "get, serializable": lambda client: client.get(b"k", serializable=True),
    "put": lambda client: client.put(b"k", b"v"),
    "delete": lambda client: client.delete(b"k"),
    "txn": lambda client: client.txn(m.TxnRequest()),
    "compact": lambda client: client.compact(client.put(b"k", b"v")),
    "lease_grant": lambda client: client.lease_grant(10),
    "lease_list": lambda client: client.lease_list(),
    "member_list": lambda client: client.member_list(),
    "status": lambda client: client.status(),
    "alarm_list": lambda client: client.alarm_list(),
    "user_list": lambda client: client.user_list(),
    "hash_kv": lambda client: client.hash_kv(),
}


def insist(call: Callable[[], object], most_s: float = CALL_MAX_S) -> int:
    """Call until it is done, each time within the bound; how often its fate was not known."""
    unknown = 0
    while unknown < 3:
        problem: Unavailable | None = None
        began = time.monotonic()
        try:
            call()
        except Unavailable as error:
            problem = error
        assert time.monotonic() - began <= most_s
        if problem is None:
            return unknown
        assert problem.is_ambiguous, f"others could have done it: {problem}"
        unknown += 1
    raise AssertionError("it stays with the bad endpoint")


@pytest.mark.parametrize("fault", FAULTS)
def test_row_6_each_call_ends_in_time(cluster: RelayedCluster, fault: str) -> None:
    with one_bad(cluster, fault) as endpoints:
        for name, call in CALLS.items():
            with Client(endpoints) as client:
                unknown = insist(lambda: call(client))  # noqa: B023 - called here
            print(f"{cluster.engine}, {fault}: {name}, {unknown} unknown")
            if fault == "black hole":
                assert unknown == 0, "nothing was sent there"


@pytest.mark.parametrize("fault", FAULTS)
def test_row_6_what_lasts_goes_on(cluster: RelayedCluster, fault: str) -> None:
    with one_bad(cluster, fault) as endpoints:
        with Client(endpoints[1:]) as client:
            revision = client.put(b"watched", b"1")
        with Client(endpoints) as client:
            # A member of etcd lets a stream stand for 3 s after it has lost its leader.
            is_slow = cluster.engine == "etcd" and fault == "cut off"
            insist(lambda: watch(client, revision), 7.0 if is_slow else CALL_MAX_S)
        with Client(endpoints) as client:
            insist(lambda: hold(client))
        with Client(endpoints) as client:
            lease = KeptLease(client, 4)
            until = time.monotonic() + 5
            wait_for(lambda: time.monotonic() > until, 20, "longer than it lives by itself")
            assert not lease.is_lost
            lease.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_row_6_the_same_for_asyncio(cluster: RelayedCluster, fault: str) -> None:
    async def ask(endpoints: list[str]) -> None:
        for is_write in (False, True):
            for _ in range(3):
                async with AsyncClient(endpoints) as client:
                    for attempt in range(2):
                        problem: Unavailable | None = None
                        began = time.monotonic()
                        try:
                            await (client.put(b"k", b"v") if is_write else client.get(b"k"))
                        except Unavailable as error:
                            problem = error
                        assert time.monotonic() - began <= CALL_MAX_S
                        if problem is None:
                            break
                        assert is_write
                        assert problem.is_ambiguous
                        assert attempt == 0, "it stays with the bad endpoint"

    with one_bad(cluster, fault) as endpoints:
        asyncio.run(ask(endpoints))


def test_row_6_a_watch_leaves_a_server_that_freezes(cluster: RelayedCluster) -> None:
    with Client(cluster.endpoints) as client:
        start = client.put(b"freezing", b"0")
        leader = client.status().leader_id
        named = {one.name: one.member_id for one in client.member_list()}
    bad = next(member for member in cluster.members if named[member.name] != leader)
    others = [member.client_url for member in cluster.members if member is not bad]
    endpoints = [bad.client_url, *others]
    assert bad.process is not None

    async def watch_on(seen: asyncio.Event) -> int:
        async with (
            AsyncClient(endpoints) as client,
            contextlib.aclosing(client.watch(b"freezing", start_revision=start)) as answers,
        ):
            async for answer in answers:
                seen.set()
                if answer.events[-1].kv is not None and answer.events[-1].kv.value == b"1":
                    return len(answer.events)
        raise AssertionError("it ended")

    async def freeze() -> None:
        seen = asyncio.Event()
        task = asyncio.create_task(watch_on(seen))
        await asyncio.wait_for(seen.wait(), 10)
        await asyncio.to_thread(stop_and_write)
        await asyncio.wait_for(task, 20)

    def stop_and_write() -> None:
        assert bad.process is not None
        bad.process.send_signal(signal.SIGSTOP)
        with Client(others, timeout_s=10) as client:
            client.put(b"freezing", b"1")

    try:
        with (
            Client(endpoints) as client,
            contextlib.closing(
                Watch(client, b"freezing", start_revision=start).events()
            ) as events,
        ):
            assert next(events).kv is not None
            asyncio.run(freeze())
            event = next(events)
            assert event.kv is not None
            assert event.kv.value == b"1"
    finally:
        bad.process.send_signal(signal.SIGCONT)
        wait_for(lambda: answers(bad.client_url), 30, "it serves again")


def test_a_grant_that_was_carried_out_unseen_is_ours(
    cluster: RelayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def grant() -> int:
        async with AsyncClient(cluster.endpoints) as client:
            return await client.lease_grant(30)

    with Client(cluster.endpoints) as client:
        lease_id = client.lease_grant(30).lease_id
        monkeypatch.setattr(lease_calls, "choose_lease_id", lambda: lease_id)
        monkeypatch.setattr(aio, "choose_lease_id", lambda: lease_id)
        assert client.lease_grant(30).lease_id == lease_id
        assert asyncio.run(grant()) == lease_id
        with pytest.raises(RequestError, match="lease already exists"):
            client.lease_grant(30, lease_id)
        client.lease_revoke(lease_id)
