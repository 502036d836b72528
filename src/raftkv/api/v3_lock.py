"""The Lock and Election services: recipes on keys with leases, served here for thin clients.

A candidate's key is ``name/lease id``; whoever's key was created first below the name holds the
lock, or leads. Each waits for the deletion of the one before it, so that one release wakes one.
Everything goes through the handlers of KV and Lease, with the rights of the caller. A caller that
gives up while it waits loses its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from etcdwire import messages as m
from etcdwire import messages_lock as ml
from etcdwire.errors import ApiError, Code, RequestError
from etcdwire.key_ranges import prefix_end
from etcdwire.protobuf import decode, encode
from raftkv.api import v3_kv, v3_lease
from raftkv.api.access import Caller, identify
from raftkv.api.calls import BodyWriter, Call, GatheredBody, Identity, ReadToken
from raftkv.api.host import Host
from raftkv.api.v3_maintenance import OutStream
from raftkv.store.ranges import answer_range
from raftkv.watch.hub import Delivery, Watcher

SESSION_TTL_S: Final = 60
"""Of the lease that is granted to a caller without one; nobody keeps it alive."""
_SESSION_EXPIRED: Final = RequestError(Code.UNKNOWN, "mutex: session is expired")
_NO_LEADER: Final = RequestError(Code.UNKNOWN, "election: no leader")
_NOT_LEADER: Final = RequestError(Code.UNKNOWN, "election: not leader")
_MISSING_LEADER: Final = RequestError(Code.UNKNOWN, '"leader" field must be provided')


class _Step:
    """A call made on behalf of another: its answer goes on, its error ends the whole."""

    __slots__ = ("_outer", "_then")

    def __init__(self, outer: Call, then: Callable[[bytes], None]) -> None:
        self._outer = outer
        self._then = then

    @property
    def identity(self) -> Identity | None:
        """The caller."""
        return self._outer.identity

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """Never needed: steps do not wait."""

    def begin(self, length: int) -> BodyWriter:  # noqa: ARG002 - see ``Call``
        """See ``Call``."""
        return GatheredBody(self)

    def ok(self, body: bytes) -> None:
        """Go on."""
        try:
            self._then(body)
        except ApiError as error:
            self._outer.fail(error)

    def fail(self, error: ApiError) -> None:
        """End."""
        self._outer.fail(error)


def _first(host: Host, prefix: bytes, before: int = 0) -> m.KeyValue | None:
    """The oldest key below a prefix; with ``before`` the youngest older than that revision."""
    request = m.RangeRequest(
        prefix,
        prefix_end(prefix),
        limit=1,
        sort_order=m.SortOrder.DESCEND if before else m.SortOrder.ASCEND,
        sort_target=m.SortTarget.CREATE,
        max_create_revision=before - 1 if before else 0,
    )
    found = decode(m.RangeResponse, answer_range(host.machine.kv, request)).kvs
    return found[0] if found else None


class _Candidacy:
    """One caller on its way to a lock or to leadership."""

    def __init__(
        self,
        host: Host,
        call: Call,
        name: bytes,
        lease: int,
        value: bytes,
        won: Callable[[_Candidacy], None],
    ) -> None:
        self._host = host
        self._call = call
        self._prefix = name + b"/"
        self._value = value
        self._won = won
        self._watchers: list[Watcher] = []
        self.lease = lease
        self.seen_at = 0
        """The revision at which the place was taken, or the last wait ended: what is answered."""
        self.key = b""
        self.revision = 0

    def begin(self) -> None:
        """Get a lease if there is none, then a place in the queue."""
        if self.lease:
            self._enter()
            return
        request = encode(m.LeaseGrantRequest(SESSION_TTL_S))
        v3_lease.grant(self._host, _Step(self._call, self._granted), request)

    def _granted(self, body: bytes) -> None:
        self.lease = decode(m.LeaseGrantResponse, body).ID
        self._enter()

    def _enter(self) -> None:
        self.key = self._prefix + b"%x" % (self.lease & (1 << 64) - 1)
        put = m.RequestOp(request_put=m.PutRequest(self.key, self._value, self.lease))
        get = m.RequestOp(request_range=m.RangeRequest(self.key))
        owner = m.RequestOp(
            request_range=m.RangeRequest(self._prefix, prefix_end(self._prefix), limit=1)
        )
        guard = m.Compare(target=m.CompareTarget.CREATE, key=self.key, create_revision=0)
        txn = m.TxnRequest([guard], [put, owner], [get, owner])
        v3_kv.txn(self._host, _Step(self._call, self._entered), encode(txn))

    def _entered(self, body: bytes) -> None:
        answer = decode(m.TxnResponse, body)
        self.revision = answer.header.revision if answer.header is not None else 0
        self.seen_at = self.revision
        if answer.succeeded:
            self._check()
            return
        found = answer.responses[0].response_range
        assert found is not None
        self.revision = found.kvs[0].create_revision
        if found.kvs[0].value == self._value:
            self._check()
            return
        put = encode(m.PutRequest(self.key, self._value, self.lease))
        v3_kv.put(self._host, _Step(self._call, lambda _: self._check()), put)

    def _check(self) -> None:
        """Won, lost, or to be looked at again when the one before is gone."""
        host = self._host
        self._stop()
        own = host.machine.kv.latest(self.key)
        if own is None or decode(m.KeyValue, own).create_revision != self.revision:
            self._call.fail(_SESSION_EXPIRED)
            return
        before = _first(host, self._prefix, self.revision)
        if before is None:
            self._won(self)
            return
        self._call.on_close(self._give_up)
        for key in (before.key, self.key):
            watcher = Watcher(self, 0, key, b"", host.machine.kv.revision + 1, no_put=True)
            self._watchers.append(watcher)
            host.machine.hub.add(watcher)

    def _stop(self) -> None:
        for watcher in self._watchers:
            self._host.machine.hub.remove(watcher)
        self._watchers.clear()
        self._call.on_close(None)

    def deliver(self, delivery: Delivery) -> None:
        """A key that we wait for was deleted (as a stream of the hub)."""
        if delivery.watcher in self._watchers:
            self._host.call_later(0, self._check_if_waiting)

    def catch_up_later(self, watcher: Watcher) -> None:
        """The state jumped: look anew (as a stream of the hub)."""
        if watcher in self._watchers:
            self._host.call_later(0, self._check_if_waiting)

    def _check_if_waiting(self) -> None:
        if self._watchers:
            self.seen_at = self._host.machine.kv.revision
            self._check()

    def _give_up(self) -> None:
        """The caller is gone: leave the queue."""
        self._stop()
        request = encode(m.DeleteRangeRequest(self.key))
        v3_kv.delete_range(self._host, _Nobody(self._call.identity), request)


class _Nobody:
    """A call whose answer nobody hears."""

    __slots__ = ("identity",)

    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """Nobody is there to go away."""

    def begin(self, length: int) -> BodyWriter:  # noqa: ARG002 - see ``Call``
        """See ``Call``."""
        return GatheredBody(self)

    def ok(self, body: bytes) -> None:
        """Done."""

    def fail(self, error: ApiError) -> None:
        """The lease will end it."""


def _header(host: Host, revision: int = 0) -> m.ResponseHeader:
    revision = revision or host.machine.kv.revision
    return m.ResponseHeader(host.cluster_id, host.member_id, revision, host.term)


def lock(host: Host, call: Call, data: bytes) -> None:
    """Lock: answered when the lock is held."""
    request = decode(ml.LockRequest, data)

    def won(held: _Candidacy) -> None:
        call.ok(encode(ml.LockResponse(_header(host, held.seen_at), held.key)))

    _Candidacy(host, call, request.name, request.lease, b"", won).begin()


def unlock(host: Host, call: Call, data: bytes) -> None:
    """Unlock."""
    request = decode(ml.UnlockRequest, data)
    step = _Step(call, lambda _: call.ok(encode(ml.UnlockResponse(_header(host)))))
    v3_kv.delete_range(host, step, encode(m.DeleteRangeRequest(request.key)))


def campaign(host: Host, call: Call, data: bytes) -> None:
    """Campaign: answered when elected."""
    request = decode(ml.CampaignRequest, data)

    def won(elected: _Candidacy) -> None:
        leader = ml.LeaderKey(request.name, elected.key, elected.revision, elected.lease)
        call.ok(encode(ml.CampaignResponse(_header(host, elected.seen_at), leader)))

    _Candidacy(host, call, request.name, request.lease, request.value, won).begin()


def _as_leader(
    host: Host,
    call: Call,
    leader: ml.LeaderKey,
    operation: m.RequestOp,
    then: Callable[[bool], None],
) -> None:
    guard = m.Compare(target=m.CompareTarget.CREATE, key=leader.key, create_revision=leader.rev)
    txn = m.TxnRequest([guard], [operation])

    def done(body: bytes) -> None:
        then(decode(m.TxnResponse, body).succeeded)

    v3_kv.txn(host, _Step(call, done), encode(txn))


def proclaim(host: Host, call: Call, data: bytes) -> None:
    """Proclaim: another value of the leader."""
    request = decode(ml.ProclaimRequest, data)
    leader = request.leader
    if leader is None:
        raise _MISSING_LEADER
    put = m.RequestOp(request_put=m.PutRequest(leader.key, request.value, leader.lease))

    def then(is_leader: bool) -> None:  # noqa: FBT001 - a callback
        if is_leader:
            call.ok(encode(ml.ProclaimResponse(_header(host))))
        else:
            call.fail(_NOT_LEADER)

    _as_leader(host, call, leader, put, then)


def resign(host: Host, call: Call, data: bytes) -> None:
    """Resign; no error when somebody else leads already."""
    request = decode(ml.ResignRequest, data)
    leader = request.leader
    if leader is None:
        raise _MISSING_LEADER
    delete = m.RequestOp(request_delete_range=m.DeleteRangeRequest(leader.key))
    _as_leader(
        host, call, leader, delete, lambda _: call.ok(encode(ml.ResignResponse(_header(host))))
    )


def leader(host: Host, call: Call, data: bytes) -> None:
    """Leader: who leads now."""
    prefix = decode(ml.LeaderRequest, data).name + b"/"
    identity = call.identity
    if identity is not None and not identity.rights.may_read(prefix, prefix_end(prefix)):
        raise _denied()

    def answer(call: Call) -> None:
        found = _first(host, prefix)
        if found is None:
            call.fail(_NO_LEADER)
        else:
            call.ok(encode(ml.LeaderResponse(_header(host), found)))

    host.read(ReadToken(call, answer))


def _denied() -> ApiError:
    return RequestError(Code.PERMISSION_DENIED, "etcdserver: permission denied")


class Observation:
    """One Observe call: every leader, and every value that it proclaims."""

    def __init__(self, host: Host, stream: OutStream, caller: Caller) -> None:
        self._host = host
        self._stream = stream
        self._caller = caller
        self._watcher: Watcher | None = None
        self._shown = 0
        """Modification revision of what was sent last."""
        host.watch_streams.add(self)

    def receive(self, data: bytes) -> None:
        """The one LeaderRequest."""
        prefix = decode(ml.LeaderRequest, data).name + b"/"
        host = self._host
        end = prefix_end(prefix)
        self._watcher = Watcher(self, 0, prefix, end, host.machine.kv.revision + 1)
        self.recheck()
        if self._stream.is_open:
            host.machine.hub.add(self._watcher)
            self._look()

    def recheck(self) -> None:
        """Users or roles changed, or the call begins: whoever may not read sees nothing."""
        host, watcher = self._host, self._watcher
        if watcher is None or not host.machine.auth.enabled:
            return
        try:
            if not identify(host, self._caller).rights.may_read(watcher.key, watcher.range_end):
                raise _denied()
        except ApiError as error:
            self._stream.finish(error)

    def _look(self) -> None:
        if self._watcher is None or not self._stream.is_open:
            return
        found = _first(self._host, self._watcher.key)
        if found is not None and found.mod_revision != self._shown:
            self._shown = found.mod_revision
            self._stream.send(encode(ml.LeaderResponse(_header(self._host), found)))

    def deliver(self, delivery: Delivery) -> None:
        """Something changed below the name (as a stream of the hub)."""
        del delivery
        self._look()

    def catch_up_later(self, watcher: Watcher) -> None:
        """The state jumped: look anew (as a stream of the hub)."""
        self._host.machine.hub.add(watcher)
        self._look()

    def close(self) -> None:
        """The call ended."""
        self._host.watch_streams.discard(self)
        if self._watcher is not None:
            self._host.machine.hub.remove(self._watcher)
