"""The asyncio client against three members with TLS, users on, and members that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from etcdwire import messages as m
from kvclient import Client, ClientTLS, LoginError, RequestError, Unavailable
from kvclient.aio import AsyncClient
from kvclient.aio_locks import AsyncElection, AsyncKeptLease, AsyncLock
from kvclient.locks import LockLostError
from kvclient.watches import CompactedError
from tests.kit.tls_cluster import TlsCluster
from tests.kit.waiting import wait_for


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCluster]:
    made = TlsCluster(tmp_path_factory.mktemp("aio"), "--bcrypt-cost", "4")
    for member in made.members:
        member.start()
    try:
        with blocking(made) as client:
            wait_for(lambda: is_ready(client), 20, "a leader")
            client.user_add("root", "secret")
            client.role_add("root")
            client.user_grant_role("root", "root")
        yield made
    finally:
        for member in made.members:
            member.kill()


def is_ready(client: Client) -> bool:
    try:
        return client.get(b"x") is None
    except Unavailable:
        return False


def tls(cluster: TlsCluster) -> ClientTLS:
    return ClientTLS(str(cluster.ca), str(cluster.client_cert), str(cluster.client_key))


def blocking(cluster: TlsCluster) -> Client:
    return Client(cluster.endpoints.split(","), tls=tls(cluster), timeout_s=10)


def connect(cluster: TlsCluster, password: str = "") -> AsyncClient:
    return AsyncClient(
        cluster.endpoints.split(","), tls=tls(cluster), timeout_s=10,
        username="root" if password else "", password=password,
    )  # fmt: skip


def test_calls_share_a_connection_and_run_side_by_side(cluster: TlsCluster) -> None:
    async def story() -> None:
        async with connect(cluster) as client:
            await asyncio.gather(*(client.put(b"many/%03d" % i, b"%d" % i) for i in range(200)))
            assert len(await client.get_prefix(b"many/")) == 200
            assert await client.delete(b"many/", b"many0") == 200
            assert await client.get(b"many/001") is None
            assert len(await client.member_list()) == 3
            large = os.urandom(1_000_000)
            await client.put(b"large", large)
            assert await client.get(b"large") == large
            with pytest.raises(RequestError, match="lease not found"):
                await client.put(b"x", b"", lease=12345)
            with pytest.raises(RequestError, match="lease not found"):
                await client.lease_keep_alive(12345)

    asyncio.run(story())


def test_users_log_in_and_wrong_passwords_are_told(cluster: TlsCluster) -> None:
    with blocking(cluster) as client:
        client.auth_enable()

    async def story() -> None:
        async with connect(cluster, "wrong") as client:
            with pytest.raises(LoginError):
                await client.get(b"x")
        async with connect(cluster, "secret") as client:
            await asyncio.gather(*(client.put(b"login/%d" % i, b"") for i in range(10)))

    try:
        asyncio.run(story())
    finally:
        options = {"tls": tls(cluster), "username": "root", "password": "secret"}
        with Client(cluster.endpoints.split(","), **options) as client:  # type: ignore[arg-type]
            client.auth_disable()


def test_a_watch_sees_every_write_once_while_members_are_killed(cluster: TlsCluster) -> None:
    """Transactions of two keys each: never a half, never twice, never out of order."""
    rounds = 60

    async def write(client: AsyncClient) -> list[bytes]:
        """Values that were acknowledged, and those of which nobody knows."""
        done = []
        for number in range(rounds):
            value = b"%d" % number
            puts = [m.RequestOp(request_put=m.PutRequest(k, value)) for k in (b"w/a", b"w/b")]
            with contextlib.suppress(Unavailable):
                await client.txn(m.TxnRequest(success=puts))
                done.append(value)
            await asyncio.sleep(0.05)
        await client.put(b"w/end", b"end")
        return done

    async def watch(client: AsyncClient, revision: int) -> list[tuple[int, list[bytes]]]:
        seen: list[tuple[int, list[bytes]]] = []
        async for answer in client.watch(b"w/", b"w0", revision):
            by_revision: dict[int, list[bytes]] = {}
            for event in answer.events:
                assert event.kv is not None
                if event.kv.key == b"w/end":
                    return seen
                by_revision.setdefault(event.kv.mod_revision, []).append(event.kv.value)
            seen += sorted(by_revision.items())
        raise AssertionError

    async def kill_and_start() -> None:
        for member in cluster.members:
            await asyncio.sleep(0.5)
            await asyncio.to_thread(member.kill)
            await asyncio.sleep(0.5)
            member.start()

    async def story() -> None:
        async with connect(cluster) as writer, connect(cluster) as watcher:
            revision = await writer.put(b"w/start", b"")
            watching = asyncio.create_task(watch(watcher, revision + 1))
            done, _ = await asyncio.gather(write(writer), kill_and_start())
            seen = await asyncio.wait_for(watching, 30)
        revisions = [one for one, _ in seen]
        assert revisions == sorted(set(revisions))
        assert all(len(values) == 2 and values[0] == values[1] for _, values in seen)
        values = [values[0] for _, values in seen]
        assert set(done) <= set(values)
        assert len(values) == len(set(values)), "a write was repeated"

    asyncio.run(story())


def test_a_watch_into_compacted_history_says_so(cluster: TlsCluster) -> None:
    async def story() -> None:
        async with connect(cluster) as client:
            first = await client.put(b"old", b"1")
            await client.put(b"old", b"2")
            await client.compact(first + 1)
            with pytest.raises(CompactedError) as found:
                async for _ in client.watch(b"old", start_revision=first):
                    pass
            assert found.value.compact_revision == first + 1

    asyncio.run(story())


def test_locks_pass_on_with_growing_tokens_and_guard_what_is_written(cluster: TlsCluster) -> None:
    async def story() -> None:
        async with connect(cluster) as client:
            first, second = (AsyncLock(client, b"lock", 5) for _ in range(2))
            await first.acquire()
            waiting = asyncio.create_task(second.acquire())
            put = m.RequestOp(request_put=m.PutRequest(b"guarded", b"first"))
            await first.guarded_txn([put])
            assert not waiting.done()
            token = first.fencing_token
            await first.release()
            await asyncio.wait_for(waiting, 10)
            assert second.fencing_token > token
            with pytest.raises(LockLostError):
                await first.guarded_txn([put])
            # Whoever's lease ends under him hears of it, and cannot write any more.
            await client.lease_revoke(int(second.key.rpartition(b"/")[2], 16))
            with pytest.raises(LockLostError):
                await second.guarded_txn([put])
            await asyncio.wait_for(second.wait_lost(), 10)
            assert second.is_lost
            await second.release()
            # Giving up the wait leaves nothing behind.
            async with AsyncLock(client, b"lock", 5):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(AsyncLock(client, b"lock", 5).acquire(), 0.5)
                assert len(await client.get_prefix(b"lock/")) == 1

    asyncio.run(story())


def test_leaders_are_elected_and_observed(cluster: TlsCluster) -> None:
    async def story() -> None:
        async with connect(cluster) as client:
            one, two = (AsyncElection(client, b"election", 5) for _ in range(2))
            await one.campaign(b"one")
            seen: list[bytes] = []
            has_begun, has_proclaimed = asyncio.Event(), asyncio.Event()

            async def observe() -> None:
                async for leader in AsyncElection(client, b"election").observe():
                    seen.append(leader.value)
                    has_begun.set()
                    if leader.value == b"one again":
                        has_proclaimed.set()
                    if leader.value == b"two":
                        return

            watching = asyncio.create_task(observe())
            follower = asyncio.create_task(two.campaign(b"two"))
            leader = await one.leader()
            assert leader is not None
            assert leader.value == b"one"
            await asyncio.wait_for(has_begun.wait(), 10)
            await one.proclaim(b"one again")
            await asyncio.wait_for(has_proclaimed.wait(), 10)
            await one.resign()
            await asyncio.wait_for(asyncio.gather(follower, watching), 10)
            assert seen == [b"one", b"one again", b"two"]
            await two.resign()

    asyncio.run(story())


def test_a_kept_lease_outlives_its_time_and_a_kill(cluster: TlsCluster) -> None:
    async def story() -> None:
        async with connect(cluster) as client:
            lease = await AsyncKeptLease.start(client, 3)
            await client.put(b"kept", b"1", lease=lease.lease_id)
            began = time.monotonic()
            await asyncio.to_thread(cluster.members[0].kill)
            cluster.members[0].start()
            while time.monotonic() < began + 4.5:
                assert not lease.is_lost
                await asyncio.sleep(0.1)
            assert await client.get(b"kept") == b"1"
            await lease.close()
            assert await client.get(b"kept") is None

    asyncio.run(story())


def test_a_lasting_mistake_is_told_at_once(cluster: TlsCluster) -> None:
    wrong = ClientTLS(str(cluster.peer_ca), str(cluster.client_cert), str(cluster.client_key))
    endpoints = cluster.endpoints.split(",")

    async def story() -> None:
        async with AsyncClient(endpoints, tls=wrong, timeout_s=60) as client:
            with pytest.raises(Unavailable, match="not trusted"):
                await asyncio.wait_for(client.get(b"x"), 20)

    asyncio.run(story())
    client = Client(endpoints, tls=wrong, timeout_s=60)
    with pytest.raises(Unavailable, match="not trusted") as found:
        client.get(b"x")
    assert found.value.is_lasting


def test_the_package_needs_nothing_but_python() -> None:
    text = "import sys, kvclient.aio_locks; print([n for n in sys.modules if n in ('grpc', 'google')])"
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
