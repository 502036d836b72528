"""The v3 store: keys, their revisions, and rows not yet flushed. Pure; it never writes.

Every change gets a *row id*: ``main revision << 21 | sub revision << 1 | deleted``. Row ids sort by
time, are the backend's keys, and tell a deletion without looking at the row.

Per key, in ``_index``, one flat list (a million keys must fit in memory):

    [create_revision, version, row id, row id, ...]        row ids ascending, newest last

``create_revision`` and ``version`` describe the newest generation; older generations are told apart
by their deletion bit. Rows since the last flush are in ``_overlay``; older ones in the backend,
reached through ``ReadView``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from etcdwire.errors import COMPACTED, FUTURE_REVISION, KEY_NOT_FOUND, LEASE_NOT_FOUND
from etcdwire.hot import encode_key_value, encode_tombstone
from etcdwire.messages import KeyValue
from etcdwire.protobuf import decode, decode_varint, to_signed
from raftkv.store.key_order import KeyOrder

SUB_BITS: Final = 20
_SHIFT: Final = SUB_BITS + 1
RECENT_CHANGES: Final = 1024
_MASK: Final = (1 << _SHIFT) - 1


class ReadView(Protocol):
    """Rows that are flushed."""

    def get_row(self, row_id: int) -> bytes | None:
        """The KeyValue bytes of one row."""

    def get_rows(self, row_ids: list[int]) -> list[bytes]:
        """The KeyValue bytes of several rows, those that are there."""

    def scan_rows(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Rows with first <= row id < end."""


class Attachments(Protocol):
    """Which key hangs on which lease (``lease.lessor``)."""

    key_lease: dict[bytes, int]

    def attach(self, key: bytes, lease_id: int) -> None:
        """The key was written with this lease, 0 for none, or deleted."""

    def require(self, lease_id: int) -> object:
        """Raise a ``RequestError`` unless keys may be hung on this lease."""


class NoLeases:
    """A key space without leases."""

    def __init__(self) -> None:
        self.key_lease: dict[bytes, int] = {}

    def attach(self, key: bytes, lease_id: int) -> None:
        """Nothing hangs on anything."""

    def require(self, lease_id: int) -> object:  # noqa: ARG002 - see ``Attachments``
        """There is no such lease."""
        raise LEASE_NOT_FOUND


class Change(NamedTuple):
    """One change of one key, for watchers and for the flush."""

    row_id: int
    key: bytes
    row: bytes
    """The KeyValue as encoded bytes: what is stored, answered and sent to watchers."""
    previous_id: int
    """Row id before this change, 0 when the key did not exist."""


