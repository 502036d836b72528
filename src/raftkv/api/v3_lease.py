"""The Lease service: grants and revocations are entries, the rest is asked of the leader's clock."""

from __future__ import annotations

from typing import Protocol

from etcdwire import errors
from etcdwire import messages as m
from etcdwire.errors import ApiError, Code, RequestError
from etcdwire.hot import encode_field
from etcdwire.protobuf import DecodeError, decode, encode, encode_varint
from raftkv.api.access import Caller, Level, admit
from raftkv.api.calls import AlteredCall, Call, ReadToken, propose
from raftkv.api.host import Host, error_of
from raftkv.api.v3_maintenance import OutStream
from raftkv.lease.lessor import TTL_MAX_S
from raftkv.replica.commands import encode_grant, encode_revoke
from raftkv.replica.effects import Rejected
from raftkv.replica.leases import LeaseAnswer, LeaseAsks


def grant(host: Host, call: Call, data: bytes) -> None:
    """LeaseGrant; a time below the election time-out's one and a half is raised to that."""
    request = decode(m.LeaseGrantRequest, data)
    if request.TTL > TTL_MAX_S:
        raise errors.LEASE_TTL_TOO_LARGE
    if host.is_full or host.machine.alarms.is_full:
        raise errors.NO_SPACE
    ttl_s = max(request.TTL, host.lease_ttl_min_s)
    lease_id = request.ID or host.new_lease_id()
    answer = b"\x10" + encode_varint(lease_id) + b"\x18" + encode_varint(ttl_s)
    granted = AlteredCall(call, lambda header: call.ok(header + answer))
    propose(host, granted, encode_grant(lease_id, ttl_s))


def revoke(host: Host, call: Call, data: bytes) -> None:
    """LeaseRevoke: its keys go in one revision, however many."""
    propose(host, call, encode_revoke(decode(m.LeaseRevokeRequest, data).ID))


class Answerer(Protocol):
    """Who gets one response message, or an error."""

    def ok(self, body: bytes) -> None:
        """Answer."""

    def fail(self, error: ApiError) -> None:
        """Answer with an error."""


def keep_alive(host: Host, call: Answerer, data: bytes) -> None:
    """One keep-alive, alone (JSON) or of a stream."""
    lease_id = decode(m.LeaseKeepAliveRequest, data).ID
    host.ask_lease(LeaseAsks.KEEP_ALIVE, lease_id, _KeepAlive(host, call, lease_id))


class _KeepAlive:
    """A keep-alive under way (``host.Token``)."""

    __slots__ = ("_call", "_host", "_lease_id")

    def __init__(self, host: Host, call: Answerer, lease_id: int) -> None:
        self._host = host
        self._call = call
        self._lease_id = lease_id

    def applied(self, result: object) -> None:
        """The leader's answer; a lease that is gone has no time."""
        assert isinstance(result, LeaseAnswer)
        host = self._host
        body = host.headers.encode(host.machine.kv.revision, host.term)
        body += b"\x10" + encode_varint(self._lease_id) if self._lease_id else b""
        if result.left_s:
            body += b"\x18" + encode_varint(result.left_s)
        self._call.ok(body)

    def ready(self) -> None:
        """Never called for a question."""

    def rejected(self, rejection: Rejected) -> None:
        """No leader answered."""
        self._call.fail(error_of(rejection))


class KeepAliveStream:
    """One LeaseKeepAlive call: an answer for each message, in any order."""

    def __init__(self, host: Host, stream: OutStream, caller: Caller) -> None:
        self._host = host
        self._stream = stream
        self._caller = caller
        self._open_count = 0
        self._is_half_closed = False

    def receive(self, data: bytes) -> None:
        """One LeaseKeepAliveRequest."""
        host, stream = self._host, self._stream
        self._open_count += 1

        def proceed() -> None:
            try:
                keep_alive(host, self, data)
            except DecodeError as error:
                stream.finish(RequestError(Code.INTERNAL, f"grpc: {error}"))

        admit(host, self._caller, Level.USER, proceed, stream.finish)

    def ok(self, body: bytes) -> None:
        """Send one answer."""
        self._stream.send(body)
        self._open_count -= 1
        if self._is_half_closed and not self._open_count:
            self._stream.finish()

    def fail(self, error: ApiError) -> None:
        """End the call: the client opens another, perhaps elsewhere."""
        self._stream.finish(error)

    def half_close(self) -> None:
        """The client will ask no more: the call ends with the last answer."""
        self._is_half_closed = True
        if not self._open_count:
            self._stream.finish()


def time_to_live(host: Host, call: Call, data: bytes) -> None:
    """LeaseTimeToLive, with the keys when asked for: who sees them needs the right to read them."""
    request = decode(m.LeaseTimeToLiveRequest, data)

    def ask(call: Call) -> None:
        token = _TimeToLive(host, call, request)
        host.ask_lease(LeaseAsks.TIME_TO_LIVE, request.ID, token)

    host.read(ReadToken(call, ask))


class _TimeToLive:
    """A question under way (``host.Token``)."""

    __slots__ = ("_call", "_host", "_request")

    def __init__(self, host: Host, call: Call, request: m.LeaseTimeToLiveRequest) -> None:
        self._host = host
        self._call = call
        self._request = request

    def applied(self, result: object) -> None:
        """The leader's answer; -1 stands for a lease that is gone."""
        assert isinstance(result, LeaseAnswer)
        host, request = self._host, self._request
        header = m.ResponseHeader(
            host.cluster_id, host.member_id, host.machine.kv.revision, host.term
        )
        if not result.granted_s:
            self._call.ok(encode(m.LeaseTimeToLiveResponse(header, request.ID, -1)))
            return
        lease = host.machine.lessor.leases.get(request.ID)
        keys = sorted(lease.keys) if request.keys and lease is not None else []
        identity = self._call.identity
        if identity is not None and not all(identity.rights.may_read(key) for key in keys):
            self._call.fail(errors.PERMISSION_DENIED)
            return
        self._call.ok(
            encode(
                m.LeaseTimeToLiveResponse(
                    header, request.ID, result.left_s, result.granted_s, keys
                )
            )
        )

    def ready(self) -> None:
        """Never called for a question."""

    def rejected(self, rejection: Rejected) -> None:
        """No leader answered."""
        self._call.fail(error_of(rejection))


def leases(host: Host, call: Call, data: bytes) -> None:
    """LeaseLeases: the ids of all leases."""
    decode(m.LeaseLeasesRequest, data)

    def answer(call: Call) -> None:
        head = host.headers.encode(host.machine.kv.revision, host.term)
        rows = [
            encode_field(b"\x12", b"\x08" + encode_varint(lease_id))
            for lease_id in host.machine.lessor.leases
        ]
        call.ok(b"".join([head, *rows]))

    host.read(ReadToken(call, answer))
