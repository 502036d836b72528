"""Watches in every order of writing, falling behind, catching up and jumping: nothing is missed.

One member's real watch streams over a simulated loop: clients that take what they are sent or do not,
watches that begin in the past, writes between every two steps, compactions behind them, and a state
that jumps (a snapshot is installed). Each watch must have been sent exactly the changes of its
range, once, in order. A planted bug, a hand-over from history to live events that is one slice too
early, must be found.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from etcdwire import messages as m
from etcdwire.errors import ApiError
from etcdwire.protobuf import decode, encode
from raftkv.api import v3_watch
from raftkv.api.access import Caller
from raftkv.api.v3_watch import WatchStream
from raftkv.replica.commands import CommandKind
from raftkv.store.mvcc import KeyValueStore
from raftkv.watch.hub import Watcher
from tests.kit.one_member import NoRows, OneMember

SEEDS = 40
STEPS = 1500
MUTANT_SEEDS = 20
Seen = tuple[int, bytes, int]
"""(revision, key, kind of change)"""


@dataclass
class SlowStream:
    """A client that takes its messages now and then."""

    is_open: bool = True
    waiting: list[bytes] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    def send(self, body: bytes) -> None:
        self.waiting.append(body)

    def pending_bytes(self) -> int:
        return sum(map(len, self.waiting))

    def finish(self, error: ApiError | None = None) -> None:
        raise AssertionError(error)

    def take(self) -> None:
        self.taken += self.waiting
        self.waiting.clear()


@dataclass
class Client:
    """One stream, and what its watches asked for."""

    stream: SlowStream
    watch: WatchStream
    wanted: dict[int, tuple[bytes, bytes, int]] = field(default_factory=dict)
    """Watch id to (key, end, first revision)."""


class World:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.host = OneMember()
        self.history: list[Seen] = []
        self.clients: list[Client] = []

    def run(self) -> None:
        steps = [self.write] * 24 + [self.take] * 6 + [self.loop] * 12 + [self.create, self.jump]
        for _ in range(STEPS):
            self.chance.choice(steps)()
        while self.host.later:
            for client in self.clients:
                client.stream.take()
            self.loop()
        for client in self.clients:
            client.stream.take()
        self.check()

    def write(self) -> None:
        key = b"%c%d" % (self.chance.choice(b"abc"), self.chance.randrange(4))
        if self.chance.random() < 0.8:
            put = m.PutRequest(key, self.chance.randbytes(self.chance.choice([1, 200])))
            self.host.apply(bytes((CommandKind.PUT,)) + encode(put))
            self.history.append((self.host.machine.kv.revision, key, m.EventType.PUT))
        else:
            existed = bool(self.host.machine.kv.latest(key))
            delete = m.DeleteRangeRequest(key)
            self.host.apply(bytes((CommandKind.DELETE_RANGE,)) + encode(delete))
            if existed:
                self.history.append((self.host.machine.kv.revision, key, m.EventType.DELETE))
        self.deliver()

    def deliver(self) -> None:
        hub = self.host.machine.hub
        owed, hub.deliveries = hub.deliveries, []
        for delivery in owed:
            stream = delivery.watcher.stream
            assert isinstance(stream, WatchStream)
            stream.deliver(delivery)

    def take(self) -> None:
        if self.clients:
            self.chance.choice(self.clients).stream.take()

    def loop(self) -> None:
        self.host.run_later()

    def create(self) -> None:
        if len(self.clients) < 3:
            stream = SlowStream()
            watch = WatchStream(self.host, stream, Caller())  # type: ignore[arg-type]
            self.clients.append(Client(stream, watch))
        client = self.chance.choice(self.clients)
        key, end = self.chance.choice([(b"a1", b""), (b"a", b"b"), (b"\0", b"\0"), (b"c3", b"")])
        revision = self.host.machine.kv.revision
        first = self.chance.choice([0, 2, max(revision - 20, 2), revision + 3])
        watch_id = len(client.wanted) + 1
        request = m.WatchCreateRequest(key, end, first, watch_id=watch_id)
        client.watch.receive(encode(m.WatchRequest(create_request=request)))
        client.wanted[watch_id] = (key, end, first or revision + 1)

    def jump(self) -> None:
        """A snapshot of the same history, some entries further, takes the place of the state."""
        if self.chance.random() < 0.8:
            return
        machine = self.host.machine
        seen = machine.kv.revision
        rows = dict(machine.kv.history(0))
        other = KeyValueStore.load(_View(rows), seen, 0)
        machine.kv = other
        machine.hub._row_of = other.row
        for _ in range(self.chance.randrange(30)):
            self.write_unseen()
        for watcher in machine.hub.take_all(seen):
            assert isinstance(watcher, Watcher)
            stream = watcher.stream
            assert isinstance(stream, WatchStream)
            stream.catch_up_later(watcher)

    def write_unseen(self) -> None:
        hub = self.host.machine.hub
        ranges, by_key = hub._ranges, hub._by_key
        hub._ranges, hub._by_key = {}, {}
        self.write()
        hub._ranges, hub._by_key = ranges, by_key

    def check(self) -> None:
        for client in self.clients:
            seen: dict[int, list[Seen]] = {watch_id: [] for watch_id in client.wanted}
            for body in client.stream.taken:
                response = decode(m.WatchResponse, body)
                assert not response.canceled
                for event in response.events:
                    assert event.kv is not None
                    seen[response.watch_id].append(
                        (event.kv.mod_revision, event.kv.key, event.type)
                    )
            for watch_id, (key, end, first) in client.wanted.items():
                expected = [
                    one for one in self.history if one[0] >= first and _in(one[1], key, end)
                ]
                assert seen[watch_id] == expected, f"watch of {key!r} from {first}"


class _View(NoRows):
    """Rows that are all flushed."""

    def __init__(self, rows: dict[int, bytes]) -> None:
        self._rows = rows

    def get_row(self, row_id: int) -> bytes | None:
        return self._rows.get(row_id)

    def scan_rows(self, first: int, end: int):  # type: ignore[no-untyped-def]
        return ((i, row) for i, row in sorted(self._rows.items()) if first <= i < end)


def _in(name: bytes, key: bytes, end: bytes) -> bool:
    if not end:
        return name == key
    return name >= key and (end == b"\0" or name < end)


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Falling behind, and catching up in several slices, at once."""
    monkeypatch.setattr(v3_watch, "PENDING_BYTES_MAX", 600)
    monkeypatch.setattr(v3_watch, "CATCH_UP_ROWS", 7)


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_no_watch_misses_or_repeats_anything(first: int) -> None:
    for seed in range(first, first + 10):
        World(seed).run()


def test_an_event_lost_at_the_hand_over_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read_slice = WatchStream._read_slice

    def hand_over_early(self: WatchStream, watcher: Watcher) -> bool:
        if not read_slice(self, watcher) and watcher.watch_id in self._watchers:
            watcher.next_revision = self._host.machine.kv.revision + 1
        return True

    monkeypatch.setattr(WatchStream, "_read_slice", hand_over_early)
    for seed in range(MUTANT_SEEDS):
        try:
            World(seed).run()
        except AssertionError:
            return
    pytest.fail("the planted bug was not found")
