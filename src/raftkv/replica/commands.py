"""State-machine commands as bytes: what stands in a batch of the log.

    kind u8 | payload

A v3 command's payload is the client's own request message, unchanged: what was validated is what
is applied, on every member, and nothing is encoded twice. A v2 command carries the request's
fields and the proposer's clock, because applying may not look at a clock.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


class CommandKind(enum.IntEnum):
    """The first byte of a command. Values are part of the log's format."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    V2 = 4
    V2_EXPIRE = 5
    COMPACT = 6
    AUTH = 7
    """A change of users, roles, or of whether auth is on; see ``auth.state.AuthOp``."""
    AUTHENTICATE = 8
    AS_USER = 9
    """Another command, on behalf of a user whose rights were checked at an auth revision."""
    ALARM = 10
    MEMBER_ALARM = 11
    """As ``ALARM``, raised or ended by a member itself."""
    MEMBER_COMPACT = 12
    """As ``COMPACT``, by the leader itself."""
    LEASE_GRANT = 13
    LEASE_REVOKE = 14
    LEASE_EXPIRE = 15
    """By a leader, of what its clock says; void in another term."""
    LEASE_CHECKPOINT = 16
    """By a leader: how much is left of leases; void in another term."""
    V2_AUTH = 17
    """A change of v2's own users and roles; see ``auth.v2_state.V2AuthOp``."""
    V2_CHECKED = 18
    """A v2 command whose sender's rights were checked at a revision of v2's users."""
    SCRUB = 19
    """By a leader: read all rows again and compare. From level 2 on."""


CLIENT_KINDS: Final = frozenset(
    {
        CommandKind.PUT,
        CommandKind.DELETE_RANGE,
        CommandKind.TXN,
        CommandKind.V2,
        CommandKind.COMPACT,
        CommandKind.AUTH,
        CommandKind.ALARM,
        CommandKind.LEASE_GRANT,
        CommandKind.LEASE_REVOKE,
        CommandKind.V2_AUTH,
    },
)
"""What clients ask for: with auth on it is only applied inside ``AS_USER``."""


class MethodV2(enum.IntEnum):
    """What a v2 command does."""

    SET = 0
    CREATE = 1
    CREATE_UNIQUE = 2
    UPDATE = 3
    COMPARE_AND_SWAP = 4
    DELETE = 5
    COMPARE_AND_DELETE = 6


@dataclass(frozen=True, slots=True)
class CommandV2:
    """One v2 write."""

    method: MethodV2
    path: str
    value: str = ""
    previous_value: str = ""
    previous_index: int = 0
    expires_ms: int = 0
    now_ms: int = 0
    is_dir: bool = False
    recursive: bool = False
    refresh: bool = False


_V2: Final = struct.Struct(">BBBQQQIII")
_NUMBER: Final = struct.Struct(">BQ")
"""Kind and one number."""
_METHODS: Final = {int(method): method for method in MethodV2}


def encode_v2(command: CommandV2) -> bytes:
    """Encode one v2 write."""
    path = command.path.encode("utf-8", "surrogateescape")
    value = command.value.encode("utf-8", "surrogateescape")
    previous = command.previous_value.encode("utf-8", "surrogateescape")
    flags = command.is_dir | command.recursive << 1 | command.refresh << 2
    return b"".join(
        (
            _V2.pack(
                CommandKind.V2,
                command.method,
                flags,
                command.previous_index,
                command.expires_ms,
                command.now_ms,
                len(path),
                len(value),
                len(previous),
            ),
            path,
            value,
            previous,
        ),
    )


def decode_v2(data: bytes) -> CommandV2:
    """Decode what ``encode_v2`` gave."""
    (_, method, flags, previous_index, expires_ms, now_ms, path_bytes, value_bytes, _) = (
        _V2.unpack_from(data)
    )
    path_end = _V2.size + path_bytes
    value_end = path_end + value_bytes
    return CommandV2(
        _METHODS[method],
        data[_V2.size : path_end].decode("utf-8", "surrogateescape"),
        data[path_end:value_end].decode("utf-8", "surrogateescape"),
        data[value_end:].decode("utf-8", "surrogateescape"),
        previous_index,
        expires_ms,
        now_ms,
        bool(flags & 1),
        bool(flags & 2),
        bool(flags & 4),
    )


def encode_compact(revision: int, kind: CommandKind = CommandKind.COMPACT) -> bytes:
    """Encode the wish to forget what is older than a revision."""
    return _NUMBER.pack(kind, revision)


def decode_compact(data: bytes) -> int:
    """The revision."""
    revision: int = _NUMBER.unpack(data)[1]
    return revision


def encode_expire(now_ms: int) -> bytes:
    """Encode the leader's word on what time it is, for v2 TTLs."""
    return _NUMBER.pack(CommandKind.V2_EXPIRE, now_ms)


def decode_expire(data: bytes) -> int:
    """The time in milliseconds."""
    now_ms: int = _NUMBER.unpack(data)[1]
    return now_ms


