"""Every gRPC method: its path, its messages, its handler; the JSON gateway serves the same table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from etcdwire import messages as m
from etcdwire import messages_auth as ma
from etcdwire import messages_lock as ml
from etcdwire.protobuf import Message
from raftkv.api import v3_auth, v3_cluster, v3_kv, v3_lease, v3_lock, v3_maintenance
from raftkv.api.access import Level
from raftkv.api.calls import Call
from raftkv.api.figures import MethodCounter
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
    """Path behind ``/v3``; empty for what the gateway of etcd does not serve either."""
    level: Level = Level.USER
    """What it asks of its caller while auth is on; rights on keys are the handler's matter."""


_KV: Final = b"/etcdserverpb.KV/"
_CLUSTER: Final = b"/etcdserverpb.Cluster/"
_MAINTENANCE: Final = b"/etcdserverpb.Maintenance/"
_AUTH: Final = b"/etcdserverpb.Auth/"
_LEASE: Final = b"/etcdserverpb.Lease/"
_LOCK: Final = b"/v3lockpb.Lock/"
_ELECTION: Final = b"/v3electionpb.Election/"

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
        Level.ROOT,
    ),
    Unary(
        _CLUSTER + b"MemberPromote",
        m.MemberPromoteRequest,
        m.MemberPromoteResponse,
        v3_cluster.member_promote,
        "/cluster/member/promote",
        Level.ROOT,
    ),
    Unary(
        _CLUSTER + b"MemberRemove",
        m.MemberRemoveRequest,
        m.MemberRemoveResponse,
        v3_cluster.member_remove,
        "/cluster/member/remove",
        Level.ROOT,
    ),
    Unary(
        _CLUSTER + b"MemberUpdate",
        m.MemberUpdateRequest,
        m.MemberUpdateResponse,
        v3_cluster.member_update,
        "/cluster/member/update",
        Level.ROOT,
    ),
    Unary(
        _MAINTENANCE + b"Status",
        m.StatusRequest,
        m.StatusResponse,
        v3_maintenance.status,
        "/maintenance/status",
        Level.OPEN,
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
        Level.ROOT,
    ),
    Unary(
        _LEASE + b"LeaseGrant",
        m.LeaseGrantRequest,
        m.LeaseGrantResponse,
        v3_lease.grant,
        "/lease/grant",
    ),
    Unary(
        _LEASE + b"LeaseRevoke",
        m.LeaseRevokeRequest,
        m.LeaseRevokeResponse,
        v3_lease.revoke,
        "/lease/revoke",
    ),
    Unary(
        _LEASE + b"LeaseTimeToLive",
        m.LeaseTimeToLiveRequest,
        m.LeaseTimeToLiveResponse,
        v3_lease.time_to_live,
        "/lease/timetolive",
    ),
    Unary(
        _LEASE + b"LeaseLeases",
        m.LeaseLeasesRequest,
        m.LeaseLeasesResponse,
        v3_lease.leases,
        "/lease/leases",
    ),
    Unary(_LOCK + b"Lock", ml.LockRequest, ml.LockResponse, v3_lock.lock, "/lock/lock"),
    Unary(_LOCK + b"Unlock", ml.UnlockRequest, ml.UnlockResponse, v3_lock.unlock, "/lock/unlock"),
    Unary(
        _ELECTION + b"Campaign",
        ml.CampaignRequest,
        ml.CampaignResponse,
        v3_lock.campaign,
        "/election/campaign",
    ),
    Unary(
        _ELECTION + b"Proclaim",
        ml.ProclaimRequest,
        ml.ProclaimResponse,
        v3_lock.proclaim,
        "/election/proclaim",
    ),
    Unary(
        _ELECTION + b"Leader",
        ml.LeaderRequest,
        ml.LeaderResponse,
        v3_lock.leader,
        "/election/leader",
    ),
    Unary(
        _ELECTION + b"Resign",
        ml.ResignRequest,
        ml.ResignResponse,
        v3_lock.resign,
        "/election/resign",
    ),
    Unary(
        _MAINTENANCE + b"HashKV",
        m.HashKVRequest,
        m.HashKVResponse,
        v3_maintenance.hash_kv,
        "",
        Level.ROOT,
    ),
    Unary(
        _MAINTENANCE + b"Hash",
        m.HashRequest,
        m.HashResponse,
        v3_maintenance.hash_backend,
        "/maintenance/hash",
        Level.ROOT,
    ),
    Unary(
        _MAINTENANCE + b"Defragment",
        m.DefragmentRequest,
        m.DefragmentResponse,
        v3_maintenance.defragment,
        "/maintenance/defragment",
        Level.ROOT,
    ),
    *(
        Unary(_AUTH + name.encode(), request, response, handler, f"/auth/{path}", level)
        for name, request, response, handler, path, level in (
            ("AuthEnable", ma.Nothing, ma.HeaderOnly, v3_auth.enable, "enable", Level.ROOT),
            ("AuthDisable", ma.Nothing, ma.HeaderOnly, v3_auth.disable, "disable", Level.ROOT),
            (
                "AuthStatus",
                ma.Nothing,
                ma.AuthStatusResponse,
                v3_auth.status,
                "status",
                Level.ROOT,
            ),
            (
                "Authenticate",
                ma.AuthenticateRequest,
                ma.AuthenticateResponse,
                v3_auth.authenticate,
                "authenticate",
                Level.OPEN,
            ),
            (
                "UserAdd",
                ma.AuthUserAddRequest,
                ma.HeaderOnly,
                v3_auth.user_add,
                "user/add",
                Level.ROOT,
            ),
            (
                "UserGet",
                ma.AuthUserNameRequest,
                ma.AuthUserGetResponse,
                v3_auth.user_get,
                "user/get",
                Level.USER,
            ),
            (
                "UserList",
                ma.Nothing,
                ma.AuthUserListResponse,
                v3_auth.user_list,
                "user/list",
                Level.ROOT,
            ),
            (
                "UserDelete",
                ma.AuthUserNameRequest,
                ma.HeaderOnly,
                v3_auth.user_delete,
                "user/delete",
                Level.ROOT,
            ),
            (
                "UserChangePassword",
                ma.AuthUserChangePasswordRequest,
                ma.HeaderOnly,
                v3_auth.user_change_password,
                "user/changepw",
                Level.ROOT,
            ),
            (
                "UserGrantRole",
                ma.AuthUserGrantRoleRequest,
                ma.HeaderOnly,
                v3_auth.user_grant_role,
                "user/grant",
                Level.ROOT,
            ),
            (
                "UserRevokeRole",
                ma.AuthUserRevokeRoleRequest,
                ma.HeaderOnly,
                v3_auth.user_revoke_role,
                "user/revoke",
                Level.ROOT,
            ),
            (
                "RoleAdd",
                ma.AuthRoleAddRequest,
                ma.HeaderOnly,
                v3_auth.role_add,
                "role/add",
                Level.ROOT,
            ),
            (
                "RoleGet",
                ma.AuthRoleRequest,
                ma.AuthRoleGetResponse,
                v3_auth.role_get,
                "role/get",
                Level.USER,
            ),
            (
                "RoleList",
                ma.Nothing,
                ma.AuthRoleListResponse,
                v3_auth.role_list,
                "role/list",
                Level.ROOT,
            ),
            (
                "RoleDelete",
                ma.AuthRoleRequest,
                ma.HeaderOnly,
                v3_auth.role_delete,
                "role/delete",
                Level.ROOT,
            ),
            (
                "RoleGrantPermission",
                ma.AuthRoleGrantPermissionRequest,
                ma.HeaderOnly,
                v3_auth.role_grant_permission,
                "role/grant",
                Level.ROOT,
            ),
            (
                "RoleRevokePermission",
                ma.AuthRoleRevokePermissionRequest,
                ma.HeaderOnly,
                v3_auth.role_revoke_permission,
                "role/revoke",
                Level.ROOT,
            ),
        )
    ),
)
UNARY_BY_PATH: Final = {method.path: method for method in UNARY}
_PREFIXES: Final = ("/v3", "/v3beta", "/v3alpha")
_OTHER_PATHS: Final = {
    "/kv/lease/revoke": "/lease/revoke",
    "/kv/lease/timetolive": "/lease/timetolive",
    "/kv/lease/leases": "/lease/leases",
}
"""Of etcd 3.1, still served by 3.4."""
_GATEWAY: Final = {method.gateway: method for method in UNARY if method.gateway}
_GATEWAY.update({path: _GATEWAY[other] for path, other in _OTHER_PATHS.items()})
UNARY_BY_GATEWAY: Final = {
    f"{prefix}{path}": method for path, method in _GATEWAY.items() for prefix in _PREFIXES
}
WATCH_PATH: Final = b"/etcdserverpb.Watch/Watch"
SNAPSHOT_PATH: Final = _MAINTENANCE + b"Snapshot"
RANGE_STREAM_PATH: Final = _KV + b"RangeStream"
OBSERVE_PATH: Final = _ELECTION + b"Observe"
OBSERVE_GATEWAY: Final = frozenset(f"{p}/election/observe" for p in _PREFIXES)
KEEP_ALIVE_PATH: Final = _LEASE + b"LeaseKeepAlive"
KEEP_ALIVE_GATEWAY: Final = frozenset(f"{p}/lease/keepalive" for p in _PREFIXES)
WATCH_GATEWAY: Final = frozenset(f"{p}/watch" for p in ("/v3", "/v3beta", "/v3alpha"))
SNAPSHOT_GATEWAY: Final = frozenset(
    f"{p}/maintenance/snapshot" for p in ("/v3", "/v3beta", "/v3alpha")
)


STREAMED: Final = {
    WATCH_PATH: "bidi_stream",
    KEEP_ALIVE_PATH: "bidi_stream",
    SNAPSHOT_PATH: "server_stream",
    RANGE_STREAM_PATH: "server_stream",
    OBSERVE_PATH: "server_stream",
}
"""Streamed methods, with their kind as metrics name it."""


def new_method_counters() -> dict[bytes, MethodCounter]:
    """A counter for every method that is served, by path."""
    counters = {path: MethodCounter(path, "unary") for path in UNARY_BY_PATH}
    counters.update({path: MethodCounter(path, kind) for path, kind in STREAMED.items()})
    return counters
