"""Leases that are kept alive, locks with fencing tokens, and elections, for asyncio.

The recipes are those of ``kvclient.locks``, and understand those of other clients.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType

from etcdwire import messages as m
from etcdwire.errors import Code
from kvclient.aio import AsyncClient
from kvclient.errors import KvClientError, RequestError
from kvclient.kept_lease import RETRY_S
from kvclient.locks import Leader, LockLostError, ask_who_is_before


class AsyncKeptLease:
    """A lease with a task that keeps it alive; ``start`` makes it.

    ``lost`` is set before the server can give the lease up: the time is counted from when the last
    renewal was sent, on this process's own clock.
    """

    def __init__(self, client: AsyncClient, lease_id: int, ttl_s: int, until_s: float) -> None:
        self.lease_id = lease_id
        self.ttl_s = ttl_s
        self.lost = asyncio.Event()
        self._client = client
        self._until_s = until_s
        self._task = asyncio.get_running_loop().create_task(self._run())

    @classmethod
    async def start(cls, client: AsyncClient, ttl_s: int) -> AsyncKeptLease:
        """Grant a lease and keep it."""
        began_s = asyncio.get_running_loop().time()
        lease_id = await client.lease_grant(ttl_s)
        return cls(client, lease_id, ttl_s, began_s + ttl_s)

    @property
    def is_lost(self) -> bool:
        """Whether it has, or may have, ended."""
        return self.lost.is_set() or asyncio.get_running_loop().time() >= self._until_s

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            left_s = self._until_s - loop.time()
            pause_s = max(min(self.ttl_s / 3, left_s - self.ttl_s / 3), RETRY_S)
            await asyncio.sleep(min(pause_s, max(left_s, 0)))
            sent_s = loop.time()
            if sent_s >= self._until_s:
                self.lost.set()
                return
            try:
                ttl_s = await asyncio.wait_for(
                    self._client.lease_keep_alive(self.lease_id), self._until_s - sent_s
                )
            except RequestError as error:
                if error.code == Code.NOT_FOUND:
                    self.lost.set()
                    return
            except (KvClientError, asyncio.TimeoutError):
                continue
            else:
                self._until_s = sent_s + ttl_s

    async def close(self, *, revoke: bool = True) -> None:
        """Stop keeping it alive; with ``revoke`` end it now, else its time runs out."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if revoke and not self.lost.is_set():
            try:
                await self._client.lease_revoke(self.lease_id)
            except RequestError as error:
                if error.code != Code.NOT_FOUND:
                    raise


