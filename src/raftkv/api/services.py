"""Every gRPC method: its path, its messages, its handler; the JSON gateway serves the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from etcdwire import messages as m
from etcdwire.protobuf import Message
from raftkv.api import v3_cluster, v3_kv, v3_maintenance
from raftkv.api.calls import Call
from raftkv.api.host import Host

Handler = Callable[[Host, Call, bytes], None]


@dataclass(frozen=True, slots=True)
class Unary:
    """One unary method."""

    path: bytes
    request: type[Message]
    response: type[Message]
    handler: Handler
    gateway: str
    """Path behind ``/v3``."""


_KV: Final = b"/etcdserverpb.KV/"
_CLUSTER: Final = b"/etcdserverpb.Cluster/"
_MAINTENANCE: Final = b"/etcdserverpb.Maintenance/"

UNARY: Final = (
    Unary(_KV + b"Put", m.PutRequest, m.PutResponse, v3_kv.put, "/kv/put"),
    Unary(_KV + b"Range", m.RangeRequest, m.RangeResponse, v3_kv.range_, "/kv/range"),
    Unary(
        _KV + b"DeleteRange",
        m.DeleteRangeRequest,
        m.DeleteRangeResponse,
        v3_kv.delete_range,
        "/kv/deleterange",
    ),
    Unary(_KV + b"Txn", m.TxnRequest, m.TxnResponse, v3_kv.txn, "/kv/txn"),
    Unary(
        _KV + b"Compact",
        m.CompactionRequest,
        m.CompactionResponse,
        v3_kv.compact,
        "/kv/compaction",
    ),
    Unary(
        _CLUSTER + b"MemberList",
        m.MemberListRequest,
        m.MemberListResponse,
        v3_cluster.member_list,
        "/cluster/member/list",
    ),
    Unary(
        _CLUSTER + b"MemberAdd",
        m.MemberAddRequest,
        m.MemberAddResponse,
        v3_cluster.member_add,
        "/cluster/member/add",
    ),
    Unary(
        _CLUSTER + b"MemberPromote",
        m.MemberPromoteRequest,
        m.MemberPromoteResponse,
        v3_cluster.member_promote,
        "/cluster/member/promote",
    ),
    Unary(
        _CLUSTER + b"MemberRemove",
        m.MemberRemoveRequest,
        m.MemberRemoveResponse,
        v3_cluster.member_remove,
        "/cluster/member/remove",
    ),
    Unary(
        _CLUSTER + b"MemberUpdate",
        m.MemberUpdateRequest,
        m.MemberUpdateResponse,
        v3_cluster.member_update,
        "/cluster/member/update",
    ),
    Unary(
        _MAINTENANCE + b"Status",
        m.StatusRequest,
        m.StatusResponse,
        v3_maintenance.status,
        "/maintenance/status",
    ),
    Unary(
        _MAINTENANCE + b"Alarm",
        m.AlarmRequest,
        m.AlarmResponse,
        v3_maintenance.alarm,
        "/maintenance/alarm",
    ),
    Unary(
        _MAINTENANCE + b"MoveLeader",
        m.MoveLeaderRequest,
        m.MoveLeaderResponse,
        v3_maintenance.move_leader,
        "/maintenance/transfer-leadership",
    ),
)
UNARY_BY_PATH: Final = {method.path: method for method in UNARY}
UNARY_BY_GATEWAY: Final = {
    f"{prefix}{method.gateway}": method
    for method in UNARY
    for prefix in ("/v3", "/v3beta", "/v3alpha")
}
WATCH_PATH: Final = b"/etcdserverpb.Watch/Watch"
SNAPSHOT_PATH: Final = _MAINTENANCE + b"Snapshot"
WATCH_GATEWAY: Final = frozenset(f"{p}/watch" for p in ("/v3", "/v3beta", "/v3alpha"))
SNAPSHOT_GATEWAY: Final = frozenset(
    f"{p}/maintenance/snapshot" for p in ("/v3", "/v3beta", "/v3alpha")
)
