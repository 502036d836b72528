"""etcd's v3 messages as tables: ``etcdserverpb`` and ``mvccpb`` of etcd 3.4.

Field numbers and names are etcd's (its API reference); the JSON gateway uses the same names.
Enum values travel as plain integers, because an unknown one must be refused, not lost.
"""

# ruff: noqa: N815  (field names are the wire's)

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from etcdwire.protobuf import ENUMS, Message, declare


class EventType(enum.IntEnum):
    """Kinds of events."""

    PUT = 0
    DELETE = 1


class SortOrder(enum.IntEnum):
    """Whether and how a range is sorted."""

    NONE = 0
    ASCEND = 1
    DESCEND = 2


class SortTarget(enum.IntEnum):
    """By what a range is sorted."""

    KEY = 0
    VERSION = 1
    CREATE = 2
    MOD = 3
    VALUE = 4


class CompareResult(enum.IntEnum):
    """The relation that a guard demands."""

    EQUAL = 0
    GREATER = 1
    LESS = 2
    NOT_EQUAL = 3


class CompareTarget(enum.IntEnum):
    """What a guard looks at."""

    VERSION = 0
    CREATE = 1
    MOD = 2
    VALUE = 3
    LEASE = 4


class WatchFilter(enum.IntEnum):
    """Events that a watcher does not want."""

    NOPUT = 0
    NODELETE = 1


class AlarmAction(enum.IntEnum):
    """What to do with alarms."""

    GET = 0
    ACTIVATE = 1
    DEACTIVATE = 2


class AlarmType(enum.IntEnum):
    """Kinds of alarms."""

    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


ENUMS.update(
    {
        cls.__name__: cls
        for cls in (
            EventType,
            SortOrder,
            SortTarget,
            CompareResult,
            CompareTarget,
            WatchFilter,
            AlarmAction,
            AlarmType,
        )
    },
)


@dataclass(slots=True)
class KeyValue(Message):
    """The row of one revision of one key (``mvccpb``)."""

    key: bytes = b""
    create_revision: int = 0
    mod_revision: int = 0
    version: int = 0
    value: bytes = b""
    lease: int = 0


@dataclass(slots=True)
class Event(Message):
    """One change as watchers see it."""

    type: int = 0
    kv: KeyValue | None = None
    prev_kv: KeyValue | None = None


@dataclass(slots=True)
class ResponseHeader(Message):
    """In front of every answer."""

    cluster_id: int = 0
    member_id: int = 0
    revision: int = 0
    raft_term: int = 0


@dataclass(slots=True)
class RangeRequest(Message):
    """Keys in ``[key, range_end)``; see etcd's API reference for the special ends."""

    key: bytes = b""
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    sort_order: int = 0
    sort_target: int = 0
    serializable: bool = False
    keys_only: bool = False
    count_only: bool = False
    min_mod_revision: int = 0
    max_mod_revision: int = 0
    min_create_revision: int = 0
    max_create_revision: int = 0


@dataclass(slots=True)
class RangeResponse(Message):
    """Rows, whether there are more, and how many there are in all."""

    header: ResponseHeader | None = None
    kvs: list[KeyValue] = field(default_factory=list)
    more: bool = False
    count: int = 0


@dataclass(slots=True)
class PutRequest(Message):
    """Write one key."""

    key: bytes = b""
    value: bytes = b""
    lease: int = 0
    prev_kv: bool = False
    ignore_value: bool = False
    ignore_lease: bool = False


@dataclass(slots=True)
class PutResponse(Message):
    """The row before, when asked for."""

    header: ResponseHeader | None = None
    prev_kv: KeyValue | None = None


@dataclass(slots=True)
class DeleteRangeRequest(Message):
    """Delete ``[key, range_end)``."""

    key: bytes = b""
    range_end: bytes = b""
    prev_kv: bool = False


@dataclass(slots=True)
class DeleteRangeResponse(Message):
    """How many were deleted, and the rows before when asked for."""

    header: ResponseHeader | None = None
    deleted: int = 0
    prev_kvs: list[KeyValue] = field(default_factory=list)