class KeyValueStore:
    """All keys and revisions of one member."""

    __slots__ = (
        "_forget_from",
        "_index",
        "_key_lease",
        "_order",
        "_overlay",
        "_recent",
        "_sub",
        "_view",
        "changes",
        "compact_revision",
        "leases",
        "revision",
        "walkers",
    )

    def __init__(self, view: ReadView) -> None:
        self._view = view
        self._index: dict[bytes, list[int]] = {}
        self._order = KeyOrder()
        self._overlay: dict[int, bytes] = {}
        self._sub = 0
        self.revision = 1
        self.compact_revision = 0
        self._forget_from: bytes | None = None
        """Where forgetting goes on; None when nothing is to be forgotten."""
        self.use_leases(NoLeases())
        self.walkers = 0
        """Who reads a revision step by step: nothing is forgotten meanwhile."""
        self.changes: list[Change] = []
        """Changes since the owner last took them, in order."""
        self._recent: deque[tuple[int, bytes]] = deque(maxlen=RECENT_CHANGES)
        """(revision, key) of the last changes."""

    @classmethod
    def load(
        cls,
        view: ReadView,
        revision: int,
        compact_revision: int,
        tell: Callable[[int], None] = lambda _: None,
    ) -> KeyValueStore:
        """Rebuild the index from all flushed rows; ``tell`` hears now and then how many it has."""
        store = cls(view)
        store.compact_revision = compact_revision
        index = store._index
        last = 0
        for number, (row_id, row) in enumerate(view.scan_rows(0, 1 << 63)):
            if not number & 0xFFFF:
                tell(number)
            key = key_of(row)
            history = index.get(key)
            main = row_id >> _SHIFT
            if history is None:
                if row_id & 1:
                    index[key] = [main, 0, row_id]
                else:
                    index[key] = [*_origin_of(row, len(key), main), row_id]
            else:
                _append(history, row_id)
            last = main
        store.revision = max(revision, last, 1)
        store._order = KeyOrder(sorted(index))
        store._forget_from = b"" if compact_revision else None  # perhaps stopped half-way
        return store

    # --- writes: inside one revision, between begin and commit ------------------------------

    def begin(self) -> int:
        """Start a revision; changes until ``commit`` share it."""
        self._sub = 0
        return self.revision + 1

    def commit(self) -> int:
        """End the revision; it only counts when something changed. Returns the store's revision."""
        if self._sub:
            self.revision += 1
            self._sub = 0
        return self.revision

    @property
    def revision_so_far(self) -> int:
        """The store's revision; inside an open one, the open one's from its first change on."""
        return self.revision + (1 if self._sub else 0)

    def put(self, key: bytes, value: bytes, lease: int) -> Change:
        """Write one key."""
        main = self.revision + 1
        row_id = main << _SHIFT | self._sub << 1
        self._sub += 1
        history = self._index.get(key)
        previous = 0
        if history is None:
            self._index[key] = history = [main, 1, row_id]
            self._order.add(key)
        else:
            if not history[-1] & 1:
                previous = history[-1]
            _append(history, row_id)
        row = encode_key_value(key, history[0], main, history[1], value, lease)
        self._overlay[row_id] = row
        if lease or self._key_lease:
            self.leases.attach(key, lease)
        change = Change(row_id, key, row, previous)
        self.changes.append(change)
        self._recent.append((main, key))
        return change

    def delete_range(self, key: bytes, range_end: bytes) -> list[Change]:
        """Delete what exists in the range, in key order."""
        return self._delete(self._live_keys(key, range_end))

    def delete_keys(self, keys: list[bytes]) -> list[Change]:
        """Delete these keys, as far as they exist."""
        index = self._index
        live = [key for key in keys if key in index and not index[key][-1] & 1]
        return self._delete(live)

    def _delete(self, keys: list[bytes]) -> list[Change]:
        main = self.revision + 1
        deleted: list[Change] = []
        for name in keys:
            history = self._index[name]
            row_id = main << _SHIFT | self._sub << 1 | 1
            self._sub += 1
            row = encode_tombstone(name, main)
            change = Change(row_id, name, row, history[-1])
            history.append(row_id)
            self._overlay[row_id] = row
            if self._key_lease:
                self.leases.attach(name, 0)
            deleted.append(change)
            self._recent.append((change.row_id >> _SHIFT, name))
        self.changes.extend(deleted)
        return deleted

    def _live_keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        index = self._index
        if not range_end:
            history = index.get(key)
            return [key] if history is not None and not history[-1] & 1 else []
        return [
            name for name in self._order.scan(*_bounds(key, range_end)) if not index[name][-1] & 1
        ]

    # --- forgetting -------------------------------------------------------------------------

    def compact(self, revision: int) -> None:
        """Refuse reads below a revision from now on; ``forget_slice`` then removes the rows.

        Raises:
            RequestError: already compacted, or in the future.
        """
        if revision <= self.compact_revision:
            raise COMPACTED
        if revision > self.revision:
            raise FUTURE_REVISION
        self.compact_revision = revision
        self._forget_from = b""

    @property
    def has_garbage(self) -> bool:
        """Whether there is something to be forgotten."""
        return self._forget_from is not None

    @property
    def may_forget(self) -> bool:
        """Whether ``forget_slice`` has work, and nobody walks."""
        return self._forget_from is not None and not self.walkers

    def forget_slice(self, steps_max: int) -> list[int]:
        """Forget what the compaction allows; the row ids that may be deleted, the oldest of a key
        first. A step is a row forgotten, or a key of which there was none.

        What a compaction leaves is a function of the state, so when each member gets to it does
        not matter: reads below the compacted revision are refused everywhere at once.
        """
        if self._forget_from is None:
            return []
        limit = self.compact_revision << _SHIFT | _MASK
        gone: list[int] = []
        empty: list[bytes] = []
        cursor: bytes | None = None
        left = steps_max
        for key in self._order.scan(self._forget_from, None):
            if left <= 0:
                cursor = key
                break
            history = self._index[key]
            at = bisect_right(history, limit, 2)
            # The newest row at or before the limit stays, unless it says that the key is gone.
            stop = at if at == 2 or history[at - 1] & 1 else at - 1
            if stop > 2:
                if stop - 2 > left:  # a key with a long history: the rest of it next time
                    stop = 2 + left
                    cursor = key
                gone.extend(history[2:stop])
                del history[2:stop]
            left -= max(stop - 2, 1)
            if len(history) == 2:
                empty.append(key)
            if cursor is not None:
                break
        for key in empty:
            del self._index[key]
            self._order.remove(key)
        for row_id in gone:
            self._overlay.pop(row_id, None)
        self._forget_from = cursor
        return gone

    # --- reads ------------------------------------------------------------------------------

    def row(self, row_id: int) -> bytes:
        """The KeyValue bytes of a row that the index names."""
        row = self._overlay.get(row_id)
        if row is None:
            row = self._view.get_row(row_id)
            if row is None:
                raise LookupError(f"row {row_id:x} is in the index but not in the backend")
        return row

    def rows(self, row_ids: list[int]) -> list[bytes]:
        """The KeyValue bytes of several rows that the index names, in this order."""
        overlay = self._overlay
        flushed = [row_id for row_id in row_ids if row_id not in overlay]
        if not flushed:
            return [overlay[row_id] for row_id in row_ids]
        found = self._view.get_rows(flushed)
        if len(found) != len(flushed):
            return [self.row(row_id) for row_id in row_ids]  # says which one is missing
        if len(flushed) == len(row_ids):
            return found
        here = dict(zip(flushed, found, strict=True))
        return [here[i] if i in here else overlay[i] for i in row_ids]

    def latest(self, key: bytes) -> bytes | None:
        """The newest row of one key, None when it does not exist."""
        history = self._index.get(key)
        if history is None or history[-1] & 1:
            return None
        return self.row(history[-1])

    def check_revision(self, revision: int) -> None:
        """Refuse to read at this revision when that is impossible.

        Raises:
            RequestError: in the future, or compacted.
        """
        if revision > self.revision_so_far:
            raise FUTURE_REVISION
        if 0 < revision < self.compact_revision:
            raise COMPACTED

    def row_ids(self, key: bytes, range_end: bytes, revision: int) -> list[int]:
        """Row ids of the keys that exist in the range at a revision (0: now), in key order."""
        index = self._index
        if not range_end:
            history = index.get(key)
            row_id = _visible(history, revision) if history is not None else 0
            return [row_id] if row_id else []
        out: list[int] = []
        if revision <= 0:
            names = self._order.scan(*_bounds(key, range_end))
            return [row_id for name in names if not (row_id := index[name][-1]) & 1]
        for name in self._order.scan(*_bounds(key, range_end)):
            row_id = _visible(index[name], revision)
            if row_id:
                out.append(row_id)
        return out

    def keys_at_most(self, key: bytes, range_end: bytes) -> int:
        """More keys than these are not in a range; costs some binary searches."""
        return self._order.count_at_most(*_bounds(key, range_end)) if range_end else 1

    def is_unchanged_since(self, revision: int, key: bytes, range_end: bytes) -> bool:
        """Whether surely nothing in a range changed after a revision; only for recent ones."""
        recent = self._recent
        if revision < self.revision and (not recent or recent[0][0] > revision + 1):
            return False  # what came between is not known any more
        first, end = _bounds(key, range_end)
        for changed_at, name in reversed(recent):
            if changed_at <= revision:
                return True
            if name >= first and (end is None or name < end):
                return False
        return True

    def visible_from(
        self, first: bytes, range_end: bytes, revision: int, keys_max: int
    ) -> Iterator[tuple[bytes, int]]:
        """(key, row id at a revision or 0) of up to so many keys, from a key on."""
        index = self._index
        for key in islice(self._order.scan(*_bounds(first, range_end)), keys_max):
            yield key, _visible(index[key], revision)

    def require(self, key: bytes) -> KeyValue:
        """The newest value of a key that must exist.

        Raises:
            RequestError: it does not exist.
        """
        row = self.latest(key)
        if row is None:
            raise KEY_NOT_FOUND
        return decode(KeyValue, row)

    def history(self, first_revision: int) -> Iterator[tuple[int, bytes]]:
        """All rows from a revision on, in order."""
        return self.rows_from(first_revision << _SHIFT)

    def rows_from(self, first: int) -> Iterator[tuple[int, bytes]]:
        """All rows from a row id on, in order: flushed ones, then the overlay's.

        They are read one by one: a row may be a megabyte, so how many are enough is for the caller
        to see.
        """
        seen = first
        for row_id, row in self._view.scan_rows(first, 1 << 63):
            yield row_id, row
            seen = row_id + 1
        overlay = self._overlay
        for row_id in sorted(i for i in overlay if i >= seen):
            yield row_id, overlay[row_id]

    def is_visible(self, row_id: int, row: bytes, revision: int) -> bool:
        """Whether a row is what its key has at a revision."""
        history = self._index.get(key_of(row))
        return history is not None and _visible(history, revision) == row_id

    def previous_id(self, key: bytes, row_id: int) -> int:
        """The row id of the live value before this row, 0 when there was none."""
        history = self._index.get(key)
        if history is None:
            return 0
        at = bisect_left(history, row_id, 2)
        if at <= 2 or history[at - 1] & 1:
            return 0
        return history[at - 1]

    def use_leases(self, leases: Attachments) -> None:
        """Tell these of every key that is written with a lease, or taken off one."""
        self.leases = leases
        self._key_lease = leases.key_lease

    def leased_keys(self) -> Iterator[tuple[bytes, int]]:
        """(key, lease) of every key that hangs on one; reads every live row."""
        for key, history in self._index.items():
            if not history[-1] & 1:
                lease = lease_of(self.row(history[-1]))
                if lease:
                    yield key, lease

    def use_view(self, view: ReadView) -> None:
        """Read the same flushed rows from elsewhere."""
        self._view = view

    def forget_flushed(self, row_ids: list[int]) -> None:
        """Drop rows from the overlay that the backend has committed and the view shows."""
        overlay = self._overlay
        for row_id in row_ids:
            overlay.pop(row_id, None)

    @property
    def keys_count(self) -> int:
        """Keys in the index, deleted ones that are not yet compacted included."""
        return len(self._index)


