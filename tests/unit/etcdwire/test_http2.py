"""The server's half of HTTP/2: each case whole and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etcdwire import frames as f
from etcdwire.hpack import Decoder, encode_headers
from etcdwire.http2 import Delivery, Head, ServerSession

POST = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"h"))
BLOCK = encode_headers(POST)
HELLO = f.PREFACE + f.build_settings({})


class Recorder:
    """The one fake at this border: notes what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.streamed = False

    def classify(self, head: Head) -> None:
        head.delivery = Delivery.STREAMED if self.streamed else Delivery.WHOLE

    def body_limit(self, head: Head) -> int:
        return 100

    def on_request(self, stream_id: int, head: Head, body: bytes) -> None:
        self.events.append(("request", stream_id, head.path, body))

    def on_open(self, stream_id: int, head: Head) -> None:
        self.events.append(("open", stream_id))

    def on_data(self, stream_id: int, data: bytes) -> None:
        self.events.append(("data", stream_id, data))

    def on_end(self, stream_id: int) -> None:
        self.events.append(("end", stream_id))

    def on_reset(self, stream_id: int) -> None:
        self.events.append(("reset", stream_id))

    def on_too_large(self, stream_id: int, head: Head, size_bytes: int) -> None:
        self.events.append(("too large", stream_id, size_bytes))


def frames_of(session: ServerSession) -> Iterator[tuple[int, int, int, bytes]]:
    data = b"".join(session.take_output())
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 3], "big")
        stream_id = int.from_bytes(data[at + 5 : at + 9], "big")
        yield data[at + 3], data[at + 4], stream_id, data[at + 9 : at + 9 + length]
        at += 9 + length


def started(*, streamed: bool = False) -> tuple[ServerSession, Recorder]:
    recorder = Recorder()
    recorder.streamed = streamed
    session = ServerSession(recorder)
    session.receive(HELLO)
    session.take_output()
    return session, recorder


def headers(stream_id: int, flags: int = f.END_HEADERS, block: bytes = BLOCK) -> bytes:
    return f.build(f.HEADERS, flags, stream_id, block)


def data(stream_id: int, payload: bytes, *, end: bool = True) -> bytes:
    return f.build(f.DATA, f.END_STREAM if end else 0, stream_id, payload)


