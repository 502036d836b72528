"""The Maintenance service."""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from etcdwire import errors
from etcdwire import messages as m
from etcdwire.messages import AlarmType
from etcdwire.protobuf import decode, encode
from raftkv.api.calls import AlteredCall, Call, ReadToken, propose
from raftkv.api.host import Host, SnapshotSource, error_of
from raftkv.replica.commands import CommandKind, encode_alarm
from raftkv.replica.effects import Rejected
from raftkv.store.hashes import KeyValueHash
from raftkv.store.mvcc import KeyValueStore
from raftkv.values import NO_MEMBER, MemberId

API_VERSION: Final = "3.4.23"
"""The level of etcd's API that is served."""
CLUSTER_VERSION: Final = "3.4.0"
SNAPSHOT_RETRY_S: Final = 0.02
SNAPSHOT_PENDING_BYTES: Final = 1 << 20


def status(host: Host, call: Call, data: bytes) -> None:
    """Status of this member."""
    decode(m.StatusRequest, data)
    header = m.ResponseHeader(host.cluster_id, host.member_id, host.machine.kv.revision, host.term)
    problems = [] if host.leader_id != NO_MEMBER else ["etcdserver: no leader"]
    problems += [
        f"memberID:{member} alarm:{_alarm_name(kind)} "
        for member, kind in sorted(host.machine.alarms.active)
    ]
    call.ok(
        encode(
            m.StatusResponse(
                header,
                API_VERSION,
                host.size_bytes(),
                host.leader_id,
                host.commit_index,
                host.term,
                host.applied_index,
                problems,
                host.used_bytes(),
                host.is_learner,
            ),
        ),
    )


def _alarm_name(kind: int) -> str:
    return AlarmType(kind).name if kind in AlarmType.__members__.values() else str(kind)


def alarm(host: Host, call: Call, data: bytes) -> None:
    """Alarm: list them, raise one, or end one; answers have no header, as etcd's."""
    request = decode(m.AlarmRequest, data)
    if request.action == m.AlarmAction.GET:
        _list_alarms(host, call, request)
        return
    if call.identity is not None and not call.identity.rights.is_root:
        raise errors.PERMISSION_DENIED
    is_raised = request.action == m.AlarmAction.ACTIVATE
    command = encode_alarm(CommandKind.ALARM, request.memberID, request.alarm, is_raised=is_raised)
    changed = [m.AlarmMember(request.memberID, request.alarm)]

    def answer(body: bytes) -> None:
        """Tell of the alarm, if there is or was one."""
        call.ok(encode(m.AlarmResponse(None, changed if body[-1:] == b"\1" else [])))

    propose(host, AlteredCall(call, answer), command)


def _list_alarms(host: Host, call: Call, request: m.AlarmRequest) -> None:
    def answer(call: Call) -> None:
        found = [
            m.AlarmMember(member, kind)
            for member, kind in sorted(host.machine.alarms.active)
            if request.alarm in (AlarmType.NONE, kind)
        ]
        call.ok(encode(m.AlarmResponse(None, found)))

    host.read(ReadToken(call, answer))


def hash_kv(host: Host, call: Call, data: bytes) -> None:
    """HashKV: of this member's rows, in slices."""
    request = decode(m.HashKVRequest, data)
    store = host.machine.kv
    _hash_slice(host, call, store, KeyValueHash(store, request.revision))


def _hash_slice(host: Host, call: Call, store: KeyValueStore, work: KeyValueHash) -> None:
    try:
        if host.machine.kv is not store:
            call.fail(errors.TIMEOUT)  # a snapshot took the place of all rows
        elif work.step():
            header = m.ResponseHeader(
                host.cluster_id, host.member_id, host.machine.kv.revision, host.term
            )
            # etcd says -1 before the first compaction
            compacted = work.compact_revision or -1
            call.ok(encode(m.HashKVResponse(header, work.value, compacted)))
        else:
            host.call_later(0, partial(_hash_slice, host, call, store, work))
    except errors.ApiError as error:
        call.fail(error)


def hash_backend(host: Host, call: Call, data: bytes) -> None:
    """Hash: of everything replicated; equal on members that applied the same, and only there."""
    decode(m.HashRequest, data)

    def answer(value: int) -> None:
        header = m.ResponseHeader(
            host.cluster_id, host.member_id, host.machine.kv.revision, host.term
        )
        call.ok(encode(m.HashResponse(header, value)))

    host.hash_backend(answer)


def defragment(host: Host, call: Call, data: bytes) -> None:
    """Defragment: give free pages back to the file system while serving."""
    decode(m.DefragmentRequest, data)

    def done(error: errors.ApiError | None) -> None:
        if error is not None:
            call.fail(error)
            return
        call.ok(encode(m.DefragmentResponse()))

    host.defragment(done)


def move_leader(host: Host, call: Call, data: bytes) -> None:
    """Hand leadership to another voter; only the leader takes this call, as in etcd."""
    request = decode(m.MoveLeaderRequest, data)
    if host.leader_id != host.member_id:
        raise errors.NOT_LEADER
    if request.targetID not in host.membership.voters:
        raise errors.BAD_LEADER_TRANSFEREE
    host.transfer_leadership(MemberId(request.targetID), _TransferToken(host, call))


class _TransferToken:
    """A leadership transfer under way."""

    __slots__ = ("_call", "_host")

    def __init__(self, host: Host, call: Call) -> None:
        self._host = host
        self._call = call

    def applied(self, result: object) -> None:
        """Never called for a transfer."""

    def ready(self) -> None:
        """It moved."""
        host = self._host
        header = m.ResponseHeader(
            host.cluster_id, host.member_id, host.machine.kv.revision, host.term
        )
        self._call.ok(encode(m.MoveLeaderResponse(header)))

    def rejected(self, rejection: Rejected) -> None:
        """It did not move in time."""
        self._call.fail(error_of(rejection))


class OutStream(Protocol):
    """The answering half of a streamed call."""

    def send(self, body: bytes) -> None:
        """Send one encoded message."""

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the network."""

    def finish(self, error: errors.ApiError | None = None) -> None:
        """End the call."""

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""


def snapshot(host: Host, stream: OutStream) -> None:
    """Stream a consistent snapshot, never more than the client takes."""

    def deliver(found: SnapshotSource | errors.ApiError) -> None:
        if isinstance(found, errors.ApiError):
            stream.finish(found)
        else:
            _Pump(host, stream, found).run()

    host.export_snapshot(deliver)


class _Pump:
    def __init__(self, host: Host, stream: OutStream, source: SnapshotSource) -> None:
        self._host = host
        self._stream = stream
        self._source = source
        self._left = source.size_bytes

    def run(self) -> None:
        """Send pieces until the client's window is full, then come back."""
        stream = self._stream
        if not stream.is_open:
            self._source.close()
            return
        if stream.pending_bytes() > SNAPSHOT_PENDING_BYTES:
            self._host.call_later(SNAPSHOT_RETRY_S, self.run)
            return
        chunk = self._source.next_chunk()
        if chunk is None:
            self._source.close()
            stream.finish()
            return
        self._left = max(self._left - len(chunk), 0)
        header = m.ResponseHeader(self._host.cluster_id, self._host.member_id, 0, self._host.term)
        stream.send(encode(m.SnapshotResponse(header, self._left, chunk)))
        self._host.call_later(0, self.run)
