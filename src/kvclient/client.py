"""The synchronous client: endpoints, failover, and etcd's calls as typed methods."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

from etcdwire import messages as m
from etcdwire.errors import Code
from etcdwire.key_ranges import prefix_end
from etcdwire.protobuf import Message, decode, encode
from kvclient import login
from kvclient.auth_calls import AuthCalls
from kvclient.calls import R
from kvclient.connection import ClientTLS, Connection, Metadata
from kvclient.errors import RequestError, Unavailable
from kvclient.failover import Attempts, Pause, Preference
from kvclient.lease_calls import LeaseCalls
from kvclient.login import Password
from kvclient.maintenance_calls import MaintenanceCalls

SNAPSHOT_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the cluster."""

    member_id: int
    name: str
    """Empty until the member has started."""
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool
    unreachable: str = ""
    """Why a new voter cannot be reached; empty when it can, and with etcd."""


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """How one member is."""

    member_id: int
    cluster_id: int
    leader_id: int
    """0 when it knows no leader."""
    raft_index: int
    raft_applied_index: int
    raft_term: int
    version: str
    db_size_bytes: int
    db_size_in_use_bytes: int
    is_learner: bool
    errors: tuple[str, ...]
    revision: int = 0
    """Of its key space."""


class Client(AuthCalls, MaintenanceCalls, LeaseCalls):
    """A client of one cluster; every call ends within ``timeout_s``, whatever an endpoint does.

    Reads and membership questions move on to the next endpoint when one does not answer. Writes do
    so only while it is certain that nothing was sent.

    With ``username`` and ``password`` it logs in at the first call, and again whenever its token has
    ended; ``password`` may be a function that tells the present one. A client certificate needs
    neither: its common name is the user.
    """

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
        self._tls = tls or ClientTLS()
        self._context: ssl.SSLContext | None = None
        self._timeout_s = timeout_s
        self._connections: dict[str, Connection] = {}
        self._username = username
        self._password = password
        self._metadata: Metadata = ()
        self._is_logged_in = not username

    def __enter__(self) -> Client:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All that it knows, each once."""
        return self._preference.endpoints

    @property
    def timeout_s(self) -> float:
        """Within which every call ends."""
        return self._timeout_s

    def metadata(self) -> Metadata:
        """Headers of a call: the token, after logging in if that has to be.

        Raises:
            LoginError: name and password were not accepted.
        """
        self._log_in_if_needed()
        return self._metadata

    def log_in_again(self) -> None:
        """Get another token: the one there was has ended.

        Raises:
            LoginError: name and password were not accepted.
        """
        self._is_logged_in = not self._username
        self._log_in_if_needed()

    def dial(self) -> Connection:
        """A connection of the caller's own to the endpoint that answered last.

        Raises:
            Unavailable: nobody there.
        """
        return self._dial(self._preference.endpoint, self.share_s)

    def next_endpoint(self) -> None:
        """Begin with another endpoint from now on."""
        self._preference.leave(self._preference.endpoint)

    @property
    def share_s(self) -> float:
        """How long one of the endpoints may be silent, so that there is time to ask the others."""
        return self._timeout_s / len(self.endpoints)

    def clone(self) -> Client:
        """Another client like this one, with connections of its own: for another thread.

        Both begin with the endpoint that answered either of them last.
        """
        other = Client(
            self.endpoints,
            tls=self._tls,
            timeout_s=self._timeout_s,
            username=self._username,
            password=self._password,
        )
        other._preference = self._preference
        return other

    # --- key space --------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, *, lease: int = 0) -> int:
        """Write a key, perhaps hung on a lease; returns the revision.

        Raises:
            RequestError: there is no such lease.
        """
        request = m.PutRequest(key, value, lease)
        answer = self.call(b"/etcdserverpb.KV/Put", request, m.PutResponse, is_write=True)
        return _revision(answer.header)

    def get(self, key: bytes, *, serializable: bool = False) -> bytes | None:
        """Read a key; None when it does not exist."""
        request = m.RangeRequest(key, serializable=serializable)
        answer = self.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
        return answer.kvs[0].value if answer.kvs else None

    def get_prefix(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        """All keys below a prefix, in order."""
        request = m.RangeRequest(prefix or b"\0", prefix_end(prefix))
        answer = self.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
        return [(kv.key, kv.value) for kv in answer.kvs]

    def delete(self, key: bytes, range_end: bytes = b"") -> int:
        """Delete a key or a range; returns how many there were."""
        request = m.DeleteRangeRequest(key, range_end)
        answer = self.call(
            b"/etcdserverpb.KV/DeleteRange", request, m.DeleteRangeResponse, is_write=True
        )
        return answer.deleted

    def txn(self, request: m.TxnRequest) -> m.TxnResponse:
        """Run a transaction."""
        return self.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse, is_write=True)

    # --- members ----------------------------------------------------------------------------

    def status(self) -> MemberStatus:
        """How the first endpoint that answers is."""
        answer = self.call(
            b"/etcdserverpb.Maintenance/Status", m.StatusRequest(), m.StatusResponse
        )
        header = answer.header or m.ResponseHeader()
        return MemberStatus(
            header.member_id,
            header.cluster_id,
            answer.leader,
            answer.raftIndex,
            answer.raftAppliedIndex or answer.raftIndex,
            answer.raftTerm,
            answer.version,
            answer.dbSize,
            answer.dbSizeInUse,
            answer.isLearner,
            tuple(answer.errors),
            header.revision,
        )

    def member_list(self, *, linearizable: bool = True) -> tuple[Member, ...]:
        """All members; linearizable answers need a quorum."""
        request = m.MemberListRequest(linearizable)
        answer = self.call(b"/etcdserverpb.Cluster/MemberList", request, m.MemberListResponse)
        return tuple(_member(row) for row in answer.members)

    def member_add(self, peer_urls: Sequence[str], *, is_learner: bool = True) -> Member:
        """Add a member; start it afterwards."""
        request = m.MemberAddRequest(list(peer_urls), is_learner)
        answer = self.call(
            b"/etcdserverpb.Cluster/MemberAdd", request, m.MemberAddResponse, is_write=True
        )
        return _member(answer.member or m.Member())

    def member_promote(self, member_id: int) -> tuple[Member, ...]:
        """Make a learner a voter; refused until it has caught up."""
        request = m.MemberPromoteRequest(member_id)
        path = b"/etcdserverpb.Cluster/MemberPromote"
        answer = self.call(path, request, m.MemberPromoteResponse, is_write=True)
        return tuple(_member(row) for row in answer.members)

    def member_remove(self, member_id: int) -> tuple[Member, ...]:
        """Remove a member."""
        request = m.MemberRemoveRequest(member_id)
        path = b"/etcdserverpb.Cluster/MemberRemove"
        answer = self.call(path, request, m.MemberRemoveResponse, is_write=True)
        return tuple(_member(row) for row in answer.members)

    def member_update(self, member_id: int, peer_urls: Sequence[str]) -> tuple[Member, ...]:
        """Replace a member's peer URLs."""
        request = m.MemberUpdateRequest(member_id, list(peer_urls))
        path = b"/etcdserverpb.Cluster/MemberUpdate"
        answer = self.call(path, request, m.MemberUpdateResponse, is_write=True)
        return tuple(_member(row) for row in answer.members)

    def move_leader(self, target_id: int) -> None:
        """Hand leadership over; the endpoint must be the leader's."""
        request = m.MoveLeaderRequest(target_id)
        path = b"/etcdserverpb.Maintenance/MoveLeader"
        self.call(path, request, m.MoveLeaderResponse, is_write=True)

    # --- maintenance ------------------------------------------------------------------------

    def snapshot(self, write: Callable[[bytes], object]) -> int:
        """Stream a consistent snapshot to ``write``; returns its size in bytes."""
        self._log_in_if_needed()
        connection = self._connect_to_any()
        size = 0
        path = b"/etcdserverpb.Maintenance/Snapshot"
        bodies = connection.stream(
            path, encode(m.SnapshotRequest()), SNAPSHOT_WAIT_S, self._metadata
        )
        for body in bodies:
            blob = decode(m.SnapshotResponse, body).blob
            write(blob)
            size += len(blob)
        return size

    def health(self, endpoint: str | None = None) -> bool:
        """Whether an endpoint can serve: it answers ``/health`` after a read through a quorum."""
        url = endpoint or self._preference.endpoint
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "localhost", parts.port or 2379
        connection: http.client.HTTPConnection
        try:
            if parts.scheme == "https":
                context = self._tls.context()
                context.set_alpn_protocols(["http/1.1"])
                connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout_s, context=context
                )
            else:
                connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            try:
                connection.request("GET", "/health")
                answer = connection.getresponse()
                return answer.status == 200 and b'"true"' in answer.read(1024)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False

    def watch(
        self,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        timeout_s: float | None = None,
    ) -> Iterator[m.WatchResponse]:
        """Answers of one watch until the connection breaks; close the iterator to stop.

        ``timeout_s`` bounds the wait for each answer.

        Raises:
            Unavailable: the connection broke, or nothing came in time.
        """
        request = m.WatchRequest(
            create_request=m.WatchCreateRequest(key, range_end, start_revision)
        )
        self._log_in_if_needed()
        connection = self.dial()
        try:
            _, stream = connection.open(
                b"/etcdserverpb.Watch/Watch",
                encode(request),
                end=False,
                timeout_s=self._timeout_s,
                metadata=self._metadata,
            )
            first_s = self.share_s if timeout_s is None else min(timeout_s, self.share_s)
            for body in connection.messages(stream, timeout_s, first_timeout_s=first_s):
                yield decode(m.WatchResponse, body)
        finally:
            connection.close()

    # --- calls ------------------------------------------------------------------------------

    def call(
        self,
        path: bytes,
        request: Message,
        response: type[R],
        *,
        is_write: bool = False,
        endpoint: str | None = None,
    ) -> R:
        """Any unary call, with failover over all endpoints within the time limit.

        With ``endpoint`` only that one is asked.

        Raises:
            RequestError: the cluster answered with an error.
            LoginError: it did not accept name and password.
            Unavailable: nobody could answer in time.
        """
        self._log_in_if_needed()
        body = encode(request)
        try:
            return decode(response, self._unary(path, body, endpoint, is_write=is_write))
        except RequestError as error:
            if error.code != Code.UNAUTHENTICATED or not self._username:
                raise
        # The token has ended; what was refused for that was certainly not done.
        self._is_logged_in = False
        self._log_in_if_needed()
        return decode(response, self._unary(path, body, endpoint, is_write=is_write))

    def _log_in_if_needed(self) -> None:
        """Get a token, unless there is one or auth is off."""
        if self._is_logged_in:
            return
        self._metadata = ()
        request = login.login_request(self._username, self._password)
        try:
            answer = self._unary(login.PATH, request, None, is_write=False)
        except RequestError as error:
            login.check_refusal(error)
        else:
            self._metadata = login.token_metadata(answer)
        self._is_logged_in = True

    def _unary(self, path: bytes, body: bytes, endpoint: str | None, *, is_write: bool) -> bytes:
        attempts = Attempts(
            self._preference, time.monotonic() + self._timeout_s, is_write=is_write, only=endpoint
        )
        while True:
            step = attempts.next(time.monotonic())
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            try:
                connection = self._connect(step.endpoint, step.share_s)
                answer = connection.unary(path, body, step.share_s, self._metadata)
            except Unavailable as error:
                attempts.failed(error)
            else:
                attempts.answered()
                return answer

    def _connect(self, endpoint: str, timeout_s: float) -> Connection:
        connection = self._connections.get(endpoint)
        if connection is not None:
            if connection.is_usable:
                return connection
            connection.close()
            del self._connections[endpoint]
        connection = self._dial(endpoint, timeout_s)
        self._connections[endpoint] = connection
        return connection

    def _connect_to_any(self) -> Connection:
        """A connection to the first endpoint that takes one.

        Raises:
            Unavailable: none does.
        """
        for _ in self.endpoints[1:]:
            try:
                return self._connect(self._preference.endpoint, self.share_s)
            except Unavailable:
                self.next_endpoint()
        return self._connect(self._preference.endpoint, self.share_s)

    def _dial(self, endpoint: str, timeout_s: float) -> Connection:
        return Connection(endpoint, self._load_context, timeout_s, self._tls.server_name)

    def _load_context(self) -> ssl.SSLContext:
        """Made once: reading certificate files costs more than a call."""
        if self._context is None:
            self._context = self._tls.context()
        return self._context


def _revision(header: m.ResponseHeader | None) -> int:
    return header.revision if header is not None else 0


def _member(row: m.Member) -> Member:
    return Member(
        row.ID,
        row.name,
        tuple(row.peerURLs),
        tuple(row.clientURLs),
        is_learner=row.isLearner,
        unreachable=row.unreachable,
    )
