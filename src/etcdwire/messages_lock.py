"""etcd's messages of the Lock and Election services (``v3lockpb``, ``v3electionpb``)."""

from __future__ import annotations

from dataclasses import dataclass

from etcdwire.messages import KeyValue, ResponseHeader
from etcdwire.protobuf import Message, declare


@dataclass(slots=True)
class LockRequest(Message):
    """Wait for a lock; without a lease the server grants one of a minute."""

    name: bytes = b""
    lease: int = 0


@dataclass(slots=True)
class LockResponse(Message):
    """The key whose existence is the lock."""

    header: ResponseHeader | None = None
    key: bytes = b""


@dataclass(slots=True)
class UnlockRequest(Message):
    """Let go."""

    key: bytes = b""


@dataclass(slots=True)
class UnlockResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class LeaderKey(Message):
    """What an elected leader has: its key, and the revision that made it."""

    name: bytes = b""
    key: bytes = b""
    rev: int = 0
    lease: int = 0


@dataclass(slots=True)
class CampaignRequest(Message):
    """Wait until elected."""

    name: bytes = b""
    lease: int = 0
    value: bytes = b""


@dataclass(slots=True)
class CampaignResponse(Message):
    """Elected."""

    header: ResponseHeader | None = None
    leader: LeaderKey | None = None


@dataclass(slots=True)
class ProclaimRequest(Message):
    """Tell another value as leader."""

    leader: LeaderKey | None = None
    value: bytes = b""


@dataclass(slots=True)
class ProclaimResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class LeaderRequest(Message):
    """Who leads?"""

    name: bytes = b""


@dataclass(slots=True)
class LeaderResponse(Message):
    """The leader's key and value."""

    header: ResponseHeader | None = None
    kv: KeyValue | None = None


@dataclass(slots=True)
class ResignRequest(Message):
    """Give leadership up."""

    leader: LeaderKey | None = None


@dataclass(slots=True)
class ResignResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


declare(LockRequest, "1 name bytes\n2 lease int64")
declare(LockResponse, "1 header ResponseHeader\n2 key bytes")
declare(UnlockRequest, "1 key bytes")
declare(UnlockResponse, "1 header ResponseHeader")
declare(LeaderKey, "1 name bytes\n2 key bytes\n3 rev int64\n4 lease int64")
declare(CampaignRequest, "1 name bytes\n2 lease int64\n3 value bytes")
declare(CampaignResponse, "1 header ResponseHeader\n2 leader LeaderKey")
declare(ProclaimRequest, "1 leader LeaderKey\n2 value bytes")
declare(ProclaimResponse, "1 header ResponseHeader")
declare(LeaderRequest, "1 name bytes")
declare(LeaderResponse, "1 header ResponseHeader\n2 kv KeyValue")
declare(ResignRequest, "1 leader LeaderKey")
declare(ResignResponse, "1 header ResponseHeader")