@dataclass(slots=True)
class RequestOp(Message):
    """One operation inside a transaction."""

    request_range: RangeRequest | None = None
    request_put: PutRequest | None = None
    request_delete_range: DeleteRangeRequest | None = None
    request_txn: TxnRequest | None = None


@dataclass(slots=True)
class ResponseOp(Message):
    """The answer to one operation inside a transaction."""

    response_range: RangeResponse | None = None
    response_put: PutResponse | None = None
    response_delete_range: DeleteRangeResponse | None = None
    response_txn: TxnResponse | None = None


@dataclass(slots=True)
class Compare(Message):
    """One guard of a transaction; exactly one target field is set."""

    result: int = 0
    target: int = 0
    key: bytes = b""
    version: int | None = None
    create_revision: int | None = None
    mod_revision: int | None = None
    value: bytes | None = None
    lease: int | None = None
    range_end: bytes = b""


@dataclass(slots=True)
class TxnRequest(Message):
    """If all guards hold then ``success`` else ``failure``."""

    compare: list[Compare] = field(default_factory=list)
    success: list[RequestOp] = field(default_factory=list)
    failure: list[RequestOp] = field(default_factory=list)


@dataclass(slots=True)
class TxnResponse(Message):
    """Which branch ran, and its answers."""

    header: ResponseHeader | None = None
    succeeded: bool = False
    responses: list[ResponseOp] = field(default_factory=list)


@dataclass(slots=True)
class CompactionRequest(Message):
    """Forget what is older than this revision."""

    revision: int = 0
    physical: bool = False


@dataclass(slots=True)
class CompactionResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class HashRequest(Message):
    """Ask for the hash of the whole backend."""


@dataclass(slots=True)
class HashResponse(Message):
    """The hash of the whole backend."""

    header: ResponseHeader | None = None
    hash: int = 0


@dataclass(slots=True)
class HashKVRequest(Message):
    """Ask for the hash of all rows up to a revision."""

    revision: int = 0


@dataclass(slots=True)
class HashKVResponse(Message):
    """That hash, and the compaction it was made after."""

    header: ResponseHeader | None = None
    hash: int = 0
    compact_revision: int = 0


@dataclass(slots=True)
class SnapshotRequest(Message):
    """Ask for the whole store."""


@dataclass(slots=True)
class SnapshotResponse(Message):
    """One piece of the store."""

    header: ResponseHeader | None = None
    remaining_bytes: int = 0
    blob: bytes = b""


@dataclass(slots=True)
class WatchCreateRequest(Message):
    """Open one watch on a stream."""

    key: bytes = b""
    range_end: bytes = b""
    start_revision: int = 0
    progress_notify: bool = False
    filters: list[int] = field(default_factory=list)
    prev_kv: bool = False
    watch_id: int = 0
    fragment: bool = False


@dataclass(slots=True)
class WatchCancelRequest(Message):
    """Close one watch."""

    watch_id: int = 0


@dataclass(slots=True)
class WatchProgressRequest(Message):
    """Ask how far the stream is."""


@dataclass(slots=True)
class WatchRequest(Message):
    """One of the three."""

    create_request: WatchCreateRequest | None = None
    cancel_request: WatchCancelRequest | None = None
    progress_request: WatchProgressRequest | None = None


@dataclass(slots=True)
class WatchResponse(Message):
    """Events of one watch, or news about it."""

    header: ResponseHeader | None = None
    watch_id: int = 0
    created: bool = False
    canceled: bool = False
    compact_revision: int = 0
    cancel_reason: str = ""
    fragment: bool = False
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class LeaseGrantRequest(Message):
    """Make a lease; id 0 lets the server choose."""

    TTL: int = 0
    ID: int = 0


@dataclass(slots=True)
class LeaseGrantResponse(Message):
    """The lease made."""

    header: ResponseHeader | None = None
    ID: int = 0
    TTL: int = 0
    error: str = ""


@dataclass(slots=True)
class LeaseRevokeRequest(Message):
    """End a lease and delete its keys."""

    ID: int = 0


