"""v3 watchers and the changes they are owed.

Watchers of one key are found by that key, watchers of a range by trying each range. An event is
encoded once, whatever the number of watchers; what differs per watcher is only the id in front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from etcdwire.hot import encode_field
from raftkv.store.mvcc import Change
from raftkv.store.txn import in_range


@dataclass(slots=True, eq=False)
class Watcher:
    """One watch of one stream."""

    stream: object
    """Opaque to this room: where the events go."""
    watch_id: int
    key: bytes
    range_end: bytes
    next_revision: int
    """The first revision not delivered yet."""
    wants_previous: bool = False
    no_put: bool = False
    no_delete: bool = False
    fragment: bool = False
    progress_notify: bool = False


@dataclass(slots=True)
class Delivery:
    """Events of one revision for one watcher: encoded ``Event`` fields (number 11), joined."""

    watcher: Watcher
    revision: int
    events: list[bytes] = field(default_factory=list)


class WatchHub:
    """All watchers of one member."""

    def __init__(self, row_of: Callable[[int], bytes]) -> None:
        self._row_of = row_of
        self._by_key: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: dict[Watcher, None] = {}
        self.deliveries: list[Delivery] = []
        """What is owed since the owner last took it."""

    def add(self, watcher: Watcher) -> None:
        """Watch from now on."""
        if watcher.range_end:
            self._ranges[watcher] = None
        else:
            self._by_key.setdefault(watcher.key, {})[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Stop watching; unknown watchers are ignored."""
        self._ranges.pop(watcher, None)
        watchers = self._by_key.get(watcher.key)
        if watchers is not None:
            watchers.pop(watcher, None)
            if not watchers:
                del self._by_key[watcher.key]

    def take_all(self, revision: int) -> list[Watcher]:
        """Give up all watchers: the state jumped, each has to catch up.

        They have seen all that there was up to this revision, the quiet ones too: what they have
        not seen begins behind it, however far the history before it is compacted.
        """
        watchers = [*self._ranges, *(w for found in self._by_key.values() for w in found)]
        for watcher in watchers:
            watcher.next_revision = max(watcher.next_revision, revision + 1)
        self._ranges.clear()
        self._by_key.clear()
        return watchers

    @property
    def watchers_count(self) -> int:
        """Watchers that are up to date."""
        return len(self._ranges) + sum(len(found) for found in self._by_key.values())

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches anything."""
        return not self._by_key and not self._ranges

    def notify(self, changes: Iterable[Change], revision: int) -> None:
        """Take the changes of one revision, in order."""
        if self.is_idle:
            return
        owed: dict[Watcher, Delivery] = {}
        for change in changes:
            encoded: dict[bool, bytes] = {}
            watchers: list[Watcher] = list(self._by_key.get(change.key, ()))
            watchers.extend(w for w in self._ranges if in_range(change.key, w.key, w.range_end))
            for watcher in watchers:
                if revision < watcher.next_revision or not wants(watcher, change.row_id):
                    continue
                event = encoded.get(watcher.wants_previous)
                if event is None:
                    event = self.encode_event(change, with_previous=watcher.wants_previous)
                    encoded[watcher.wants_previous] = event
                delivery = owed.get(watcher)
                if delivery is None:
                    owed[watcher] = delivery = Delivery(watcher, revision)
                delivery.events.append(event)
        for watcher, delivery in owed.items():
            watcher.next_revision = revision + 1
            self.deliveries.append(delivery)

    def encode_event(self, change: Change, *, with_previous: bool) -> bytes:
        """One ``Event`` as field 11 of a WatchResponse."""
        body = encode_field(b"\x12", change.row)
        if change.row_id & 1:
            body = b"\x08\x01" + body
        if with_previous and change.previous_id:
            body += encode_field(b"\x1a", self._row_of(change.previous_id))
        return encode_field(b"\x5a", body)


def wants(watcher: Watcher, row_id: int) -> bool:
    """Whether the watcher's filters let this change through."""
    return not (watcher.no_delete if row_id & 1 else watcher.no_put)
