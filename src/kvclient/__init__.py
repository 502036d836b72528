"""A client library for etcd's v3 API: pure Python, no dependency but ``etcdwire``."""

from etcdwire.key_ranges import prefix_end
from kvclient.auth_calls import AuthStatus, Permission
from kvclient.client import Client, Member, MemberStatus
from kvclient.connection import ClientTLS
from kvclient.errors import KvClientError, LoginError, RequestError, Unavailable
from kvclient.kept_lease import KeptLease
from kvclient.lease_calls import Lease, LeaseTime
from kvclient.locks import Election, Leader, Lock, LockLostError
from kvclient.maintenance_calls import Alarm, KeyValueHash
from kvclient.watches import CompactedError, Watch, WatchCanceledError

__all__ = [
    "Alarm",
    "AuthStatus",
    "Client",
    "ClientTLS",
    "CompactedError",
    "Election",
    "KeptLease",
    "KeyValueHash",
    "KvClientError",
    "Leader",
    "Lease",
    "LeaseTime",
    "Lock",
    "LockLostError",
    "LoginError",
    "Member",
    "MemberStatus",
    "Permission",
    "RequestError",
    "Unavailable",
    "Watch",
    "WatchCanceledError",
    "prefix_end",
]
