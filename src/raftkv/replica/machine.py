"""The replicated state machine: v3 store, v2 tree, users, and those who watch.

``apply`` looks at the command and the state, at nothing else. Results: v3 commands give
``(revision, response without header)``, v2 commands an ``EventV2``; an error is a value here
(``RequestError``, ``V2Error``), because it is the deterministic outcome of an entry.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

from etcdwire.errors import (
    AUTH_NOT_ENABLED,
    AUTH_OLD_REVISION,
    CORRUPT,
    LEASE_NOT_FOUND,
    NO_SPACE,
    PERMISSION_DENIED,
    USER_EMPTY,
    RequestError,
)
from etcdwire.hot import decode_put
from etcdwire.messages import DeleteRangeRequest, TxnRequest
from etcdwire.protobuf import decode
from raftkv.auth.rights import Rights
from raftkv.auth.state import REQUESTS, AuthOp, AuthState
from raftkv.auth.tokens import SimpleTokens
from raftkv.auth.v2_state import Answer, V2Auth, V2AuthError, V2AuthOp
from raftkv.backend.schema import Table
from raftkv.lease.lessor import Lessor
from raftkv.replica.commands import (
    CLIENT_KINDS,
    CommandKind,
    CommandV2,
    MethodV2,
    decode_alarm,
    decode_as_user,
    decode_checkpoint,
    decode_compact,
    decode_expire,
    decode_grant,
    decode_lease_expire,
    decode_login,
    decode_revoke,
    decode_v2,
    decode_v2_checked,
)
from raftkv.replica.levels import CHAIN_OVER_ALL, FIRST_LEVEL, REFRESH_BY_SET
from raftkv.store.alarms import Alarms
from raftkv.store.errors_v2 import RAFT_INTERNAL, V2Error
from raftkv.store.mvcc import Change, KeyValueStore
from raftkv.store.tree_v2 import EventV2, TreeV2
from raftkv.store.txn import apply_delete, apply_put, apply_txn, has_puts, leases_of
from raftkv.values import Index, Term
from raftkv.watch.history_v2 import HistoryV2
from raftkv.watch.hub import WatchHub

_KEY_SPACE_KINDS: Final = frozenset(
    {
        CommandKind.PUT,
        CommandKind.DELETE_RANGE,
        CommandKind.TXN,
        CommandKind.COMPACT,
        CommandKind.LEASE_GRANT,
        CommandKind.LEASE_REVOKE,
    }
)
_LEASE_USERS: Final = frozenset({CommandKind.PUT, CommandKind.TXN, CommandKind.LEASE_REVOKE})
_LEASE_KINDS: Final = frozenset(
    {
        CommandKind.LEASE_GRANT,
        CommandKind.LEASE_REVOKE,
        CommandKind.LEASE_EXPIRE,
        CommandKind.LEASE_CHECKPOINT,
    }
)
_V2_KINDS: Final = frozenset({CommandKind.V2, CommandKind.V2_AUTH})
_ACTIONS: Final = {
    MethodV2.SET: "sets",
    MethodV2.CREATE: "create",
    MethodV2.CREATE_UNIQUE: "create",
    MethodV2.UPDATE: "update",
    MethodV2.COMPARE_AND_SWAP: "compareAndSwap",
    MethodV2.DELETE: "delete",
    MethodV2.COMPARE_AND_DELETE: "compareAndDelete",
}
"""As ``/v2/stats/store`` names them."""
_SHRINKING: Final = frozenset({MethodV2.DELETE, MethodV2.COMPARE_AND_DELETE})


@dataclass(slots=True)
class Unflushed:
    """What the backend has yet to learn; taken whole by the driver."""

    rows: list[Change]
    v2: dict[int, bytes | None]
    others: list[tuple[Table, bytes, bytes | None]]


class Machine:
    """One member's replicated state."""

    def __init__(
        self,
        kv: KeyValueStore,
        tree: TreeV2,
        auth: AuthState | None = None,
        alarms: Alarms | None = None,
        lessor: Lessor | None = None,
        v2_auth: V2Auth | None = None,
    ) -> None:
        self.kv = kv
        self.tree = tree
        self.auth = auth or AuthState()
        self.v2_auth = v2_auth or V2Auth()
        self.alarms = alarms or Alarms()
        self.lessor = lessor or Lessor()
        kv.use_leases(self.lessor)
        self.is_guarded = False
        """Whether commands have to be looked at: auth is on, or an alarm."""
        self.tokens = SimpleTokens()
        self.hub = WatchHub(self._row)
        self.history_v2 = HistoryV2(tree.index)
        self._rows: list[Change] = []
        self.chain = 0
        self.chain_origin = 0
        self.level = FIRST_LEVEL
        """See ``StateMachine``."""
        self.counts_v2: dict[tuple[str, bool], int] = {}
        """How often this member carried out a v2 action, by action and success."""
        self.scrub = (Index(0), 0)
        """Index and revision of the last wish to read all rows again."""
        self._index = Index(0)
        self._term = Term(0)
        self._note_guards()

    def _note_guards(self) -> None:
        self.is_guarded = self.auth.enabled or bool(self.alarms.active) or self.v2_auth.enabled

    def _row(self, row_id: int) -> bytes:
        return self.kv.row(row_id)

    def replace(self, other: Machine) -> None:
        """Go on from an installed snapshot; watchers stay and are caught up by their owner."""
        self.history_v2.go_on(other.history_v2, self.tree.index)
        self.kv = other.kv
        self.tree = other.tree
        self.auth = other.auth
        self.v2_auth = other.v2_auth
        self.alarms = other.alarms
        self.lessor = other.lessor
        self.chain = other.chain
        self.chain_origin = other.chain_origin
        self._note_guards()
        self._rows = []

    def take_unflushed(self) -> Unflushed:
        """Hand over everything since the last call."""
        others = [(Table.AUTH, key, row) for key, row in self.auth.writes.items()]
        others += [(Table.AUTH, key, row) for key, row in self.v2_auth.writes.items()]
        others += [(Table.ALARMS, key, row) for key, row in self.alarms.writes.items()]
        others += [
            (Table.LEASES, lease_id.to_bytes(8, "big", signed=True), row)
            for lease_id, row in self.lessor.writes.items()
        ]
        taken = Unflushed(self._rows, self.tree.writes, others)
        self._rows = []
        self.tree.writes = {}
        self.auth.writes = {}
        self.v2_auth.writes = {}
        self.alarms.writes = {}
        self.lessor.writes = {}
        return taken

    @property
    def unflushed_count(self) -> int:
        """How many rows of keys, of both kinds, a flush would write."""
        return len(self._rows) + len(self.tree.writes)

    @property
    def has_unflushed(self) -> bool:
        """Whether a flush would write rows."""
        return bool(
            self._rows
            or self.tree.writes
            or self.auth.writes
            or self.v2_auth.writes
            or self.alarms.writes
            or self.lessor.writes
        )

    def apply(
        self,
        index: Index,
        term: Term,
        commands: Sequence[bytes],
        local: bool,  # noqa: FBT001 - see StateMachine.apply
        /,
    ) -> Sequence[object]:
        """Apply one batch (see ``StateMachine.apply``)."""
        del local
        self._index = index
        self._term = term
        apply = self._apply_guarded if self.is_guarded else self._apply_one
        return [apply(command) for command in commands]

    def _apply_guarded(self, command: bytes) -> object:
        """Apply one command while auth is on or an alarm.

        The proposer checked the caller's rights at an auth revision. That state is the same on
        every member, so the check still holds exactly while the revision is the same; otherwise
        nothing is done and the proposer checks again.
        """
        kind = command[0]
        v2_auth = self.v2_auth
        if kind == CommandKind.V2_CHECKED:
            revision, command = decode_v2_checked(command)
            kind = command[0]
            if not v2_auth.enabled or revision != v2_auth.revision:
                return AUTH_OLD_REVISION
        elif v2_auth.enabled and _inner_kind(command) in _V2_KINDS:
            return AUTH_OLD_REVISION  # proposed before v2 asked for users
        elif kind == CommandKind.AS_USER:
            name, revision, command = decode_as_user(command)
            kind = command[0]
            if self.auth.enabled:
                if revision != self.auth.revision:
                    return AUTH_OLD_REVISION
                if self.lessor.leases and kind in _LEASE_USERS:
                    rights = self.auth.rights_of(name)
                    if rights is None or not self._may_use_leases(rights, kind, command):
                        return PERMISSION_DENIED
        elif kind in CLIENT_KINDS and self.auth.enabled:
            return USER_EMPTY  # proposed before auth was on
        if self.alarms.active:
            refusal = self._find_alarm(kind, command)
            if refusal is not None:
                return refusal
        return self._apply_one(command)

    def _may_use_leases(self, rights: Rights, kind: int, command: bytes) -> bool:
        """Whether the caller may write every key of the leases that a command ties to or ends.

        Else it could end a lease, or keep it from ending, under keys that are not its own. This
        depends on the keys of this moment, so it is not checked before.
        """
        if kind == CommandKind.PUT:
            lease_ids = {decode_put(command[1:]).lease}
        elif kind == CommandKind.TXN:
            lease_ids = leases_of(decode(TxnRequest, command[1:]))
        else:
            lease_ids = {decode_revoke(command)}
        leases = self.lessor.leases
        return rights.is_root or all(
            rights.may_write(key)
            for lease_id in lease_ids
            if lease_id in leases
            for key in leases[lease_id].keys
        )

    def _find_alarm(self, kind: int, command: bytes) -> object:
        """Why an alarm forbids a command; None when it does not."""
        if self.alarms.is_corrupt and kind in _KEY_SPACE_KINDS:
            return CORRUPT
        if not self.alarms.is_full:
            return None
        if kind in (CommandKind.PUT, CommandKind.LEASE_GRANT):
            return NO_SPACE
        if kind == CommandKind.TXN and has_puts(decode(TxnRequest, command[1:])):
            return NO_SPACE
        if kind == CommandKind.V2 and decode_v2(command).method not in _SHRINKING:
            return V2Error(RAFT_INTERNAL, NO_SPACE.message, self.tree.index)
        return None

    def _apply_one(self, command: bytes) -> object:
        kind = command[0]
        try:
            if kind == CommandKind.PUT:
                kv = self.kv
                kv.begin()
                try:
                    body = apply_put(kv, decode_put(command[1:]))
                finally:
                    revision = kv.commit()
                self._publish(revision)
                return revision, body
            if kind == CommandKind.V2:
                return self._apply_v2_counted(command)
            if kind == CommandKind.TXN:
                result = apply_txn(self.kv, decode(TxnRequest, command[1:]))
                self._publish(result[0])
                return result
            if kind == CommandKind.DELETE_RANGE:
                self.kv.begin()
                body = apply_delete(self.kv, decode(DeleteRangeRequest, command[1:]))
                revision = self.kv.commit()
                self._publish(revision)
                return revision, body
            if kind in (CommandKind.COMPACT, CommandKind.MEMBER_COMPACT):
                self.kv.compact(decode_compact(command))
                return self.kv.revision, b""
            if kind == CommandKind.V2_EXPIRE:
                for event in self.tree.expire(decode_expire(command)):
                    self.history_v2.notify(event)
                    self._chain_v2(event)
                    self.count_v2("expire", is_success=True)
                return None
            if kind == CommandKind.AS_USER:  # auth was switched off meanwhile
                return self._apply_one(decode_as_user(command)[2])
            if kind == CommandKind.V2_CHECKED:
                return self._apply_one(decode_v2_checked(command)[1])
            if kind == CommandKind.V2_AUTH:
                return self._apply_v2_auth(command)
            if kind == CommandKind.AUTH:
                return self._apply_auth(AuthOp(command[1]), command[2:])
            if kind == CommandKind.AUTHENTICATE:
                return self._apply_login(command)
            if kind in (CommandKind.ALARM, CommandKind.MEMBER_ALARM):
                return self._apply_alarm(command)
            if kind == CommandKind.SCRUB:
                self.scrub = (self._index, self.kv.revision)
                return None
            if kind in _LEASE_KINDS:
                return self._apply_lease(kind, command)
        except (RequestError, V2Error, V2AuthError) as error:
            return error
        raise ValueError(f"unknown command kind {kind}: a newer version wrote it")

    def _publish(self, revision: int) -> None:
        changes = self.kv.changes
        if changes:
            for change in changes:
                self.chain = crc32(change.row, self.chain)
            self._rows.extend(changes)
            self.hub.notify(changes, revision)
            self.kv.changes = []

    def count_v2(self, action: str, *, is_success: bool) -> None:
        """Note a v2 action."""
        counted = (action, is_success)
        self.counts_v2[counted] = self.counts_v2.get(counted, 0) + 1

    def _apply_v2_counted(self, data: bytes) -> EventV2:
        command = decode_v2(data)
        action = _ACTIONS[command.method]
        try:
            event = self._apply_v2(command)
        except V2Error:
            self.count_v2(action, is_success=False)
            raise
        self.count_v2(action, is_success=True)
        return event

    def _apply_v2(self, c: CommandV2) -> EventV2:
        tree = self.tree
        method = c.method
        if method is MethodV2.SET:
            refresh = c.refresh and self.level >= REFRESH_BY_SET
            event = tree.set(
                c.path, c.value, c.expires_ms, c.now_ms, is_dir=c.is_dir, refresh=refresh
            )
        elif method is MethodV2.CREATE or method is MethodV2.CREATE_UNIQUE:
            event = tree.create(
                c.path,
                c.value,
                c.expires_ms,
                c.now_ms,
                is_dir=c.is_dir,
                unique=method is MethodV2.CREATE_UNIQUE,
            )
        elif method is MethodV2.UPDATE:
            event = tree.update(c.path, c.value, c.expires_ms, c.now_ms, refresh=c.refresh)
        elif method is MethodV2.COMPARE_AND_SWAP:
            event = tree.compare_and_swap(
                c.path,
                c.previous_value,
                c.previous_index,
                c.value,
                c.expires_ms,
                c.now_ms,
                refresh=c.refresh,
            )
        elif method is MethodV2.DELETE:
            event = tree.delete(c.path, c.now_ms, is_dir=c.is_dir, recursive=c.recursive)
        else:
            event = tree.compare_and_delete(
                c.path,
                c.previous_value,
                c.previous_index,
                c.now_ms,
            )
        self.history_v2.notify(event)
        self._chain_v2(event)
        return event

    def _chain_v2(self, event: EventV2) -> None:
        node = event.node
        text = f"{event.store_index} {event.action} {node.key} {node.value}"
        self.chain = crc32(text.encode(errors="surrogatepass"), self.chain)

    def _chain_other(self, command: bytes, size: int) -> None:
        """Chain a command that writes no row of a key, and how much there is after it."""
        if self.level >= CHAIN_OVER_ALL:
            self.chain = crc32(size.to_bytes(8, "big"), crc32(command, self.chain))

    def _apply_auth(self, op: AuthOp, data: bytes) -> tuple[int, bytes]:
        request = decode(REQUESTS[op], data)
        self.auth.apply(op, request)
        self._chain_other(data, self.auth.revision)
        self._note_guards()
        if op is AuthOp.DISABLE:
            self.tokens.clear()
        elif op in (AuthOp.USER_DELETE, AuthOp.USER_CHANGE_PASSWORD):
            self.tokens.forget_user(request.name)  # type: ignore[attr-defined]
        return self.kv.revision, b""

    def _apply_v2_auth(self, data: bytes) -> Answer:
        answer = self.v2_auth.apply(V2AuthOp(data[1]), json.loads(data[2:]))
        self._chain_other(data, self.v2_auth.revision)
        self._note_guards()
        return answer

    def _apply_login(self, data: bytes) -> object:
        name, revision, prefix = decode_login(data)
        if not self.auth.enabled:
            return AUTH_NOT_ENABLED
        user = self.auth.users.get(name)
        if user is None or user.credential_revision != revision:
            return AUTH_OLD_REVISION
        token = f"{prefix}.{self._index}"
        self.tokens.assign(token, name)
        return token

    def _apply_alarm(self, data: bytes) -> tuple[int, bytes]:
        """(revision, whether there is an alarm to tell of, as one byte)."""
        is_raised, member, kind = decode_alarm(data)
        if is_raised:
            self.alarms.activate(member, kind)
            concerned = True
        else:
            concerned = self.alarms.deactivate(member, kind)
        self._chain_other(data, len(self.alarms.active))
        self._note_guards()
        return self.kv.revision, b"\1" if concerned else b""

    def _apply_lease(self, kind: int, data: bytes) -> tuple[int, bytes] | None:
        lessor = self.lessor
        if kind == CommandKind.LEASE_GRANT:
            lessor.grant(*decode_grant(data))
        elif kind == CommandKind.LEASE_REVOKE:
            lease = lessor.leases.get(decode_revoke(data))
            if lease is None:
                raise LEASE_NOT_FOUND
            self._delete_keys(sorted(lease.keys))
            lessor.remove(lease)
        elif kind == CommandKind.LEASE_EXPIRE:
            term, lease_ids = decode_lease_expire(data)
            if not lessor.is_void(term, self._term):
                lessor.expire(lease_ids, self._delete_keys)
        else:
            term, left = decode_checkpoint(data)
            if not lessor.is_void(term, self._term):
                for lease_id, left_s in left:
                    lessor.checkpoint(lease_id, left_s)
        self._chain_other(data, len(lessor.leases))
        return self.kv.revision, b""

    def _delete_keys(self, keys: list[bytes]) -> None:
        """Delete keys as one revision."""
        self.kv.begin()
        self.kv.delete_keys(keys)
        self._publish(self.kv.commit())


def _inner_kind(command: bytes) -> int:
    kind = command[0]
    return decode_as_user(command)[2][0] if kind == CommandKind.AS_USER else kind
