"""Row 8: many watches on one TLS connection beside large ranges, and clients that do not read.

``RAFTKV_LONG=1`` takes a thousand watches and holds them to the row's bounds.
"""

from __future__ import annotations

import os
import ssl
import time
from collections import deque
from pathlib import Path

from etcdwire import grpc
from etcdwire import messages as m
from etcdwire.protobuf import decode, encode
from kvclient import Client
from tests.kit.authority import Authority
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for
from tests.kit.wire import Wire
from tests.kit.writer import MIB, p99

IS_LONG = bool(os.environ.get("RAFTKV_LONG"))
WATCHES, PUTS = (1000, 200) if IS_LONG else (100, 20)
ROWS = 1000
SLOW_CLIENTS = 10
HISTORY_MIB = 128 if IS_LONG else 48
SLOW_BYTES_MAX = 16 * MIB
LIMIT_S = 120.0


def test_row_8_watches_beside_large_ranges_are_soon_told_everything(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "servers")
    certificate = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.path))
    context.set_alpn_protocols(["h2"])
    with Cluster("raftkv", tmp_path, 3, certificate=certificate) as cluster:
        with Client(cluster.endpoints) as client:
            for number in range(ROWS):
                client.put(b"row/%04d" % number, bytes(256))
            start = client.status().revision + 1
        wire = Wire(cluster.members[0].secure_url, context)
        create = m.WatchCreateRequest(b"watched", start_revision=start)
        watch = encode(m.WatchRequest(create_request=create))
        readers = {wire.call(b"Watch/Watch", watch, end=False) for _ in range(WATCHES)}
        messages = {number: grpc.MessageReader(1 << 20) for number in readers}
        seen: dict[int, list[int]] = {number: [] for number in readers}
        wanted = encode(m.RangeRequest(b"row/", b"row0"))
        ranges = {wire.call(b"KV/Range", wanted, end=True) for _ in range(4)}
        wire.flush()
        delays_s: list[float] = []
        done = 0
        put_at_s = time.monotonic()
        waiting = deque(range(PUTS))
        deadline = put_at_s + LIMIT_S
        while waiting or any(len(revisions) < PUTS for revisions in seen.values()):
            assert time.monotonic() < deadline, "watches were not told everything"
            if waiting and time.monotonic() - put_at_s >= 0.1:
                put_at_s = time.monotonic()
                value = b"%d" % int(put_at_s * 1e6)
                waiting.popleft()
                wire.call(b"KV/Put", encode(m.PutRequest(b"watched", value)), end=True)
                wire.flush()
            wire.receive_within(0.01)
            now = time.monotonic()
            for number in wire.session.changed & readers:
                stream = wire.session.streams[number]
                data = bytes(stream.data)
                stream.data.clear()
                for body in messages[number].feed(data):
                    for event in decode(m.WatchResponse, body).events:
                        assert event.kv is not None
                        seen[number].append(event.kv.mod_revision)
                        delays_s.append(now - int(event.kv.value) / 1e6)
            for number in [n for n in ranges if wire.session.streams[n].is_ended]:
                assert len(wire.session.streams.pop(number).data) > ROWS * 256
                ranges.remove(number)
                ranges.add(wire.call(b"KV/Range", wanted, end=True))
                wire.flush()
                done += 1
        wire.close()
    assert all(revisions == list(range(start, start + PUTS)) for revisions in seen.values())
    p99_s = p99(delays_s)
    print(f"{WATCHES} watches, {done} ranges: delay p99 {p99_s * 1000:.0f} ms")
    assert done > 0
    if IS_LONG:
        assert p99_s <= 1.0


def test_row_8_clients_that_do_not_read_cost_little_and_miss_nothing(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        member = cluster.members[0]
        with Client(cluster.endpoints, timeout_s=30) as client:
            for _ in range(HISTORY_MIB * 4):  # what writing alone costs
                client.put(b"other", os.urandom(MIB // 4))
            first = client.status().revision + 1
        wires = [Wire(member.client_url) for _ in range(SLOW_CLIENTS)]
        watch = encode(
            m.WatchRequest(create_request=m.WatchCreateRequest(b"big", start_revision=first))
        )
        for wire in wires:
            number = wire.call(b"Watch/Watch", watch, end=False)
            wire.flush()
        before = member.resident_bytes(own=True)
        with Client(cluster.endpoints, timeout_s=30) as client:
            for _ in range(HISTORY_MIB * 4):
                client.put(b"big", os.urandom(MIB // 4))
            grown = member.resident_bytes(own=True) - before
            last = client.status().revision
        print(f"{SLOW_CLIENTS} clients that do not read {HISTORY_MIB} MiB: {grown / MIB:.0f} MiB")
        assert grown <= SLOW_CLIENTS * SLOW_BYTES_MAX
        wire, reader, revisions = wires[0], grpc.MessageReader(1 << 30), []
        stream = wire.session.streams[number]

        def is_told() -> bool:
            wire.receive_within(0.1)
            data = bytes(stream.data)
            stream.data.clear()
            for body in reader.feed(data):
                events = decode(m.WatchResponse, body).events
                revisions.extend(e.kv.mod_revision for e in events if e.kv is not None)
            return bool(revisions) and revisions[-1] == last

        wait_for(is_told, 60, "it reads at last, and is told everything")
        assert revisions == list(range(first, last + 1))
        for wire in wires:
            wire.close()
