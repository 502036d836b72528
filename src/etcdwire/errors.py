"""The one table of etcd's errors: gRPC code and text as v3 clients see them.

Clients compare these texts (etcd's own Go client maps them back to error values), so they are
part of the wire format. Source: the texts of etcd 3.4's ``rpctypes``; each was seen on the wire.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """gRPC status codes (https://grpc.io/docs/guides/status-codes/)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 408,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 412,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}
"""What the JSON gateway of etcd 3.4 answers for each code."""


class ApiError(Exception):
    """An answer that is an error: everything a client needs, nothing else."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RequestError(ApiError):
    """The caller's fault; deterministic, so it may be the result of an applied entry."""


class UnavailableError(ApiError):
    """Not now: no leader, overload, time-out. Never raised while applying an entry."""


def _bad(message: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, f"etcdserver: {message}")


EMPTY_KEY = _bad("key is not provided")
VALUE_PROVIDED = _bad("value is provided")
LEASE_PROVIDED = _bad("lease is provided")
KEY_NOT_FOUND = _bad("key not found")
TOO_MANY_OPS = _bad("too many operations in txn request")
DUPLICATE_KEY = _bad("duplicate key given in txn request")
INVALID_SORT_OPTION = _bad("invalid sort option")
COMPACTED = RequestError(
    Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"
)
FUTURE_REVISION = RequestError(
    Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"
)
NO_SPACE = RequestError(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
LEASE_NOT_FOUND = RequestError(Code.NOT_FOUND, "etcdserver: requested lease not found")
LEASE_EXISTS = RequestError(Code.FAILED_PRECONDITION, "etcdserver: lease already exists")
LEASE_TTL_TOO_LARGE = RequestError(Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")
REQUEST_TOO_LARGE = _bad("request is too large")
TOO_MANY_REQUESTS = UnavailableError(Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
MEMBER_EXISTS = RequestError(Code.FAILED_PRECONDITION, "etcdserver: member ID already exist")
PEER_URL_EXISTS = RequestError(Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")
MEMBER_NOT_ENOUGH_STARTED = RequestError(
    Code.FAILED_PRECONDITION,
    "etcdserver: re-configuration failed due to not enough started members",
)
BAD_MEMBER_URLS = _bad("given member URLs are invalid")
MEMBER_NOT_FOUND = RequestError(Code.NOT_FOUND, "etcdserver: member not found")
MEMBER_NOT_LEARNER = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"
)
LEARNER_NOT_READY = RequestError(
    Code.FAILED_PRECONDITION,
    "etcdserver: can only promote a learner member which is in sync with leader",
)
TOO_MANY_LEARNERS = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster"
)
UNHEALTHY_CLUSTER = UnavailableError(Code.UNAVAILABLE, "etcdserver: unhealthy cluster")
NO_LEADER = UnavailableError(Code.UNAVAILABLE, "etcdserver: no leader")
NOT_LEADER = RequestError(Code.FAILED_PRECONDITION, "etcdserver: not leader")
LEADER_CHANGED = UnavailableError(Code.UNAVAILABLE, "etcdserver: leader changed")
NOT_CAPABLE = UnavailableError(Code.UNAVAILABLE, "etcdserver: not capable")
STOPPED = UnavailableError(Code.UNAVAILABLE, "etcdserver: server stopped")
TIMEOUT = UnavailableError(Code.UNAVAILABLE, "etcdserver: request timed out")
TIMEOUT_LEADER_TRANSFER = UnavailableError(
    Code.UNAVAILABLE, "etcdserver: request timed out, leader transfer took too long"
)
BAD_LEADER_TRANSFEREE = RequestError(Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
NOT_SUPPORTED_FOR_LEARNER = RequestError(
    Code.UNAVAILABLE, "etcdserver: rpc not supported for learner"
)
CORRUPT = RequestError(Code.DATA_LOSS, "etcdserver: corrupt cluster")

PERMISSION_NOT_GIVEN = _bad("permission not given")
USER_EMPTY = _bad("user name is empty")
ROLE_EMPTY = _bad("role name is empty")
AUTH_FAILED = _bad("authentication failed, invalid user ID or password")
INVALID_AUTH_MANAGEMENT = _bad("invalid auth management")
AUTH_OLD_REVISION = _bad("revision of auth store is old")
ROOT_USER_MISSING = RequestError(Code.FAILED_PRECONDITION, "etcdserver: root user does not exist")
ROOT_ROLE_MISSING = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: root user does not have root role"
)
USER_EXISTS = RequestError(Code.FAILED_PRECONDITION, "etcdserver: user name already exists")
USER_NOT_FOUND = RequestError(Code.FAILED_PRECONDITION, "etcdserver: user name not found")
ROLE_EXISTS = RequestError(Code.FAILED_PRECONDITION, "etcdserver: role name already exists")
ROLE_NOT_FOUND = RequestError(Code.FAILED_PRECONDITION, "etcdserver: role name not found")
ROLE_NOT_GRANTED = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: role is not granted to the user"
)
PERMISSION_NOT_GRANTED = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: permission is not granted to the role"
)
AUTH_NOT_ENABLED = RequestError(
    Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"
)
PERMISSION_DENIED = RequestError(Code.PERMISSION_DENIED, "etcdserver: permission denied")
INVALID_AUTH_TOKEN = RequestError(Code.UNAUTHENTICATED, "etcdserver: invalid auth token")
NO_PASSWORD_USER = RequestError(
    Code.UNKNOWN,
    "auth: authentication failed, password was given for no password user",
)
"""etcd forgets to translate this one; clients see it so."""
