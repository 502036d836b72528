"""Watch fan-out: N watchers over C connections, puts with a small window, events counted.

Prints one line ``RESULT {json}``. Loopback only; bounded by the number of puts and by a time limit.
"""

from __future__ import annotations

import argparse
import json
import select
import statistics
import time

from etcdwire.messages import PutRequest, WatchCreateRequest, WatchRequest
from etcdwire.protobuf import encode
from tests.kit.wire import Wire

KEY = b"bench/watched"
LIMIT_S = 60.0


def messages_in(data: bytearray) -> int:
    """Complete messages at the front of a stream's data; they are removed."""
    count = at = 0
    while len(data) - at >= 5:
        size = int.from_bytes(data[at + 1 : at + 5], "big") + 5
        if len(data) - at < size:
            break
        at += size
        count += 1
    del data[:at]
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--puts", type=int, default=1000)
    parser.add_argument("--window", type=int, default=4)
    a = parser.parse_args()
    wires = [Wire(f"http://{a.endpoint}") for _ in range(a.connections)]
    request = encode(WatchRequest(create_request=WatchCreateRequest(KEY)))
    for i in range(a.watchers):
        wires[i % a.connections].call(b"Watch/Watch", request, end=False)
    for wire in wires:
        wire.flush()
    created = 0
    deadline = time.monotonic() + LIMIT_S
    while created < a.watchers:
        created += poll(wires, deadline)
    writer = Wire(f"http://{a.endpoint}")
    put = encode(PutRequest(KEY, b"v" * 64))
    started = time.monotonic()
    events = done = sent = 0
    under_way: dict[int, float] = {}
    latencies: list[float] = []
    while done < a.puts or events < a.puts * a.watchers:
        while sent < a.puts and len(under_way) < a.window:
            under_way[writer.call(b"KV/Put", put, end=True)] = time.monotonic()
            sent += 1
        writer.flush()
        events += poll([*wires, writer], deadline, writer)
        for stream_id in [i for i, s in writer.session.streams.items() if s.is_ended]:
            del writer.session.streams[stream_id]
            latencies.append(time.monotonic() - under_way.pop(stream_id))
            done += 1
    took = time.monotonic() - started
    latencies.sort()
    result = {
        "n": events,
        "rps": events / took,
        "p50_us": statistics.median(latencies) * 1e6,
        "p99_us": latencies[int(len(latencies) * 0.99)] * 1e6,
        "writes": a.puts,
    }
    print("RESULT " + json.dumps(result))


def poll(wires: list[Wire], deadline: float, writer: Wire | None = None) -> int:
    """Read what is there; messages that arrived on watch streams."""
    if time.monotonic() > deadline:
        raise TimeoutError("time limit")
    readable, _, _ = select.select([w.socket for w in wires], [], [], 1.0)
    count = 0
    for wire in wires:
        if wire.socket in readable:
            wire.receive()
            if wire is not writer:
                count += sum(messages_in(s.data) for s in wire.session.streams.values())
    return count


if __name__ == "__main__":
    main()