@dataclass(slots=True)
class LeaseRevokeResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class LeaseKeepAliveRequest(Message):
    """Renew a lease."""

    ID: int = 0


@dataclass(slots=True)
class LeaseKeepAliveResponse(Message):
    """Renewed for so long; 0 when it is gone."""

    header: ResponseHeader | None = None
    ID: int = 0
    TTL: int = 0


@dataclass(slots=True)
class LeaseTimeToLiveRequest(Message):
    """Ask how long a lease has left."""

    ID: int = 0
    keys: bool = False


@dataclass(slots=True)
class LeaseTimeToLiveResponse(Message):
    """How long, and which keys."""

    header: ResponseHeader | None = None
    ID: int = 0
    TTL: int = 0
    grantedTTL: int = 0
    keys: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class LeaseLeasesRequest(Message):
    """List all leases."""


@dataclass(slots=True)
class LeaseStatus(Message):
    """One lease of that list."""

    ID: int = 0


@dataclass(slots=True)
class LeaseLeasesResponse(Message):
    """All leases."""

    header: ResponseHeader | None = None
    leases: list[LeaseStatus] = field(default_factory=list)


@dataclass(slots=True)
class Member(Message):
    """One member as clients see it."""

    ID: int = 0
    name: str = ""
    peerURLs: list[str] = field(default_factory=list)
    clientURLs: list[str] = field(default_factory=list)
    isLearner: bool = False
    unreachable: str = ""
    """Not etcd's, and unknown to its clients: why a new voter cannot be reached."""


@dataclass(slots=True)
class MemberAddRequest(Message):
    """Add a member by its peer URLs."""

    peerURLs: list[str] = field(default_factory=list)
    isLearner: bool = False


@dataclass(slots=True)
class MemberAddResponse(Message):
    """The member added, and all."""

    header: ResponseHeader | None = None
    member: Member | None = None
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class MemberRemoveRequest(Message):
    """Remove a member."""

    ID: int = 0


@dataclass(slots=True)
class MemberRemoveResponse(Message):
    """Those that remain."""

    header: ResponseHeader | None = None
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class MemberUpdateRequest(Message):
    """Replace a member's peer URLs."""

    ID: int = 0
    peerURLs: list[str] = field(default_factory=list)


@dataclass(slots=True)
class MemberUpdateResponse(Message):
    """All members."""

    header: ResponseHeader | None = None
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class MemberListRequest(Message):
    """List all members; later clients may ask for a linearizable answer."""

    linearizable: bool = False


@dataclass(slots=True)
class MemberListResponse(Message):
    """All members."""

    header: ResponseHeader | None = None
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class MemberPromoteRequest(Message):
    """Make a learner a voter."""

    ID: int = 0


@dataclass(slots=True)
class MemberPromoteResponse(Message):
    """All members."""

    header: ResponseHeader | None = None
    members: list[Member] = field(default_factory=list)


@dataclass(slots=True)
class DefragmentRequest(Message):
    """Give free space back to the file system."""


@dataclass(slots=True)
class DefragmentResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class MoveLeaderRequest(Message):
    """Hand leadership to this member."""

    targetID: int = 0