CASES = {
    "unary": (headers(1) + data(1, b"hello"), [("request", 1, b"/a", b"hello")]),
    "two pieces": (
        headers(1) + data(1, b"he", end=False) + data(1, b"llo"),
        [("request", 1, b"/a", b"hello")],
    ),
    "no body": (headers(1, f.END_HEADERS | f.END_STREAM), [("request", 1, b"/a", b"")]),
    "empty last frame": (
        headers(1) + data(1, b"hello", end=False) + data(1, b""),
        [("request", 1, b"/a", b"hello")],
    ),
    "trailers": (
        headers(1)
        + data(1, b"x", end=False)
        + headers(1, f.END_HEADERS | f.END_STREAM, encode_headers(((b"t", b"v"),))),
        [("request", 1, b"/a", b"x")],
    ),
    "continuation": (
        headers(1, 0, BLOCK[:5])
        + f.build(f.CONTINUATION, f.END_HEADERS, 1, BLOCK[5:])
        + data(1, b"x"),
        [("request", 1, b"/a", b"x")],
    ),
    "padded": (
        f.build(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\x03" + BLOCK + bytes(3))
        + f.build(f.DATA, f.END_STREAM | f.PADDED, 1, b"\x02hi" + bytes(2)),
        [("request", 1, b"/a", b"hi")],
    ),
    "priority inside headers": (
        f.build(f.HEADERS, f.END_HEADERS | f.PRIORITY_FLAG, 1, bytes(5) + BLOCK) + data(1, b"x"),
        [("request", 1, b"/a", b"x")],
    ),
    "unknown frame type": (
        f.build(99, 0, 0, b"??") + headers(1) + data(1, b"x"),
        [("request", 1, b"/a", b"x")],
    ),
    "interleaved": (
        headers(1) + headers(3) + data(3, b"b") + data(1, b"a"),
        [("request", 3, b"/a", b"b"), ("request", 1, b"/a", b"a")],
    ),
    "body above the limit": (headers(1) + data(1, b"x" * 101), [("too large", 1, 101)]),
    "reset before the end": (
        headers(1) + data(1, b"a", end=False) + f.build(f.RST_STREAM, 0, 1, bytes(4)),
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("step", [0, 1, 7])
def test_requests(name: str, step: int) -> None:
    session, recorder = started()
    sent, expected = CASES[name]
    for at in range(0, len(sent), step or len(sent)):
        session.receive(sent[at : at + (step or len(sent))])
    assert recorder.events == expected


BROKEN = {
    "no preface": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", f.PROTOCOL_ERROR),
    "data on stream 0": (HELLO + data(0, b"x"), f.PROTOCOL_ERROR),
    "data on idle stream": (HELLO + data(5, b"x"), f.PROTOCOL_ERROR),
    "even stream": (HELLO + headers(2), f.PROTOCOL_ERROR),
    "headers before settings": (f.PREFACE + headers(1), f.PROTOCOL_ERROR),
    "stream id goes back": (HELLO + headers(3) + headers(1), f.STREAM_CLOSED),
    "frame too large": (HELLO + b"\xff\xff\xff" + bytes(6), f.FRAME_SIZE_ERROR),
    "settings of seven bytes": (
        f.PREFACE + f.build(f.SETTINGS, 0, 0, bytes(7)),
        f.FRAME_SIZE_ERROR,
    ),
    "settings on a stream": (f.PREFACE + f.build(f.SETTINGS, 0, 1), f.PROTOCOL_ERROR),
    "settings ack with payload": (
        HELLO + f.build(f.SETTINGS, f.ACK, 0, bytes(6)),
        f.FRAME_SIZE_ERROR,
    ),
    "window setting too large": (f.PREFACE + f.build_settings({4: 1 << 31}), f.FLOW_CONTROL_ERROR),
    "frame size setting too small": (f.PREFACE + f.build_settings({5: 100}), f.PROTOCOL_ERROR),
    "push enabled twice": (f.PREFACE + f.build_settings({2: 2}), f.PROTOCOL_ERROR),
    "ping of seven bytes": (HELLO + f.build(f.PING, 0, 0, bytes(7)), f.FRAME_SIZE_ERROR),
    "window update of 0": (HELLO + f.build(f.WINDOW_UPDATE, 0, 0, bytes(4)), f.PROTOCOL_ERROR),
    "window update too short": (
        HELLO + f.build(f.WINDOW_UPDATE, 0, 0, bytes(3)),
        f.FRAME_SIZE_ERROR,
    ),
    "window overflow": (
        HELLO + f.build(f.WINDOW_UPDATE, 0, 0, (f.WINDOW_BYTES_MAX).to_bytes(4, "big")),
        f.FLOW_CONTROL_ERROR,
    ),
    "push promise": (HELLO + f.build(f.PUSH_PROMISE, 4, 1, bytes(8)), f.PROTOCOL_ERROR),
    "stray continuation": (HELLO + f.build(f.CONTINUATION, 4, 1, b"x"), f.PROTOCOL_ERROR),
    "interrupted header block": (HELLO + headers(1, 0) + data(1, b"x"), f.PROTOCOL_ERROR),
    "continuation of another stream": (
        HELLO + headers(1, 0) + f.build(f.CONTINUATION, 4, 3, b"x"),
        f.PROTOCOL_ERROR,
    ),
    "bad header block": (HELLO + headers(1, f.END_HEADERS, b"\x80"), f.COMPRESSION_ERROR),
    "padding longer than the frame": (
        HELLO + f.build(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\xff" + BLOCK),
        f.PROTOCOL_ERROR,
    ),
    "reset of an idle stream": (HELLO + f.build(f.RST_STREAM, 0, 7, bytes(4)), f.PROTOCOL_ERROR),
    "second headers without end": (HELLO + headers(1) + headers(1), f.PROTOCOL_ERROR),
    "stream depends on itself": (
        HELLO + f.build(f.HEADERS, f.END_HEADERS | f.PRIORITY_FLAG, 1, b"\0\0\0\1\0" + BLOCK),
        f.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("step", [0, 1])
def test_broken_connections_end(name: str, step: int) -> None:
    session = ServerSession(Recorder())
    sent, code = BROKEN[name]
    with pytest.raises(f.ConnectionProtocolError) as caught:
        for at in range(0, len(sent), step or len(sent)):
            session.receive(sent[at : at + (step or len(sent))])
    assert caught.value.error_code == code


@pytest.mark.parametrize(
    "fields",
    [
        [(b":method", b"GET"), (b":scheme", b"http")],
        [(b":method", b"GET"), (b":path", b"/"), (b"a", b"b"), (b":scheme", b"http")],
        [*POST, (b"Upper", b"x")],
        [*POST, (b"connection", b"close")],
        [*POST, (b"te", b"gzip")],
        [*POST, (b":path", b"/again")],
        [*POST, (b":status", b"200")],
    ],
)
def test_malformed_requests_reset_the_stream_only(fields: list[tuple[bytes, bytes]]) -> None:
    session, recorder = started()
    session.receive(headers(1, f.END_HEADERS | f.END_STREAM, encode_headers(tuple(fields))))
    assert [(kind, sid) for kind, _, sid, _ in frames_of(session)] == [(f.RST_STREAM, 1)]
    session.receive(headers(3) + data(3, b"x"))
    assert recorder.events == [("request", 3, b"/a", b"x")]


def answer(session: ServerSession, stream_id: int, body: bytes) -> None:
    session.send_whole(
        stream_id, encode_headers(((b":status", b"200"),)), body, encode_headers(((b"t", b"0"),))
    )


def test_an_answer_is_head_body_trailers() -> None:
    session, _ = started()
    session.receive(headers(1) + data(1, b"x"))
    session.take_output()
    answer(session, 1, b"body")
    got = list(frames_of(session))
    assert [(k, fl & f.END_STREAM) for k, fl, _, _ in got] == [(1, 0), (0, 0), (1, 1)]
    assert got[1][3] == b"body"
    assert Decoder().decode(got[2][3]).headers == ((b"t", b"0"),)
    assert not session.streams


def test_flow_control_holds_an_answer_back_and_lets_it_go() -> None:
    recorder = Recorder()
    session = ServerSession(recorder)
    session.receive(f.PREFACE + f.build_settings({f.SETTINGS_INITIAL_WINDOW_SIZE: 10}))
    session.receive(headers(1) + data(1, b"x"))
    session.take_output()
    answer(session, 1, b"0123456789abcdef")
    assert [p for k, _, _, p in frames_of(session) if k == f.DATA] == [b"0123456789"]
    assert session.pending_bytes(1) == 6
    session.receive(f.build(f.WINDOW_UPDATE, 0, 1, (4).to_bytes(4, "big")))
    assert [p for k, _, _, p in frames_of(session) if k == f.DATA] == [b"abcd"]
    session.receive(f.build_settings({f.SETTINGS_INITIAL_WINDOW_SIZE: 100}))
    got = [(k, p) for k, _, _, p in frames_of(session) if k in (f.DATA, f.HEADERS)]
    assert got[0] == (f.DATA, b"ef")
    assert got[1][0] == f.HEADERS
    assert not session.streams


def test_connection_window_is_shared() -> None:
    session, _ = started()
    for stream_id in (1, 3):
        session.receive(headers(stream_id) + data(stream_id, b"x"))
    session.take_output()
    answer(session, 1, b"a" * 60000)
    answer(session, 3, b"b" * 60000)
    sent = sum(len(p) for k, _, _, p in frames_of(session) if k == f.DATA)
    assert sent == f.DEFAULT_WINDOW_BYTES
    session.receive(f.build(f.WINDOW_UPDATE, 0, 0, (1 << 20).to_bytes(4, "big")))
    sent += sum(len(p) for k, _, _, p in frames_of(session) if k == f.DATA)
    assert sent == 120000


def test_ping_is_answered() -> None:
    session, _ = started()
    session.receive(f.build(f.PING, 0, 0, b"12345678"))
    assert list(frames_of(session)) == [(f.PING, f.ACK, 0, b"12345678")]


def test_ping_flood_without_reading_ends() -> None:
    session, _ = started()
    with pytest.raises(f.ConnectionProtocolError) as caught:
        for _ in range(100_000):
            session.receive(f.build(f.PING, 0, 0, bytes(8)))
    assert caught.value.error_code == f.ENHANCE_YOUR_CALM


def test_rapid_reset_ends() -> None:
    session, _ = started()
    with pytest.raises(f.ConnectionProtocolError) as caught:
        for i in range(30_000):
            session.receive(headers(2 * i + 1) + f.build(f.RST_STREAM, 0, 2 * i + 1, bytes(4)))
            session.take_output()
    assert caught.value.error_code == f.ENHANCE_YOUR_CALM


def test_continuation_flood_ends() -> None:
    session, _ = started()
    session.receive(headers(1, 0, BLOCK[:4]))
    with pytest.raises(f.ConnectionProtocolError) as caught:
        for _ in range(1000):
            session.receive(f.build(f.CONTINUATION, 0, 1, b""))
    assert caught.value.error_code == f.ENHANCE_YOUR_CALM


def test_streamed_request_opens_at_once_and_ends_with_a_reset() -> None:
    session, recorder = started(streamed=True)
    session.receive(headers(1) + data(1, b"a", end=False))
    assert recorder.events == [("open", 1), ("data", 1, b"a")]
    session.receive(f.build(f.RST_STREAM, 0, 1, bytes(4)))
    assert recorder.events[-1] == ("reset", 1)
    answer(session, 1, b"late")
    assert not session.take_output()


def test_goaway_refuses_new_streams_and_answers_old_ones() -> None:
    session, recorder = started()
    session.receive(headers(1))
    session.goaway(f.NO_ERROR)
    session.take_output()
    session.receive(data(1, b"x") + headers(3) + data(3, b"y"))
    assert recorder.events == [("request", 1, b"/a", b"x")]
    assert [(k, s) for k, _, s, _ in frames_of(session)] == [(f.RST_STREAM, 3)]


def test_receive_window_is_replenished() -> None:
    session, _ = started(streamed=True)
    session.receive(headers(1))
    for _ in range(1000):
        session.receive(data(1, bytes(16000), end=False))
    updates = [
        (s, int.from_bytes(p, "big")) for k, _, s, p in frames_of(session) if k == f.WINDOW_UPDATE
    ]
    assert sum(n for s, n in updates if s == 1) >= 16_000_000 - (4 << 20)
    assert sum(n for s, n in updates if s == 0) >= 16_000_000 - (16 << 20) // 2
