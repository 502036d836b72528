"""The Maintenance service as far as it is served: Status, Alarm (list), MoveLeader, Snapshot."""

from __future__ import annotations

from typing import Final, Protocol

from etcdwire import errors
from etcdwire import messages as m
from etcdwire.errors import Code
from etcdwire.protobuf import decode, encode
from raftkv.api.calls import Call
from raftkv.api.host import Host, SnapshotSource, error_of
from raftkv.replica.effects import Rejected
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


def alarm(host: Host, call: Call, data: bytes) -> None:  # noqa: ARG001 - as all handlers
    """Alarms: none are raised yet, so the list is empty and nothing can be disarmed."""
    request = decode(m.AlarmRequest, data)
    if request.action == m.AlarmAction.ACTIVATE:
        raise errors.RequestError(Code.UNIMPLEMENTED, "etcdserver: alarms cannot be activated yet")
    call.ok(encode(m.AlarmResponse()))  # etcd gives no header with an empty list


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
