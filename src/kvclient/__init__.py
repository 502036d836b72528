"""A client library for etcd's v3 API: pure Python, no dependency but ``etcdwire``."""

from kvclient.client import Client, Member, MemberStatus, prefix_end
from kvclient.connection import ClientTLS
from kvclient.errors import KvClientError, RequestError, Unavailable

__all__ = [
    "Client",
    "ClientTLS",
    "KvClientError",
    "Member",
    "MemberStatus",
    "RequestError",
    "Unavailable",
    "prefix_end",
]
