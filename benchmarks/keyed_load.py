"""gRPC requests with random keys, in a closed loop: what h2load, which repeats one body, cannot send.

Prints one line ``RESULT {json}``. Loopback only; bounded by the number of requests and by a time
limit. Bodies are made before the clock starts, and answers are only looked at for their end: the
client costs some ten microseconds of a core per request, the same for either server.
"""

from __future__ import annotations

import argparse
import json
import random
import selectors
import socket
import time
from typing import Final

from etcdwire import frames as f
from etcdwire import grpc
from etcdwire import messages as m
from etcdwire.protobuf import Message, encode

LIMIT_S: Final = 120.0
WINDOW_BYTES: Final = (1 << 31) - 1
PICKS: Final = 1 << 16


def make_request(kind: str, key: bytes, value: bytes) -> tuple[str, Message]:
    """(method of KV, message)."""
    if kind == "put":
        return "Put", m.PutRequest(key, value)
    if kind in ("range", "serializable"):
        return "Range", m.RangeRequest(key, serializable=kind == "serializable")
    return "Txn", m.TxnRequest(
        compare=[m.Compare(m.CompareResult.GREATER, m.CompareTarget.VERSION, key, version=-1)],
        success=[
            m.RequestOp(request_put=m.PutRequest(key, value)),
            m.RequestOp(request_range=m.RangeRequest(key)),
        ],
    )


def literal(first: bytes, *texts: bytes) -> bytes:
    """A header field that enters the receiver's table (RFC 7541, section 6.2.1)."""
    return first + b"".join(bytes((len(text),)) + text for text in texts)


class Wire:
    """One connection, with so many requests under way."""

    def __init__(self, endpoint: str, method: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = {f.SETTINGS_ENABLE_PUSH: 0, f.SETTINGS_INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        more = (WINDOW_BYTES - f.DEFAULT_WINDOW_BYTES).to_bytes(4, "big")
        self.out = [f.PREFACE, f.build_settings(settings), f.build(f.WINDOW_UPDATE, 0, 0, more)]
        self._first_block = (
            b"\x83\x86"  # POST, http
            + literal(b"\x44", b"/etcdserverpb.KV/" + method.encode())
            + literal(b"\x41", endpoint.encode())
            + literal(b"\x5f", b"application/grpc")
            + literal(b"\x40", b"te", b"trailers")
        )
        self._next_id = 1
        self._window = f.DEFAULT_WINDOW_BYTES
        self._held: list[tuple[bytes, int]] = []
        self._rest = b""
        self.began: dict[int, float] = {}

    def send(self, body: bytes, now: float) -> None:
        """Begin a request; it waits when the server's window is used up."""
        stream_id = self._next_id
        self._next_id = stream_id + 2
        block = b"\x83\x86\xc1\xc0\xbf\xbe" if stream_id > 1 else self._first_block
        name = stream_id.to_bytes(4, "big")
        size = len(body)
        raw = b"".join((
            len(block).to_bytes(3, "big"), b"\x01\x04", name, block,
            size.to_bytes(3, "big"), b"\x00\x01", name, body,
        ))  # fmt: skip
        self.began[stream_id] = now
        if self._held or self._window < size:
            self._held.append((raw, size))
        else:
            self._window -= size
            self.out.append(raw)

    def flush(self) -> None:
        """Write what may be written."""
        while self._held and self._window >= self._held[0][1]:
            raw, size = self._held.pop(0)
            self._window -= size
            self.out.append(raw)
        if self.out:
            self.socket.sendall(b"".join(self.out))
            self.out.clear()

    def receive(self) -> tuple[list[int], int]:
        """(streams that ended, messages that came): one message each, unless there was an error."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the server closed the connection")
        if self._rest:
            data = self._rest + data
        at, end, ended, messages = 0, len(data), [], 0
        while end - at >= 9:
            size = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            after = at + 9 + size
            if after > end:
                break
            kind, flags = data[at + 3], data[at + 4]
            if kind <= f.HEADERS:
                messages += kind == f.DATA
                if flags & f.END_STREAM:
                    ended.append(int.from_bytes(data[at + 5 : at + 9], "big"))
            elif kind == f.WINDOW_UPDATE:
                if data[at + 5 : at + 9] == b"\0\0\0\0":
                    self._window += int.from_bytes(data[at + 9 : after], "big")
            elif kind == f.SETTINGS and not flags & f.ACK:
                self.out.append(f.build(f.SETTINGS, f.ACK, 0, b""))
            elif kind == f.PING and not flags & f.ACK:
                self.out.append(f.build(f.PING, f.ACK, 0, data[at + 9 : after]))
            elif kind in (f.RST_STREAM, f.GOAWAY):
                raise ConnectionError(f"frame {kind} from the server")
            at = after
        self._rest = data[at:]
        return ended, messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint", help="HOST:PORT")
    parser.add_argument("kind", choices=["put", "txn", "range", "serializable"])
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=10_000)
    a = parser.parse_args()
    chance = random.Random(7)
    made = [make_request(a.kind, b"bench/k%06d" % i, b"v" * 256) for i in range(a.keys)]
    method = made[0][0]
    bodies = [grpc.frame(encode(message)) for _, message in made]
    picks = [bodies[chance.randrange(a.keys)] for _ in range(PICKS)]
    wires = [Wire(a.endpoint, method) for _ in range(a.connections)]
    selector = selectors.DefaultSelector()
    for wire in wires:
        selector.register(wire.socket, selectors.EVENT_READ, wire)
    times_s: list[float] = []
    sent = messages = 0
    began = time.perf_counter()
    for wire in wires:
        for _ in range(min(a.streams, a.requests - sent)):
            wire.send(picks[sent % PICKS], time.perf_counter())
            sent += 1
        wire.flush()
    while len(times_s) < a.requests:
        if time.perf_counter() - began > LIMIT_S:
            raise TimeoutError(f"{len(times_s)} of {a.requests} answers in {LIMIT_S:.0f} s")
        for key, _ in selector.select(1.0):
            wire = key.data
            ended, count = wire.receive()
            messages += count
            now = time.perf_counter()
            for stream_id in ended:
                times_s.append(now - wire.began.pop(stream_id))
                if sent < a.requests:
                    wire.send(picks[sent % PICKS], now)
                    sent += 1
            wire.flush()
    took_s = time.perf_counter() - began
    times_s.sort()
    result = {
        "n": a.requests,
        "rps": a.requests / took_s,
        "p50_us": times_s[len(times_s) // 2] * 1e6,
        "p99_us": times_s[int(len(times_s) * 0.99)] * 1e6,
        "errors": a.requests - messages,
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