@dataclass(slots=True)
class MoveLeaderResponse(Message):
    """Done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class AlarmRequest(Message):
    """Get, activate or deactivate alarms."""

    action: int = 0
    memberID: int = 0
    alarm: int = 0


@dataclass(slots=True)
class AlarmMember(Message):
    """One alarm of one member."""

    memberID: int = 0
    alarm: int = 0


@dataclass(slots=True)
class AlarmResponse(Message):
    """The alarms concerned."""

    header: ResponseHeader | None = None
    alarms: list[AlarmMember] = field(default_factory=list)


@dataclass(slots=True)
class StatusRequest(Message):
    """Ask one member how it is."""


@dataclass(slots=True)
class StatusResponse(Message):
    """How one member is."""

    header: ResponseHeader | None = None
    version: str = ""
    dbSize: int = 0
    leader: int = 0
    raftIndex: int = 0
    raftTerm: int = 0
    raftAppliedIndex: int = 0
    errors: list[str] = field(default_factory=list)
    dbSizeInUse: int = 0
    isLearner: bool = False


declare(
    KeyValue,
    """
    1 key bytes
    2 create_revision int64
    3 mod_revision int64
    4 version int64
    5 value bytes
    6 lease int64
    """,
)
declare(
    Event,
    """
    1 type EventType
    2 kv KeyValue
    3 prev_kv KeyValue
    """,
)
declare(
    ResponseHeader,
    """
    1 cluster_id uint64
    2 member_id uint64
    3 revision int64
    4 raft_term uint64
    """,
)
declare(
    RangeRequest,
    """
    1 key bytes
    2 range_end bytes
    3 limit int64
    4 revision int64
    5 sort_order SortOrder
    6 sort_target SortTarget
    7 serializable bool
    8 keys_only bool
    9 count_only bool
    10 min_mod_revision int64
    11 max_mod_revision int64
    12 min_create_revision int64
    13 max_create_revision int64
    """,
)
declare(
    RangeResponse,
    """
    1 header ResponseHeader
    2 kvs repeated KeyValue
    3 more bool
    4 count int64
    """,
)
declare(
    PutRequest,
    """
    1 key bytes
    2 value bytes
    3 lease int64
    4 prev_kv bool
    5 ignore_value bool
    6 ignore_lease bool
    """,
)
declare(
    PutResponse,
    """
    1 header ResponseHeader
    2 prev_kv KeyValue
    """,
)
declare(
    DeleteRangeRequest,
    """
    1 key bytes
    2 range_end bytes
    3 prev_kv bool
    """,
)
declare(
    DeleteRangeResponse,
    """
    1 header ResponseHeader
    2 deleted int64
    3 prev_kvs repeated KeyValue
    """,
)
declare(
    RequestOp,
    """
    1 request_range oneof RangeRequest
    2 request_put oneof PutRequest
    3 request_delete_range oneof DeleteRangeRequest
    4 request_txn oneof TxnRequest
    """,
)
declare(
    ResponseOp,
    """
    1 response_range oneof RangeResponse
    2 response_put oneof PutResponse
    3 response_delete_range oneof DeleteRangeResponse
    4 response_txn oneof TxnResponse
    """,
)
declare(
    Compare,
    """
    1 result CompareResult
    2 target CompareTarget
    3 key bytes
    4 version oneof int64
    5 create_revision oneof int64
    6 mod_revision oneof int64
    7 value oneof bytes
    8 lease oneof int64
    64 range_end bytes
    """,
)
declare(
    TxnRequest,
    """
    1 compare repeated Compare
    2 success repeated RequestOp
    3 failure repeated RequestOp
    """,
)
declare(
    TxnResponse,
    """
    1 header ResponseHeader
    2 succeeded bool
    3 responses repeated ResponseOp
    """,
)
declare(
    CompactionRequest,
    """
    1 revision int64
    2 physical bool
    """,
)
declare(
    CompactionResponse,
    """
    1 header ResponseHeader
    """,
)
declare(HashRequest, "")
declare(
    HashResponse,
    """
    1 header ResponseHeader
    2 hash uint32
    """,
)
declare(
    HashKVRequest,
    """
    1 revision int64
    """,
)
declare(
    HashKVResponse,
    """
    1 header ResponseHeader
    2 hash uint32
    3 compact_revision int64
    """,
)
declare(SnapshotRequest, "")
declare(
    SnapshotResponse,
    """
    1 header ResponseHeader
    2 remaining_bytes uint64
    3 blob bytes
    """,
)
declare(
    WatchCreateRequest,
    """
    1 key bytes
    2 range_end bytes
    3 start_revision int64
    4 progress_notify bool
    5 filters repeated WatchFilter
    6 prev_kv bool
    7 watch_id int64
    8 fragment bool
    """,
)
declare(
    WatchCancelRequest,
    """
    1 watch_id int64
    """,
)
declare(WatchProgressRequest, "")
declare(
    WatchRequest,
    """
    1 create_request oneof WatchCreateRequest
    2 cancel_request oneof WatchCancelRequest
    3 progress_request oneof WatchProgressRequest
    """,
)
declare(
    WatchResponse,
    """
    1 header ResponseHeader
    2 watch_id int64
    3 created bool
    4 canceled bool
    5 compact_revision int64
    6 cancel_reason string
    7 fragment bool
    11 events repeated Event
    """,
)
declare(
    LeaseGrantRequest,
    """
    1 TTL int64
    2 ID int64
    """,
)
declare(
    LeaseGrantResponse,
    """
    1 header ResponseHeader
    2 ID int64
    3 TTL int64
    4 error string
    """,
)
declare(
    LeaseRevokeRequest,
    """
    1 ID int64
    """,
)
declare(
    LeaseRevokeResponse,
    """
    1 header ResponseHeader
    """,
)
declare(
    LeaseKeepAliveRequest,
    """
    1 ID int64
    """,
)
declare(
    LeaseKeepAliveResponse,
    """
    1 header ResponseHeader
    2 ID int64
    3 TTL int64
    """,
)
declare(
    LeaseTimeToLiveRequest,
    """
    1 ID int64
    2 keys bool
    """,
)
declare(
    LeaseTimeToLiveResponse,
    """
    1 header ResponseHeader
    2 ID int64
    3 TTL int64
    4 grantedTTL int64
    5 keys repeated bytes
    """,
)
declare(LeaseLeasesRequest, "")
declare(
    LeaseStatus,
    """
    1 ID int64
    """,
)
declare(
    LeaseLeasesResponse,
    """
    1 header ResponseHeader
    2 leases repeated LeaseStatus
    """,
)
declare(
    Member,
    """
    1 ID uint64
    2 name string
    3 peerURLs repeated string
    4 clientURLs repeated string
    5 isLearner bool
    1001 unreachable string
    """,
)
declare(
    MemberAddRequest,
    """
    1 peerURLs repeated string
    2 isLearner bool
    """,
)
declare(
    MemberAddResponse,
    """
    1 header ResponseHeader
    2 member Member
    3 members repeated Member
    """,
)
declare(
    MemberRemoveRequest,
    """
    1 ID uint64
    """,
)
declare(
    MemberRemoveResponse,
    """
    1 header ResponseHeader
    2 members repeated Member
    """,
)
declare(
    MemberUpdateRequest,
    """
    1 ID uint64
    2 peerURLs repeated string
    """,
)
declare(
    MemberUpdateResponse,
    """
    1 header ResponseHeader
    2 members repeated Member
    """,
)
declare(
    MemberListRequest,
    """
    1 linearizable bool
    """,
)
declare(
    MemberListResponse,
    """
    1 header ResponseHeader
    2 members repeated Member
    """,
)
declare(
    MemberPromoteRequest,
    """
    1 ID uint64
    """,
)
declare(
    MemberPromoteResponse,
    """
    1 header ResponseHeader
    2 members repeated Member
    """,
)
declare(DefragmentRequest, "")
declare(
    DefragmentResponse,
    """
    1 header ResponseHeader
    """,
)
declare(
    MoveLeaderRequest,
    """
    1 targetID uint64
    """,
)
declare(
    MoveLeaderResponse,
    """
    1 header ResponseHeader
    """,
)
declare(
    AlarmRequest,
    """
    1 action AlarmAction
    2 memberID uint64
    3 alarm AlarmType
    """,
)
declare(
    AlarmMember,
    """
    1 memberID uint64
    2 alarm AlarmType
    """,
)
declare(
    AlarmResponse,
    """
    1 header ResponseHeader
    2 alarms repeated AlarmMember
    """,
)
declare(StatusRequest, "")
declare(
    StatusResponse,
    """
    1 header ResponseHeader
    2 version string
    3 dbSize int64
    4 leader uint64
    5 raftIndex uint64
    6 raftTerm uint64
    7 raftAppliedIndex uint64
    8 errors repeated string
    9 dbSizeInUse int64
    10 isLearner bool
    """,
)