class _Candidate:
    """A place in the queue below a name."""

    def __init__(self, client: AsyncClient, name: bytes, ttl_s: int) -> None:
        self._client = client
        self._prefix = name + b"/"
        self._ttl_s = ttl_s
        self._lease: AsyncKeptLease | None = None
        self._revision = 0
        self.key = b""
        self.fencing_token = 0
        """The revision that made the key: greater for each holder; 0 while it is not held."""

    @property
    def is_lost(self) -> bool:
        """Whether the lease under it has, or may have, ended."""
        return self._lease is None or self._lease.is_lost

    async def wait_lost(self) -> None:
        """Return when the lease under it has, or may have, ended."""
        if self._lease is not None:
            await self._lease.lost.wait()

    async def _win(self, value: bytes) -> None:
        try:
            if self._lease is None or self._lease.is_lost:
                self._lease = await AsyncKeptLease.start(self._client, self._ttl_s)
            self.key = self._prefix + b"%x" % self._lease.lease_id
            await self._enter(value, self._lease.lease_id)
            await self._wait_for_turn(self._lease)
        except BaseException:
            await self._leave()
            raise
        self.fencing_token = self._revision

    async def _enter(self, value: bytes, lease_id: int) -> None:
        put = m.RequestOp(request_put=m.PutRequest(self.key, value, lease_id))
        get = m.RequestOp(request_range=m.RangeRequest(self.key))
        guard = m.Compare(target=m.CompareTarget.CREATE, key=self.key, create_revision=0)
        # Not as a write: done twice it is the same, so another endpoint may be asked.
        request = m.TxnRequest([guard], [put], [get])
        answer = await self._client.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse)
        if answer.succeeded:
            self._revision = answer.header.revision if answer.header is not None else 0
            return
        found = answer.responses[0].response_range
        assert found is not None
        self._revision = found.kvs[0].create_revision
        if found.kvs[0].value != value:
            await self._client.put(self.key, value, lease=lease_id)

    async def _wait_for_turn(self, lease: AsyncKeptLease) -> None:
        """Until nobody is before us.

        Raises:
            LockLostError: the lease ended meanwhile.
        """
        turn = asyncio.ensure_future(self._turn())
        lost = asyncio.ensure_future(lease.lost.wait())
        try:
            await asyncio.wait({turn, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lease.is_lost:
                raise LockLostError("the lease ended while waiting")
            await turn
        finally:
            for task in (turn, lost):
                task.cancel()
            await asyncio.gather(turn, lost, return_exceptions=True)

    async def _turn(self) -> None:
        while True:
            request = ask_who_is_before(self._prefix, self._revision)
            answer = await self._client.range(request)
            if not answer.kvs:
                return
            revision = answer.header.revision if answer.header is not None else 0
            await self._wait_for_deletion(answer.kvs[0].key, revision + 1)

    async def _wait_for_deletion(self, key: bytes, start_revision: int) -> None:
        async with contextlib.aclosing(
            self._client.watch(key, start_revision=start_revision)
        ) as answers:
            try:
                async for answer in answers:
                    if any(event.type == m.EventType.DELETE for event in answer.events):
                        return
            except RequestError:
                return  # compacted, or no right: look again

    async def _leave(self) -> None:
        lease, self._lease = self._lease, None
        self.fencing_token = 0
        if lease is not None:
            await lease.close()

    async def guarded_txn(
        self, operations: Sequence[m.RequestOp], guards: Sequence[m.Compare] = ()
    ) -> m.TxnResponse:
        """Write, but only while this lock is held: checked by the server in the same step.

        Raises:
            LockLostError: it is not held any more; nothing was written.
        """
        if not self.fencing_token:
            raise LockLostError("the lock is not held")
        held = m.Compare(
            target=m.CompareTarget.CREATE, key=self.key, create_revision=self.fencing_token
        )
        check = m.RequestOp(request_range=m.RangeRequest(self.key, count_only=True))
        inner = m.RequestOp(request_txn=m.TxnRequest(list(guards), list(operations)))
        answer = await self._client.txn(m.TxnRequest([held], [inner], [check]))
        if not answer.succeeded:
            raise LockLostError("the lock is not held any more")
        done = answer.responses[0].response_txn
        assert done is not None
        return done


class AsyncLock(_Candidate):
    """``async with AsyncLock(client, b"name") as lock: await lock.guarded_txn([...])``."""

    def __init__(self, client: AsyncClient, name: bytes, ttl_s: int = 10) -> None:
        """``ttl_s``: after so long without a sign of life the lock is somebody else's."""
        super().__init__(client, name, ttl_s)

    async def acquire(self) -> None:
        """Wait for the lock; cancel it, or wrap it in ``wait_for``, to give up.

        Raises:
            LockLostError: the lease ended while waiting.
            KvClientError: the cluster does not answer.
        """
        await self._win(b"")

    async def release(self) -> None:
        """Let go: the next one gets it."""
        await self._leave()

    async def __aenter__(self) -> AsyncLock:  # noqa: PYI034 - Self needs Python 3.11
        await self.acquire()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.release()


class AsyncElection(_Candidate):
    """Campaign for leadership below a name, or watch who leads."""

    def __init__(self, client: AsyncClient, name: bytes, ttl_s: int = 10) -> None:
        """``ttl_s``: after so long without a sign of life somebody else leads."""
        super().__init__(client, name, ttl_s)

    async def campaign(self, value: bytes) -> None:
        """Wait until elected.

        Raises:
            LockLostError: the lease ended while waiting.
        """
        await self._win(value)

    async def proclaim(self, value: bytes) -> None:
        """Tell another value as leader.

        Raises:
            LockLostError: somebody else leads.
        """
        if self._lease is None:
            raise LockLostError("nobody was elected here")
        put = m.PutRequest(self.key, value, self._lease.lease_id)
        await self.guarded_txn([m.RequestOp(request_put=put)])

    async def resign(self) -> None:
        """Give leadership, or the candidacy, up."""
        await self._leave()

    async def leader(self) -> Leader | None:
        """Who leads now; None when nobody does."""
        return (await self._look())[0]

    async def _look(self) -> tuple[Leader | None, int]:
        request = m.RangeRequest(
            self._prefix,
            self._prefix[:-1] + b"0",
            1,
            sort_order=m.SortOrder.ASCEND,
            sort_target=m.SortTarget.CREATE,
        )
        answer = await self._client.range(request)
        revision = answer.header.revision if answer.header is not None else 0
        if not answer.kvs:
            return None, revision
        row = answer.kvs[0]
        return Leader(row.key, row.value, row.create_revision), revision

    async def observe(self) -> AsyncGenerator[Leader, None]:
        """Every leader and every value from now on, without end; a break of the line is bridged."""
        shown: Leader | None = None
        while True:
            leader, revision = await self._look()
            if leader is not None and leader != shown:
                shown = leader
                yield leader
            end = self._prefix[:-1] + b"0"
            async with contextlib.aclosing(
                self._client.watch(self._prefix, end, revision + 1)
            ) as answers:
                async for answer in answers:
                    if answer.events:
                        break
