"""The Watch service: many watches on one stream, each sees every revision exactly once.

A watch is either up to date (known to the hub, served as changes are applied) or catching up (reads
history in slices, no more than its client takes). A client that does not read falls back to
catching up, so that its memory here is bounded by ``PENDING_BYTES_MAX``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from etcdwire import messages as m
from etcdwire.errors import NO_LEADER, PERMISSION_DENIED, Code, RequestError
from etcdwire.messages import WatchFilter
from etcdwire.protobuf import DecodeError, decode, encode, encode_varint
from raftkv.api.access import TOKEN_WAIT_S, TOKEN_WAITS_MAX, Caller, identify, is_token_ahead
from raftkv.api.host import Host
from raftkv.api.v3_maintenance import OutStream
from raftkv.store.mvcc import Change, key_of, main_revision
from raftkv.store.txn import in_range
from raftkv.watch.hub import Delivery, Watcher, wants

PENDING_BYTES_MAX: Final = 8 << 20
"""Unread answers of one stream; beyond it its watches wait and catch up from the store."""
CATCH_UP_ROWS: Final = 500
CATCH_UP_BYTES: Final = 4 << 20
"""Rows of history read per slice: a few milliseconds."""
CATCH_UP_RETRY_S: Final = 0.02
FRAGMENT_BYTES: Final = 1 << 20
WATCHES_PER_STREAM_MAX: Final = 100_000


class WatchStream:
    """One Watch call: its watches and their ids."""

    def __init__(
        self, host: Host, stream: OutStream, caller: Caller, *, needs_leader: bool = False
    ) -> None:
        """``needs_leader``: the client would rather go elsewhere than watch a cut-off member."""
        self._host = host
        self._stream = stream
        self._caller = caller
        self._needs_leader = needs_leader
        self._told: set[int] = set()
        """Watches that were sent events since the last round of progress notices."""
        self._names: dict[int, str] = {}
        """Watch id to the user that it was opened for; absent where auth was off."""
        self._early: deque[bytes] = deque()
        """Requests that wait because this member has not applied their login yet."""
        self._early_waits = 0
        host.watch_streams.add(self)
        self._watchers: dict[int, Watcher] = {}
        self._next_id = 0
        self._catching_up: dict[Watcher, None] = {}
        self._scheduled = False

    # --- requests ---------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """One WatchRequest."""
        if self._early:
            self._early.append(data)
            return
        host = self._host
        if (
            host.machine.auth.enabled
            and self._early_waits < TOKEN_WAITS_MAX
            and is_token_ahead(host, self._caller)
        ):
            self._early.append(data)
            host.call_later(TOKEN_WAIT_S, self._receive_early)
            return
        self._handle(data)

    def _receive_early(self) -> None:
        host = self._host
        self._early_waits += 1
        if self._early_waits < TOKEN_WAITS_MAX and is_token_ahead(host, self._caller):
            host.call_later(TOKEN_WAIT_S, self._receive_early)
            return
        early, self._early = self._early, deque()
        for data in early:
            if self._stream.is_open:
                self._handle(data)

    def _handle(self, data: bytes) -> None:
        try:
            request = decode(m.WatchRequest, data)
        except DecodeError as error:
            self._stream.finish(RequestError(Code.INTERNAL, f"grpc: {error}"))
            return
        if request.create_request is not None:
            self._create(request.create_request)
        elif request.cancel_request is not None:
            self._cancel(request.cancel_request.watch_id)
        elif request.progress_request is not None:
            self._progress()

    def close(self) -> None:
        """The call ended."""
        self._host.watch_streams.discard(self)
        for watcher in self._watchers.values():
            self._host.machine.hub.remove(watcher)
        self._watchers.clear()
        self._catching_up.clear()

    def _create(self, request: m.WatchCreateRequest) -> None:
        revision = self._host.machine.kv.revision
        watch_id = request.watch_id
        if watch_id == 0:
            while self._next_id in self._watchers:
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        key, range_end = request.key, request.range_end
        if not key:
            key = b"\0"  # etcd: an empty key is the first one
        is_empty = bool(range_end) and range_end != b"\0" and key >= range_end
        if watch_id < 0 or watch_id in self._watchers or is_empty:
            reason = "duplicate watch ID provided on the WatchStream"
            self._refuse(-1, "" if is_empty else f"etcdserver: {reason}")
            return
        refusal = self._find_refusal(watch_id, key, range_end)
        if refusal:
            self._refuse(-1, refusal)
            return
        if len(self._watchers) >= WATCHES_PER_STREAM_MAX:
            self._refuse(-1, "etcdserver: too many watches on one stream")
            return
        watcher = Watcher(
            self,
            watch_id,
            key,
            range_end,
            request.start_revision if request.start_revision > 0 else revision + 1,
            request.prev_kv,
            WatchFilter.NOPUT in request.filters,
            WatchFilter.NODELETE in request.filters,
            request.fragment,
            request.progress_notify,
        )
        self._watchers[watch_id] = watcher
        self._send(m.WatchResponse(self._header(), watch_id, created=True))
        if watcher.next_revision <= revision:
            self.catch_up_later(watcher)
        else:
            self._host.machine.hub.add(watcher)

    def _find_refusal(self, watch_id: int, key: bytes, range_end: bytes) -> str:
        """Why the caller may not watch this range; empty when it may."""
        host = self._host
        if not host.machine.auth.enabled:
            return ""
        try:
            identity = identify(host, self._caller)
        except RequestError as error:
            return error.message
        if not identity.rights.may_read(key, range_end):
            return PERMISSION_DENIED.message
        self._names[watch_id] = identity.name
        return ""

    def notify_progress(self) -> None:
        """Tell quiet watches that asked for it how far they are; never past what they were sent."""
        for watch_id, watcher in self._watchers.items():
            if (
                watcher.progress_notify
                and watch_id not in self._told
                and watcher not in self._catching_up
            ):
                self._send(m.WatchResponse(self._header(), watch_id))
        self._told.clear()

    def lose_leader(self) -> None:
        """This member has known no leader for a while."""
        if self._needs_leader:
            self._stream.finish(NO_LEADER)

    def recheck(self) -> None:
        """Users or roles changed: end the watches whose user may no longer read what they show.

        A watch outlives the token that opened it, but not the right.
        """
        auth = self._host.machine.auth
        if not auth.enabled:
            return
        for watch_id, watcher in list(self._watchers.items()):
            name = self._names.get(watch_id) or self._caller.common_name
            rights = auth.rights_of(name) if name else None
            if rights is None or not rights.may_read(watcher.key, watcher.range_end):
                self._drop(watcher)
                reason = PERMISSION_DENIED.message
                self._send(
                    m.WatchResponse(self._header(), watch_id, canceled=True, cancel_reason=reason)
                )

    def _drop(self, watcher: Watcher) -> None:
        self._watchers.pop(watcher.watch_id, None)
        self._names.pop(watcher.watch_id, None)
        self._host.machine.hub.remove(watcher)
        self._catching_up.pop(watcher, None)

    def _refuse(self, watch_id: int, reason: str) -> None:
        self._send(
            m.WatchResponse(
                self._header(), watch_id, created=True, canceled=True, cancel_reason=reason
            ),
        )

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.get(watch_id)
        if watcher is None:
            return
        self._drop(watcher)
        self._send(m.WatchResponse(self._header(), watch_id, canceled=True))

    def _progress(self) -> None:
        """Answer how far all watches of this stream are; only true when none is behind."""
        if not self._catching_up:
            self._send(m.WatchResponse(self._header(), -1))

    def _header(self) -> m.ResponseHeader:
        host = self._host
        return m.ResponseHeader(
            host.cluster_id, host.member_id, host.machine.kv.revision, host.term
        )

    def _send(self, response: m.WatchResponse) -> None:
        self._stream.send(encode(response))

    # --- events -----------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        """Send the events of one revision to one of this stream's watches."""
        watcher = delivery.watcher
        self._send_events(watcher, delivery.revision, delivery.events)
        if self._stream.pending_bytes() > PENDING_BYTES_MAX:
            self._host.machine.hub.remove(watcher)
            self.catch_up_later(watcher)

    def _send_events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        host = self._host
        if watcher.progress_notify:
            self._told.add(watcher.watch_id)
        front = host.headers.encode(revision, host.term)
        if watcher.watch_id:
            front += b"\x10" + encode_varint(watcher.watch_id)
        if watcher.fragment and len(events) > 1:
            for position, piece in enumerate(pieces := _fragments(events)):
                last = position == len(pieces) - 1
                self._stream.send(b"".join((front, b"" if last else b"\x38\x01", *piece)))
        else:
            self._stream.send(b"".join((front, *events)))

    def catch_up_later(self, watcher: Watcher) -> None:
        """Read history for a watch that is no longer up to date."""
        self._catching_up[watcher] = None
        if not self._scheduled:
            self._scheduled = True
            self._host.call_later(0, self._catch_up)

    def _catch_up(self) -> None:
        self._scheduled = False
        if not self._stream.is_open or not self._catching_up:
            return
        delay_s = 0.0
        if self._stream.pending_bytes() > PENDING_BYTES_MAX // 2:
            delay_s = CATCH_UP_RETRY_S
        else:
            watcher = next(iter(self._catching_up))
            del self._catching_up[watcher]
            if self._read_slice(watcher):
                self._host.machine.hub.add(watcher)
            elif watcher.watch_id in self._watchers:
                self._catching_up[watcher] = None
        if self._catching_up:
            self._scheduled = True
            self._host.call_later(delay_s, self._catch_up)

    def _read_slice(self, watcher: Watcher) -> bool:
        """Read the next rows of history for a watch; whether it is up to date now."""
        kv, hub = self._host.machine.kv, self._host.machine.hub
        if watcher.next_revision < kv.compact_revision:
            self._watchers.pop(watcher.watch_id, None)
            self._send(
                m.WatchResponse(
                    self._header(),
                    watcher.watch_id,
                    canceled=True,
                    compact_revision=kv.compact_revision,
                ),
            )
            return False
        events: list[bytes] = []
        current = size = 0
        for count, (row_id, row) in enumerate(kv.history(watcher.next_revision)):
            revision = main_revision(row_id)
            if revision != current:
                if events:
                    self._send_events(watcher, current, events)
                    events = []
                watcher.next_revision = revision
                current = revision
                if count >= CATCH_UP_ROWS or size >= CATCH_UP_BYTES:
                    return False
            size += len(row)
            key = key_of(row)
            if not in_range(key, watcher.key, watcher.range_end) or not wants(watcher, row_id):
                continue
            previous_id = kv.previous_id(key, row_id) if watcher.wants_previous else 0
            change = Change(row_id, key, row, previous_id)
            events.append(hub.encode_event(change, with_previous=watcher.wants_previous))
        if events:
            self._send_events(watcher, current, events)
        watcher.next_revision = kv.revision + 1
        return True


def _fragments(events: list[bytes]) -> list[list[bytes]]:
    pieces: list[list[bytes]] = [[]]
    size = 0
    for event in events:
        if pieces[-1] and size + len(event) > FRAGMENT_BYTES:
            pieces.append([])
            size = 0
        pieces[-1].append(event)
        size += len(event)
    return pieces
