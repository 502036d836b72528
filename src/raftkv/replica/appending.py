"""What a leader checks before it appends a batch, its own or a forwarded one."""

from __future__ import annotations

import zlib

from raftkv.raft.leader import Leader
from raftkv.replica.batch import decode_commands, decode_header
from raftkv.replica.effects import Rejection
from raftkv.replica.membership import (
    VOTER_CHANGES,
    ChangeRefusal,
    MembershipTable,
    decode_change,
)
from raftkv.values import NO_MEMBER, EntryKind, MembershipChange, MembershipChangeKind

LEARNER_READY_PERCENT = 90
"""A learner may be promoted when it holds this share of the leader's log (etcd: 0.9)."""

Refusal = tuple[Rejection, str]
_NOT_LEADING: Refusal = (Rejection.NO_LEADER, "")
_OVERLOADED: Refusal = (Rejection.OVERLOADED, "")


def append_batch(
    role: object, membership: MembershipTable, kind: EntryKind, data: bytes
) -> Refusal | None:
    """Append entry data as leader; return the reason when it is refused.

    While leadership is being handed over nothing is appended: the new leader must catch up.
    """
    if type(role) is not Leader or role.transferee != NO_MEMBER:
        return _NOT_LEADING
    if not role.may_append(len(data)):
        return _OVERLOADED
    if kind is EntryKind.COMMANDS:
        role.append(kind, data, zlib.crc32(data))
        return None
    change = _decode_only_change(data)
    refusal = _find_change_refusal(role, membership, change)
    if refusal is not None:
        return Rejection.INVALID_CHANGE, refusal.value
    index = role.append(kind, data, zlib.crc32(data))
    if change.kind in VOTER_CHANGES:
        role.change_barrier = index
    return None


def _decode_only_change(data: bytes) -> MembershipChange:
    _, _, _, count = decode_header(data)
    return decode_change(decode_commands(data, count)[0])


def _find_change_refusal(
    role: Leader, membership: MembershipTable, change: MembershipChange
) -> ChangeRefusal | None:
    if change.kind in VOTER_CHANGES and not role.may_change_voters():
        return ChangeRefusal.CHANGE_IN_FLIGHT
    refusal = membership.find_refusal(change)
    if refusal is None and change.kind is MembershipChangeKind.PROMOTE:
        progress = role.progress.get(change.member.member_id)
        if progress is None or progress.match < role.last_index * LEARNER_READY_PERCENT // 100:
            return ChangeRefusal.LEARNER_NOT_READY
    return refusal
