"""What etcd 3.4 keeps in which bucket, and how our rows become that.

| bucket | key | value |
| --- | --- | --- |
| ``key`` | main u64 ``_`` sub u64, ``t`` behind a deletion | mvccpb.KeyValue |
| ``meta`` | ``consistent_index`` | Raft index u64 |
| | ``scheduledCompactRev``, ``finishedCompactRev`` | main u64 ``_`` sub u64 |
| ``members`` | member id in hex | JSON |
| ``members_removed`` | member id in hex | ``removed`` |
| ``cluster`` | ``clusterVersion`` | text |
| ``lease`` | lease id i64 | leasepb.Lease |
| ``auth`` | ``authEnabled`` | one byte |
| | ``authRevision`` | u64 |
| ``authUsers``, ``authRoles`` | name | authpb.User, authpb.Role |
| ``raftkv`` | ``format``, ``v2_index``, ``revision`` | u64; ours |
| ``raftkv_v2`` | node id u64 | one node of the v2 tree; ours |
| ``raftkv_v2_auth`` | as in the backend | v2's own users and roles; ours |

All numbers are big-endian. etcd's deletions hold the key alone; ours also the revision.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from etcdwire import messages_auth as m
from etcdwire.hot import encode_tombstone
from etcdwire.protobuf import DecodeError, Message, declare, decode, encode
from raftkv.auth.state import AuthState
from raftkv.lease.lessor import TTL_MAX_S, Lessor
from raftkv.store.mvcc import SUB_BITS, key_of, main_revision
from raftkv.values import Membership

KEY: Final = b"key"
META: Final = b"meta"
MEMBERS: Final = b"members"
MEMBERS_REMOVED: Final = b"members_removed"
CLUSTER: Final = b"cluster"
OWN: Final = b"raftkv"
OWN_V2: Final = b"raftkv_v2"
OWN_V2_AUTH: Final = b"raftkv_v2_auth"

LEASE: Final = b"lease"
AUTH: Final = b"auth"
AUTH_USERS: Final = b"authUsers"
AUTH_ROLES: Final = b"authRoles"
AUTH_ENABLED: Final = b"authEnabled"
AUTH_REVISION: Final = b"authRevision"

CONSISTENT_INDEX: Final = b"consistent_index"
SCHEDULED_COMPACTION: Final = b"scheduledCompactRev"
FINISHED_COMPACTION: Final = b"finishedCompactRev"
CLUSTER_VERSION: Final = b"clusterVersion"
OWN_FORMAT: Final = b"format"
OWN_FORMAT_VERSION: Final = 1
OWN_REVISION: Final = b"revision"
OWN_V2_INDEX: Final = b"v2_index"

_REVISION: Final = struct.Struct(">QcQ")
_U64: Final = struct.Struct(">Q")
_TOMBSTONE: Final = b"t"
_SUB_MASK: Final = (1 << SUB_BITS) - 1
REVISION_BYTES: Final = _REVISION.size


@dataclass(slots=True)
class LeaseRow(Message):
    """``leasepb.Lease``: a remaining time of 0 means all of it."""

    ID: int = 0
    TTL: int = 0
    RemainingTTL: int = 0


declare(LeaseRow, "1 ID int64\n2 TTL int64\n3 RemainingTTL int64")


class ForeignRowError(ValueError):
    """A row that no etcd writes, or that we cannot hold; says which."""


def encode_revision(main: int, sub: int = 0) -> bytes:
    """A revision as a key."""
    return _REVISION.pack(main, b"_", sub)


def export_rows(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Our rows (row id u64, KeyValue) as those of etcd's bucket ``key``."""
    for raw, row in rows:
        row_id = int.from_bytes(raw, "big")
        key = _REVISION.pack(main_revision(row_id), b"_", row_id >> 1 & _SUB_MASK)
        if row_id & 1:
            yield key + _TOMBSTONE, _key_alone(row)
        else:
            yield key, row


def _key_alone(row: bytes) -> bytes:
    """The first field of a KeyValue, which is its key, and nothing else."""
    key = key_of(row)
    return row[: row.index(key, 2) + len(key)] if key else row


