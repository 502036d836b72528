"""The asyncio client: ``AsyncClient``, watches that bridge breaks, leases, locks and elections.

The rules are the blocking client's: reads are repeated at the next endpoint, writes only while it
is certain that nothing was sent; a watch shows every revision once and whole; a lock carries a
fencing token. All calls of one client share one connection to each endpoint.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType

from etcdwire import messages as m
from etcdwire.errors import Code
from etcdwire.key_ranges import prefix_end
from etcdwire.protobuf import Message, decode, encode
from kvclient import login
from kvclient.aio_connection import AsyncConnection
from kvclient.calls import R
from kvclient.connection import ClientTLS, Metadata
from kvclient.errors import RequestError, Unavailable
from kvclient.failover import Attempts, Pause, Preference
from kvclient.lease_calls import choose_lease_id, is_repeated
from kvclient.login import Password
from kvclient.watches import (
    NEEDS_LEADER,
    RESUME_PAUSE_MAX_S,
    RESUME_PAUSE_S,
    WATCH_PATH,
    Cursor,
    LoginEndedError,
)


class AsyncClient:
    """A client of one cluster, for one event loop; see ``client.Client`` for what calls promise."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: ClientTLS | None = None,
        timeout_s: float = 5.0,
        username: str = "",
        password: Password = "",
    ) -> None:
        self._preference = Preference(endpoints)
        self.timeout_s = timeout_s
        self._tls = tls or ClientTLS()
        self._context: ssl.SSLContext | None = None
        self._connections: dict[str, AsyncConnection] = {}
        self._dialling: dict[str, asyncio.Lock] = {}
        self._username = username
        self._password = password
        self._metadata: Metadata = ()
        self._is_logged_in = not username
        self._login = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:  # noqa: PYI034 - Self needs Python 3.11
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All that it knows, each once."""
        return self._preference.endpoints

    async def close(self) -> None:
        """Close all connections; calls under way end in ``Unavailable``."""
        connections = list(self._connections.values())
        self._connections.clear()
        for connection in connections:
            await connection.close()

    # --- key space --------------------------------------------------------------------------

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        """Write a key, perhaps hung on a lease; returns the revision."""
        request = m.PutRequest(key, value, lease)
        answer = await self.call(b"/etcdserverpb.KV/Put", request, m.PutResponse, is_write=True)
        return answer.header.revision if answer.header is not None else 0

    async def get(self, key: bytes, *, serializable: bool = False) -> bytes | None:
        """Read a key; None when it does not exist."""
        answer = await self.range(m.RangeRequest(key, serializable=serializable))
        return answer.kvs[0].value if answer.kvs else None

    async def get_prefix(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All keys below a prefix, in order."""
        answer = await self.range(m.RangeRequest(prefix or b"\0", prefix_end(prefix)))
        return [(row.key, row.value) for row in answer.kvs]

    async def range(self, request: m.RangeRequest) -> m.RangeResponse:
        """Any range."""
        return await self.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)

    async def delete(self, key: bytes, range_end: bytes = b"") -> int:
        """Delete a key or a range; returns how many there were."""
        path = b"/etcdserverpb.KV/DeleteRange"
        request = m.DeleteRangeRequest(key, range_end)
        return (await self.call(path, request, m.DeleteRangeResponse, is_write=True)).deleted

    async def txn(self, request: m.TxnRequest) -> m.TxnResponse:
        """Run a transaction."""
        return await self.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse, is_write=True)

    async def compact(self, revision: int, *, physical: bool = False) -> None:
        """Forget what is older than a revision."""
        request = m.CompactionRequest(revision, physical)
        path = b"/etcdserverpb.KV/Compact"
        await self.call(path, request, m.CompactionResponse, is_write=True)

    # --- leases, members --------------------------------------------------------------------

    async def lease_grant(self, ttl_s: int, lease_id: int = 0) -> int:
        """Make a lease; returns its id. See ``LeaseCalls.lease_grant``."""
        request = m.LeaseGrantRequest(ttl_s, lease_id or choose_lease_id())
        path = b"/etcdserverpb.Lease/LeaseGrant"
        try:
            await self.call(path, request, m.LeaseGrantResponse, is_write=bool(lease_id))
        except RequestError as error:
            if lease_id or not is_repeated(error):
                raise
        return request.ID

    async def lease_revoke(self, lease_id: int) -> None:
        """End a lease and delete its keys."""
        path = b"/etcdserverpb.Lease/LeaseRevoke"
        request = m.LeaseRevokeRequest(lease_id)
        await self.call(path, request, m.LeaseRevokeResponse, is_write=True)

    async def lease_keep_alive(self, lease_id: int) -> int:
        """Renew a lease once; returns the seconds that it has from now on.

        Raises:
            RequestError: NOT_FOUND, it has ended.
        """
        path = b"/etcdserverpb.Lease/LeaseKeepAlive"
        request = m.LeaseKeepAliveRequest(lease_id)
        answer = await self.call(path, request, m.LeaseKeepAliveResponse)
        if not answer.TTL:
            raise RequestError(Code.NOT_FOUND, "etcdserver: requested lease not found")
        return answer.TTL

    async def status(self, endpoint: str | None = None) -> m.StatusResponse:
        """How an endpoint is: the first that answers, or the one that is named."""
        path = b"/etcdserverpb.Maintenance/Status"
        return await self.call(path, m.StatusRequest(), m.StatusResponse, endpoint=endpoint)

    async def member_list(self) -> list[m.Member]:
        """All members."""
        path = b"/etcdserverpb.Cluster/MemberList"
        return (await self.call(path, m.MemberListRequest(), m.MemberListResponse)).members

    # --- watches ----------------------------------------------------------------------------

    async def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        prev_kv: bool = False,
        progress_notify: bool = False,
    ) -> AsyncGenerator[m.WatchResponse, None]:
        """Changes by whole revisions, for as long as they are asked for; breaks are bridged.

        Close the iterator (``aclosing``) to stop it.

        Raises:
            CompactedError: what comes next is gone.
            WatchCanceledError: refused.
            Unavailable: no endpoint answered within the time limit at the beginning.
        """
        cursor = Cursor(
            key, range_end, start_revision, prev_kv=prev_kv, progress_notify=progress_notify
        )
        loop = asyncio.get_running_loop()
        deadline: float | None = loop.time() + self.timeout_s
        pause_s, logins = RESUME_PAUSE_S, 0
        while True:
            endpoint = self._preference.endpoint
            try:
                await self._log_in_if_needed()
                share_s = self.timeout_s / len(self.endpoints)
                connection = await self._connect(endpoint, share_s)
                metadata = (*self._metadata, *NEEDS_LEADER)
                stream = connection.open(WATCH_PATH, cursor.request(), metadata, end=False)
                try:
                    async for body in connection.messages(stream, first_timeout_s=share_s):
                        answer = cursor.take(body, endpoint)
                        deadline, pause_s, logins = None, RESUME_PAUSE_S, 0
                        if answer is not None:
                            yield answer
                finally:
                    connection.forget(stream)
            except LoginEndedError:
                logins += 1
                if logins > 1:
                    raise
                self._is_logged_in = not self._username
            except Unavailable:
                if deadline is not None and loop.time() + pause_s >= deadline:
                    raise
                self._preference.leave(endpoint)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESUME_PAUSE_MAX_S)

    # --- calls ------------------------------------------------------------------------------

    async def call(
        self,
        path: bytes,
        request: Message,
        response: type[R],
        *,
        is_write: bool = False,
        endpoint: str | None = None,
    ) -> R:
        """Any unary call, with failover over all endpoints within the time limit.

        Raises:
            RequestError: the cluster answered with an error.
            LoginError: it did not accept name and password.
            Unavailable: nobody could answer in time.
        """
        await self._log_in_if_needed()
        body = encode(request)
        try:
            return decode(response, await self._unary(path, body, endpoint, is_write=is_write))
        except RequestError as error:
            if error.code != Code.UNAUTHENTICATED or not self._username:
                raise
        self._is_logged_in = False
        await self._log_in_if_needed()
        return decode(response, await self._unary(path, body, endpoint, is_write=is_write))

    async def _log_in_if_needed(self) -> None:
        if self._is_logged_in:
            return
        async with self._login:
            await self._log_in_once()

    async def _log_in_once(self) -> None:
        """Unless another task did while this one waited."""
        if not self._is_logged_in:
            self._metadata = ()
            request = login.login_request(self._username, self._password)
            try:
                answer = await self._unary(login.PATH, request, None, is_write=False)
            except RequestError as error:
                login.check_refusal(error)
            else:
                self._metadata = login.token_metadata(answer)
            self._is_logged_in = True

    async def _unary(
        self, path: bytes, body: bytes, endpoint: str | None, *, is_write: bool
    ) -> bytes:
        loop = asyncio.get_running_loop()
        attempts = Attempts(
            self._preference, loop.time() + self.timeout_s, is_write=is_write, only=endpoint
        )
        while True:
            step = attempts.next(loop.time())
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            try:
                connection = await self._connect(step.endpoint, step.share_s)
                answer = await connection.unary(path, body, step.share_s, self._metadata)
            except Unavailable as error:
                attempts.failed(error)
            else:
                attempts.answered()
                return answer

    async def _connect(self, endpoint: str, timeout_s: float) -> AsyncConnection:
        async with self._dialling.setdefault(endpoint, asyncio.Lock()):
            connection = self._connections.get(endpoint)
            if connection is not None:
                if connection.is_usable:
                    return connection
                if not connection.has_streams:
                    await connection.close()
            if self._context is None and endpoint.startswith("https"):
                self._context = self._tls.context()
            connection = await AsyncConnection.dial(
                endpoint, self._context, timeout_s, self._tls.server_name
            )
            self._connections[endpoint] = connection
            return connection