def main_revision(row_id: int) -> int:
    """The main revision of a row id."""
    return row_id >> _SHIFT


def sub_revision(row_id: int) -> int:
    """The sub revision of a row id."""
    return (row_id & _MASK) >> 1


def _append(history: list[int], row_id: int) -> None:
    """Add a change to a key's history, keeping generation data of its newest generation."""
    if row_id & 1:
        history.append(row_id)
        return
    if history[-1] & 1:
        history[0] = row_id >> _SHIFT
        history[1] = 1
    else:
        history[1] += 1
    history.append(row_id)


def _visible(history: list[int], revision: int) -> int:
    """The row id of a key at a revision (0: now), 0 when it does not exist then."""
    if revision <= 0:
        row_id = history[-1]
    else:
        at = bisect_right(history, revision << _SHIFT | _MASK, 2)
        if at == 2:
            return 0
        row_id = history[at - 1]
    return 0 if row_id & 1 else row_id


def _bounds(key: bytes, range_end: bytes) -> tuple[bytes, bytes | None]:
    """Bounds of an etcd range: an end of one zero byte means every key from ``key`` on."""
    if range_end == b"\0":
        return (b"" if key == b"\0" else key), None
    return key, range_end


def key_of(row: bytes) -> bytes:
    """The key of an encoded KeyValue: field 1 comes first, as we write it."""
    length = row[1]
    if length < 128:
        return row[2 : 2 + length]
    at, shift, length = 2, 7, length & 127
    while True:
        byte = row[at]
        at += 1
        length |= (byte & 127) << shift
        if byte < 128:
            return row[at : at + length]
        shift += 7


def _origin_of(row: bytes, key_bytes: int, main: int) -> tuple[int, int]:
    """(create revision, version) of an encoded KeyValue that was written at revision ``main``.

    At a start this is asked once per key. Its fields stand in order, as we write them; nearly all
    keys of a large store were written once.
    """
    at = 2 + key_bytes
    if key_bytes >= 128 or row[at] != 0x10:
        value = decode(KeyValue, row)
        return value.create_revision, value.version
    created, shift = 0, 0
    while True:
        at += 1
        byte = row[at]
        created |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if created == main:
        return main, 1
    return created, decode(KeyValue, row).version


def lease_of(row: bytes) -> int:
    """The lease of an encoded KeyValue, 0 for none: field 6, which comes last."""
    size, at = decode_varint(row, 1)
    at += size
    end = len(row)
    while at < end:
        tag = row[at]
        if tag == 0x2A:
            size, at = decode_varint(row, at + 1)
            at += size
            continue
        value, at = decode_varint(row, at + 1)
        if tag == 0x30:
            return to_signed(value)
    return 0
