"""Answers to ranges that are asked for again and again while nothing in them changes.

Clients list the same prefix over and over (confd, dashboards, controllers that start). Putting the
rows of a thousand keys together costs half a millisecond each time; whether one of the keys that
changed since lies in the range costs much less. Only answers at the present revision are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from etcdwire.messages import RangeRequest
from raftkv.store.mvcc import KeyValueStore

BODY_BYTES_MIN: Final = 16 << 10
"""Smaller answers are put together as fast as they are found."""
TOTAL_BYTES_MAX: Final = 16 << 20

_Question = tuple[bytes, bytes, int, bool, bool]


class RangeCache:
    """The answers of a store, without headers."""

    __slots__ = ("_bodies", "_size_bytes", "_store")

    def __init__(self) -> None:
        self._store: KeyValueStore | None = None
        self._bodies: OrderedDict[_Question, tuple[int, bytes]] = OrderedDict()
        """(revision at which it was true, body), the one used last at the end."""
        self._size_bytes = 0

    def find(self, store: KeyValueStore, request: RangeRequest) -> bytes | None:
        """The answer, if it is kept and still true; of a range neither filtered nor sorted."""
        if store is not self._store:  # at first, and when a snapshot took the place of all rows
            self._store = store
            self._bodies.clear()
            self._size_bytes = 0
        question = _question(request)
        known = self._bodies.get(question)
        if known is None or request.revision > 0:
            return None
        revision, body = known
        if revision != store.revision:
            if not store.is_unchanged_since(revision, request.key, request.range_end):
                del self._bodies[question]
                self._size_bytes -= len(body)
                return None
            self._bodies[question] = (store.revision, body)
        self._bodies.move_to_end(question)
        return body

    def keep(self, request: RangeRequest, body: bytes) -> None:
        """Remember an answer of the store that was asked last, put together just now."""
        store, size = self._store, len(body)
        if (
            store is None
            or request.revision > 0
            or not BODY_BYTES_MIN <= size <= TOTAL_BYTES_MAX // 4
        ):
            return
        question = _question(request)
        if question in self._bodies:
            return
        self._bodies[question] = (store.revision, body)
        self._size_bytes += size
        while self._size_bytes > TOTAL_BYTES_MAX:
            _, (_, oldest) = self._bodies.popitem(last=False)
            self._size_bytes -= len(oldest)


def _question(request: RangeRequest) -> _Question:
    return (
        request.key,
        request.range_end,
        request.limit,
        request.keys_only,
        request.count_only,
    )
