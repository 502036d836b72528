"""The replicated state machine: v3 store, v2 tree, and those who watch them.

``apply`` looks at the command and the state, at nothing else. Results: v3 commands give
``(revision, response without header)``, v2 commands an ``EventV2``; an error is a value here
(``RequestError``, ``V2Error``), because it is the deterministic outcome of an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdwire.errors import RequestError
from etcdwire.hot import decode_put
from etcdwire.messages import DeleteRangeRequest, TxnRequest
from etcdwire.protobuf import decode
from raftkv.replica.commands import (
    CommandKind,
    MethodV2,
    decode_compact,
    decode_expire,
    decode_v2,
)
from raftkv.store.errors_v2 import V2Error
from raftkv.store.mvcc import Change, KeyValueStore
from raftkv.store.tree_v2 import EventV2, TreeV2
from raftkv.store.txn import apply_delete, apply_put, apply_txn
from raftkv.values import Index, Term
from raftkv.watch.history_v2 import HistoryV2
from raftkv.watch.hub import WatchHub


@dataclass(slots=True)
class Unflushed:
    """What the backend has yet to learn; taken whole by the driver."""

    rows: list[Change]
    v2: dict[int, bytes | None]


class Machine:
    """One member's replicated state."""

    def __init__(self, kv: KeyValueStore, tree: TreeV2) -> None:
        self.kv = kv
        self.tree = tree
        self.hub = WatchHub(self._row)
        self.history_v2 = HistoryV2(tree.index)
        self._rows: list[Change] = []

    def _row(self, row_id: int) -> bytes:
        return self.kv.row(row_id)

    def replace(self, kv: KeyValueStore, tree: TreeV2) -> None:
        """Go on from an installed snapshot; watchers stay and are caught up by their owner."""
        self.kv = kv
        self.tree = tree
        self.history_v2 = HistoryV2(tree.index)
        self._rows = []

    def take_unflushed(self) -> Unflushed:
        """Hand over everything since the last call."""
        taken = Unflushed(self._rows, self.tree.writes)
        self._rows = []
        self.tree.writes = {}
        return taken

    @property
    def has_unflushed(self) -> bool:
        """Whether a flush would write rows."""
        return bool(self._rows or self.tree.writes)

    def apply(
        self,
        index: Index,
        term: Term,
        commands: Sequence[bytes],
        local: bool,  # noqa: FBT001 - see StateMachine.apply
        /,
    ) -> Sequence[object]:
        """Apply one batch (see ``StateMachine.apply``)."""
        del index, term, local
        return [self._apply_one(command) for command in commands]

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
                return self._apply_v2(command)
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
            if kind == CommandKind.COMPACT:
                self.kv.compact(decode_compact(command))
                return self.kv.revision, b""
            if kind == CommandKind.V2_EXPIRE:
                for event in self.tree.expire(decode_expire(command)):
                    self.history_v2.notify(event)
                return None
        except (RequestError, V2Error) as error:
            return error
        raise ValueError(f"unknown command kind {kind}: a newer version wrote it")

    def _publish(self, revision: int) -> None:
        changes = self.kv.changes
        if changes:
            self._rows.extend(changes)
            self.hub.notify(changes, revision)
            self.kv.changes = []

    def _apply_v2(self, data: bytes) -> EventV2:
        c = decode_v2(data)
        tree = self.tree
        method = c.method
        if method is MethodV2.SET:
            event = tree.set(c.path, c.value, c.expires_ms, c.now_ms, is_dir=c.is_dir)
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
        return event