_AS_USER: Final = struct.Struct(">BQI")
"""Kind, auth revision, length of the name; name and command follow."""
_LOGIN: Final = struct.Struct(">BQII")
"""Kind, the user's credential revision, lengths; name and token prefix follow."""


def encode_as_user(name: str, auth_revision: int, command: bytes) -> bytes:
    """Wrap a command: apply it only if rights have not changed since they were checked."""
    user = name.encode("utf-8", "surrogateescape")
    return _AS_USER.pack(CommandKind.AS_USER, auth_revision, len(user)) + user + command


def decode_as_user(data: bytes) -> tuple[str, int, bytes]:
    """(user, auth revision, command)."""
    _, revision, size = _AS_USER.unpack_from(data)
    end = _AS_USER.size + size
    return data[_AS_USER.size : end].decode("utf-8", "surrogateescape"), revision, data[end:]


def encode_auth(op: int, request: bytes) -> bytes:
    """One change of the auth state: operation and the request's message."""
    return bytes((CommandKind.AUTH, op)) + request


def encode_v2_auth(op: int, request: bytes) -> bytes:
    """One change of v2's users and roles: operation and JSON."""
    return bytes((CommandKind.V2_AUTH, op)) + request


def encode_v2_checked(revision: int, command: bytes) -> bytes:
    """Wrap a v2 command: apply it only if v2's users are still those of this revision."""
    return _NUMBER.pack(CommandKind.V2_CHECKED, revision) + command


def decode_v2_checked(data: bytes) -> tuple[int, bytes]:
    """(revision, command)."""
    return _NUMBER.unpack_from(data)[1], data[_NUMBER.size :]


def encode_login(name: str, credential_revision: int, token_prefix: str) -> bytes:
    """A login whose password was checked against the hash of that revision."""
    user, prefix = name.encode("utf-8", "surrogateescape"), token_prefix.encode()
    head = _LOGIN.pack(CommandKind.AUTHENTICATE, credential_revision, len(user), len(prefix))
    return head + user + prefix


def decode_login(data: bytes) -> tuple[str, int, str]:
    """(name, credential revision, token prefix)."""
    _, revision, name_size, _ = _LOGIN.unpack_from(data)
    middle = _LOGIN.size + name_size
    name = data[_LOGIN.size : middle].decode("utf-8", "surrogateescape")
    return name, revision, data[middle:].decode()


_ALARM: Final = struct.Struct(">BBQI")
"""Kind, whether it is raised, member, alarm."""


def encode_alarm(kind: CommandKind, member: int, alarm: int, *, is_raised: bool) -> bytes:
    """Raise or end an alarm of a member."""
    return _ALARM.pack(kind, is_raised, member, alarm)


def decode_alarm(data: bytes) -> tuple[bool, int, int]:
    """(whether it is raised, member, alarm)."""
    _, is_raised, member, alarm = _ALARM.unpack(data)
    return bool(is_raised), member, alarm


_GRANT: Final = struct.Struct(">Bqq")
"""Kind, lease, seconds."""
_REVOKE: Final = struct.Struct(">Bq")
_TERM: Final = struct.Struct(">BQ")
"""Kind and the term that the proposer led in; leases follow."""
_LEASE: Final = struct.Struct(">q")
_LEFT: Final = struct.Struct(">qq")


def encode_grant(lease_id: int, ttl_s: int) -> bytes:
    """Make a lease."""
    return _GRANT.pack(CommandKind.LEASE_GRANT, lease_id, ttl_s)


def decode_grant(data: bytes) -> tuple[int, int]:
    """(lease, seconds)."""
    _, lease_id, ttl_s = _GRANT.unpack(data)
    return lease_id, ttl_s


def encode_revoke(lease_id: int) -> bytes:
    """End a lease and delete its keys, because a client wants it."""
    return _REVOKE.pack(CommandKind.LEASE_REVOKE, lease_id)


def decode_revoke(data: bytes) -> int:
    """The lease."""
    lease_id: int = _REVOKE.unpack(data)[1]
    return lease_id


def encode_lease_expire(term: int, lease_ids: Sequence[int]) -> bytes:
    """End leases whose time is over, says the leader of this term."""
    head = _TERM.pack(CommandKind.LEASE_EXPIRE, term)
    return head + b"".join(_LEASE.pack(lease_id) for lease_id in lease_ids)


def decode_lease_expire(data: bytes) -> tuple[int, list[int]]:
    """(term, leases)."""
    _, term = _TERM.unpack_from(data)
    return term, [row[0] for row in _LEASE.iter_unpack(data[_TERM.size :])]


def encode_checkpoint(term: int, left: Sequence[tuple[int, int]]) -> bytes:
    """So many seconds are left of these leases, says the leader of this term."""
    head = _TERM.pack(CommandKind.LEASE_CHECKPOINT, term)
    return head + b"".join(_LEFT.pack(*pair) for pair in left)


def decode_checkpoint(data: bytes) -> tuple[int, list[tuple[int, int]]]:
    """(term, (lease, seconds) of each)."""
    _, term = _TERM.unpack_from(data)
    return term, [(row[0], row[1]) for row in _LEFT.iter_unpack(data[_TERM.size :])]