def import_row(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    """One row of etcd's bucket ``key`` as ours.

    Raises:
        ForeignRowError: no revision, or more changes in one revision than we can number.
    """
    is_deletion = len(key) == REVISION_BYTES + 1 and key.endswith(_TOMBSTONE)
    if len(key) != REVISION_BYTES and not is_deletion:
        raise ForeignRowError(f"{key.hex()} is no revision")
    main, separator, sub = _REVISION.unpack_from(key)
    if separator != b"_" or not 0 < main < 1 << 42:
        raise ForeignRowError(f"{key.hex()} is no revision")
    if sub > _SUB_MASK:
        raise ForeignRowError(f"revision {main} has more than {_SUB_MASK + 1} changes")
    if len(value) < 3 or value[0] != 0x0A:
        raise ForeignRowError(f"the row of revision {main}.{sub} is no key with a value")
    row_id = (main << SUB_BITS | sub) << 1 | is_deletion
    if is_deletion:
        value = encode_tombstone(key_of(value), main)
    return row_id.to_bytes(8, "big"), value


def export_members(membership: Membership) -> tuple[list[tuple[bytes, bytes]], ...]:
    """(rows of ``members``, rows of ``members_removed``)."""
    rows = []
    for member_id, member in membership.members.items():
        data: dict[str, Any] = {"id": member_id, "peerURLs": list(member.peer_urls)}
        if member.is_learner:
            data["isLearner"] = True
        if member.name:
            data["name"] = member.name
        if member.client_urls:
            data["clientURLs"] = list(member.client_urls)
        rows.append((b"%x" % member_id, json.dumps(data, separators=(",", ":")).encode()))
    removed = [(b"%x" % member_id, b"removed") for member_id in membership.removed]
    return sorted(rows), sorted(removed)


def export_auth(state: AuthState) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """The buckets of users and roles. What is ours in a user's row stays here."""
    users = [
        (user.name, encode(m.User(user.name, user.password, user.roles, user.options)))
        for user in state.users.values()
    ]
    flags = [(AUTH_ENABLED, bytes([state.enabled])), (AUTH_REVISION, _U64.pack(state.revision))]
    return {
        AUTH: flags,
        AUTH_ROLES: sorted((role.name, encode(role)) for role in state.roles.values()),
        AUTH_USERS: sorted(users),
    }


def export_leases(lessor: Lessor) -> list[tuple[bytes, bytes]]:
    """The rows of ``lease``; one that is ending becomes one with a second to live."""
    rows = []
    for lease_id, lease in lessor.leases.items():
        remaining_s = 1 if lease.is_ending else lease.remaining_s
        if remaining_s == lease.granted_s:
            remaining_s = 0
        row = encode(LeaseRow(lease_id, lease.granted_s, remaining_s))
        rows.append((lease_id.to_bytes(8, "big", signed=True), row))
    return sorted(rows)


def import_leases(values: Iterable[bytes]) -> Lessor:
    """Leases from the values of their bucket.

    Raises:
        ForeignRowError: a row that is no lease.
    """
    lessor = Lessor()
    for value in values:
        try:
            row = decode(LeaseRow, value)
        except DecodeError as error:
            raise ForeignRowError(f"a lease cannot be read: {error}") from None
        if row.ID <= 0 or not 0 < row.TTL <= TTL_MAX_S or row.ID in lessor.leases:
            raise ForeignRowError(f"{row.ID} with a time of {row.TTL} s is no lease")
        lessor.grant(row.ID, row.TTL)
        if row.RemainingTTL > 0:
            lessor.checkpoint(row.ID, row.RemainingTTL)
    return lessor


def import_auth(
    flags: dict[bytes, bytes], users: Iterable[bytes], roles: Iterable[bytes]
) -> AuthState:
    """Users and roles from the values of their buckets.

    Raises:
        ForeignRowError: a row that is no user or no role.
    """
    state = AuthState()
    try:
        for row in users:
            user = decode(m.User, row)
            state.users[user.name.decode()] = user
        for row in roles:
            role = decode(m.Role, row)
            state.roles[role.name.decode()] = role
    except (DecodeError, UnicodeDecodeError) as error:
        raise ForeignRowError(f"a user or role cannot be read: {error}") from None
    state.enabled = flags.get(AUTH_ENABLED) == b"\x01"
    if AUTH_REVISION in flags:
        state.revision = decode_number(flags[AUTH_REVISION], "the auth revision")
    return state


def decode_number(raw: bytes, what: str) -> int:
    """Eight bytes, big-endian.

    Raises:
        ForeignRowError: not eight bytes.
    """
    if len(raw) != 8:
        raise ForeignRowError(f"{what} has {len(raw)} bytes, not 8")
    return int.from_bytes(raw, "big")
