"""v2 waiters and the last thousand events, so that a client may ask for one it missed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from etcdwire.json_v2 import NodeView
from raftkv.store.errors_v2 import EVENT_INDEX_CLEARED, V2Error
from raftkv.store.tree_v2 import EventV2

EVENTS_MAX: Final = 1000
"""etcd's window; older events are answered with error 401."""
EVENTS_PER_ROW: Final = 50
ROWS_MAX: Final = EVENTS_MAX // EVENTS_PER_ROW + 1
"""The window may begin in the middle of a row."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One ``wait=true`` request."""

    call: object
    path: str
    recursive: bool
    stream: bool
    """Goes on after the first event."""
    since_index: int


class HistoryV2:
    """Events and waiters of one member."""

    def __init__(self, first_index: int = 0) -> None:
        self._events: deque[EventV2] = deque(maxlen=EVENTS_MAX)
        self._lost_index = first_index
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self.deliveries: list[tuple[Waiter, EventV2]] = []
        """What is owed since the owner last took it."""
        self._unsaved_count = 0

    @property
    def waiters_count(self) -> int:
        """Requests waiting now."""
        return sum(len(found) for found in self._waiters.values())

    def find(
        self, path: str, since_index: int, current_index: int, *, recursive: bool
    ) -> EventV2 | None:
        """The first matching event at or after an index, None when it is yet to come.

        Raises:
            V2Error: the window no longer holds that index.
        """
        if since_index > current_index or not self._events:
            if since_index <= self._lost_index and since_index <= current_index:
                raise self._outdated(since_index, current_index)
            return None
        first = self._events[0].store_index
        if since_index < first and (
            len(self._events) == EVENTS_MAX or since_index <= self._lost_index
        ):
            raise self._outdated(since_index, current_index)
        for event in self._events:
            if event.store_index >= since_index and _matches(event, path, recursive=recursive):
                return event
        return None

    def _outdated(self, since_index: int, current_index: int) -> V2Error:
        first = self._events[0].store_index if self._events else self._lost_index + 1
        return V2Error(
            EVENT_INDEX_CLEARED,
            f"the requested history has been cleared [{first}/{since_index}]",
            current_index,
        )

    def add(self, waiter: Waiter) -> None:
        """Wait for the next event."""
        self._waiters.setdefault(waiter.path, {})[waiter] = None

    def remove(self, waiter: Waiter) -> None:
        """Stop waiting; unknown waiters are ignored."""
        found = self._waiters.get(waiter.path)
        if found is not None:
            found.pop(waiter, None)
            if not found:
                del self._waiters[waiter.path]

    def load(self, events: Iterable[EventV2], current_index: int) -> None:
        """Start with saved events: those without a gap up to the tree's index.

        A version that saved none may have gone on in between; what is older is of no use then.
        """
        first = current_index + 1
        for event in sorted(events, key=lambda event: event.store_index, reverse=True):
            if event.store_index == first - 1 and len(self._events) < EVENTS_MAX:
                self._events.appendleft(event)
                first -= 1
        self._lost_index = first - 1

    def take_unsaved(self) -> list[EventV2]:
        """Hand over the events since the last call, and those that share a row with the first."""
        events = self._events
        start = len(events) - min(self._unsaved_count, len(events))
        if start == len(events):
            return []
        self._unsaved_count = 0
        first = _row_of(events[start])
        while start and _row_of(events[start - 1]) == first:
            start -= 1
        return list(islice(events, start, None))

    def go_on(self, other: HistoryV2, former_index: int) -> None:
        """The tree was replaced by a newer one: take its events, tell waiters what they missed.

        What fell out of the window meanwhile nobody can tell them (etcd does not either).
        """
        self._events.clear()
        self._unsaved_count = 0
        self._lost_index = other._lost_index
        for event in other._events:
            self._events.append(event)
            if event.store_index > former_index:
                self._tell(event)

    def notify(self, event: EventV2) -> None:
        """Take one event of the tree."""
        self._events.append(event)
        self._unsaved_count += 1
        self._tell(event)

    def _tell(self, event: EventV2) -> None:
        if event.refresh or not self._waiters:
            return
        key = event.node.key
        candidates = [key]
        while candidates[-1] != "/":
            candidates.append(candidates[-1].rpartition("/")[0] or "/")
        candidates.extend(event.deleted_paths)
        for path in candidates:
            for waiter in list(self._waiters.get(path, ())):
                if not _matches(event, path, recursive=waiter.recursive):
                    continue
                self.deliveries.append((waiter, event))
                if not waiter.stream:
                    self.remove(waiter)


def _row_of(event: EventV2) -> int:
    return event.store_index // EVENTS_PER_ROW


def encode_rows(events: Iterable[EventV2]) -> list[tuple[int, bytes]]:
    """Encode what ``take_unsaved`` gave as rows of a ring: (place, row).

    A row has the events of fifty indices: one row an event would cost a busy member as much as its
    keys. The last one is written anew until it is full.
    """
    rows = groupby(events, _row_of)
    return [(number % ROWS_MAX, encode_row(found)) for number, found in rows]


def encode_row(events: Iterable[EventV2]) -> bytes:
    """Encode events for the backend: JSON, because nobody reads them twice."""
    found = [
        (*event[:3], event.store_index, event.refresh, event.deleted_paths) for event in events
    ]
    return json.dumps(found).encode()


def decode_row(row: bytes) -> list[EventV2]:
    """Decode what ``encode_row`` gave."""
    return [
        EventV2(
            action,
            NodeView(*node),
            NodeView(*previous) if previous is not None else None,
            store_index,
            refresh,
            tuple(deleted_paths),
        )
        for action, node, previous, store_index, refresh, deleted_paths in json.loads(row)
    ]


def _matches(event: EventV2, path: str, *, recursive: bool) -> bool:
    key = event.node.key
    if key == path:
        return not event.refresh
    if path in event.deleted_paths:
        return True
    prefix = path if path == "/" else path + "/"
    if not recursive or event.refresh or not key.startswith(prefix):
        return False
    return not any(name.startswith("_") for name in key[len(prefix) :].split("/"))
