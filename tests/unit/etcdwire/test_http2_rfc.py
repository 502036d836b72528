"""RFC 9113, section by section: what a client sends, and what the server's half makes of it.

The id of a case is the section and what is wrong, or right, in it. Beside these stand
``test_http2.py`` (requests in every cut, flow control, floods) and ``test_hpack.py`` (RFC 7541).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from etcdwire import frames as f
from etcdwire.hpack import encode_headers
from etcdwire.http2 import ServerSession
from tests.unit.etcdwire.test_http2 import HELLO, POST, Recorder, data, frames_of, headers

END = f.END_HEADERS | f.END_STREAM
GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a"))


@dataclass(frozen=True)
class Expected:
    """What must come of it; a connection error ends everything else."""

    goaway: int | None = None
    resets: tuple[tuple[int, int], ...] = ()
    """(stream, error code)."""
    requests: tuple[tuple[int, bytes], ...] = ()
    """(stream, body)."""
    sent: tuple[tuple[int, int, int, bytes], ...] = field(default=())
    """Other frames that must be sent: (type, flags, stream, payload)."""


def goaway(code: int) -> Expected:
    return Expected(goaway=code)


def reset(code: int, stream_id: int = 1) -> Expected:
    return Expected(resets=((stream_id, code),))


def served(*requests: tuple[int, bytes]) -> Expected:
    return Expected(requests=requests or ((1, b""),))


def settings(payload: bytes = b"", flags: int = 0, stream_id: int = 0) -> bytes:
    return f.build(f.SETTINGS, flags, stream_id, payload)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def window(stream_id: int, increment: int) -> bytes:
    return f.build(f.WINDOW_UPDATE, 0, stream_id, number(increment))


def rst(stream_id: int, payload: bytes = bytes(4)) -> bytes:
    return f.build(f.RST_STREAM, 0, stream_id, payload)


def request(*fields: tuple[bytes, bytes], stream_id: int = 1, base: object = GET) -> bytes:
    assert isinstance(base, tuple)
    return headers(stream_id, END, encode_headers((*base, *fields)))


def post(*fields: tuple[bytes, bytes], body: bytes = b"hello") -> bytes:
    return headers(1, f.END_HEADERS, encode_headers((*POST, *fields))) + data(1, body)


ACKED = ((f.SETTINGS, f.ACK, 0, b""),)

CONNECTION: dict[str, tuple[bytes, Expected]] = {
    "3.4 no preface": (b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n" + settings(), goaway(f.PROTOCOL_ERROR)),
    "3.4 preface cut short by another byte": (f.PREFACE[:-1] + b"x", goaway(f.PROTOCOL_ERROR)),
    "3.4 first frame is PING": (f.PREFACE + f.build(f.PING, 0, 0, bytes(8)),
                                goaway(f.PROTOCOL_ERROR)),
    "3.4 first frame is WINDOW_UPDATE": (f.PREFACE + window(0, 1), goaway(f.PROTOCOL_ERROR)),
    "3.4 first frame is unknown": (f.PREFACE + f.build(99, 0, 0, b""), goaway(f.PROTOCOL_ERROR)),
    "3.4 empty SETTINGS begin": (f.PREFACE + settings(), Expected(sent=ACKED)),
    "4.1 unknown type on a stream": (HELLO + request() + f.build(0xEE, 0xFF, 1, b"zz"), served()),
    "4.1 unknown flags": (HELLO + headers(1, END | 0x82, encode_headers(GET)), served()),
    "4.1 reserved bit of the stream is ignored": (
        HELLO + request()[:5] + bytes((request()[5] | 0x80,)) + request()[6:], served()),
    "4.2 frame of 16384 bytes": (
        HELLO + headers(1) + data(1, bytes(100), end=False) + f.build(99, 0, 0, bytes(16384))
        + data(1, b""),
        served((1, bytes(100)))),
    "4.2 frame of 16385 bytes": (HELLO + f.build(99, 0, 0, bytes(16385)),
                                 goaway(f.FRAME_SIZE_ERROR)),
    "4.3 block that ends inside a field": (HELLO + headers(1, END, b"\x00\x05ab"),
                                           goaway(f.COMPRESSION_ERROR)),
    "4.3 block with an unknown index": (HELLO + headers(1, END, b"\xff\x80\x01"),
                                        goaway(f.COMPRESSION_ERROR)),
    "4.3 PING inside a header block": (
        HELLO + headers(1, 0) + f.build(f.PING, 0, 0, bytes(8)), goaway(f.PROTOCOL_ERROR)),
    "4.3 unknown type inside a header block": (
        HELLO + headers(1, 0) + f.build(99, 0, 1, b""), goaway(f.PROTOCOL_ERROR)),
    "4.3 HEADERS inside a header block": (HELLO + headers(1, 0) + headers(3),
                                          goaway(f.PROTOCOL_ERROR)),
    "4.3 malformed request keeps the table": (
        HELLO
        + headers(1, END, b"\x40\x01x\x01y" + encode_headers(GET))  # a field before ":method"
        + headers(3, END, encode_headers(GET) + b"\xbe"),
        Expected(resets=((1, f.PROTOCOL_ERROR),), requests=((3, b""),))),
    "5.1 idle: DATA": (HELLO + data(1, b"x"), goaway(f.PROTOCOL_ERROR)),
    "5.1 idle: RST_STREAM": (HELLO + rst(1), goaway(f.PROTOCOL_ERROR)),
    "5.1 idle: WINDOW_UPDATE": (HELLO + window(1, 1), goaway(f.PROTOCOL_ERROR)),
    "5.1 idle: CONTINUATION": (HELLO + f.build(f.CONTINUATION, 4, 1, b""),
                               goaway(f.PROTOCOL_ERROR)),
    "5.1 idle: PRIORITY is allowed": (HELLO + f.build(f.PRIORITY, 0, 1, bytes(5)) + request(),
                                      served()),
    "5.1 half-closed: DATA": (
        HELLO + request() + data(1, b"x"),
        Expected(resets=((1, f.STREAM_CLOSED),), requests=((1, b""),))),
    "5.1 half-closed: HEADERS": (
        HELLO + request() + request(),
        Expected(resets=((1, f.STREAM_CLOSED),), requests=((1, b""),))),
    "5.1 half-closed: HEADERS without END_STREAM": (
        HELLO + request() + headers(1),
        Expected(resets=((1, f.STREAM_CLOSED),), requests=((1, b""),))),
    "5.1 half-closed: WINDOW_UPDATE is allowed": (HELLO + request() + window(1, 5), served()),
    "5.1 half-closed: PRIORITY is allowed": (
        HELLO + request() + f.build(f.PRIORITY, 0, 1, bytes(5)), served()),
    "5.1 half-closed: RST_STREAM is allowed": (HELLO + request() + rst(1), served()),
    "5.1 closed by the client's reset: HEADERS": (HELLO + headers(1) + rst(1) + headers(1),
                                                  goaway(f.STREAM_CLOSED)),
    "5.1 closed by the client's reset: DATA is dropped": (
        HELLO + headers(1) + rst(1) + data(1, b"x") + request(stream_id=3), served((3, b""))),
    "5.1 closed by our reset: DATA is dropped": (
        HELLO + headers(1, f.END_HEADERS, encode_headers(((b"x", b"y"),))) + data(1, b"x")
        + request(stream_id=3),
        Expected(resets=((1, f.PROTOCOL_ERROR),), requests=((3, b""),))),
    "5.1 closed: WINDOW_UPDATE is dropped": (
        HELLO + headers(1) + rst(1) + window(1, 1) + request(stream_id=3), served((3, b""))),
    "5.1.1 even stream": (HELLO + request(stream_id=2), goaway(f.PROTOCOL_ERROR)),
    "5.1.1 stream 0": (HELLO + request(stream_id=0), goaway(f.PROTOCOL_ERROR)),
    "5.1.1 lower stream than before": (HELLO + request(stream_id=5) + request(stream_id=3),
                                       goaway(f.STREAM_CLOSED)),
    "5.1.1 streams may be left out": (HELLO + request(stream_id=7) + request(stream_id=101),
                                      served((7, b""), (101, b""))),
    "5.1.1 the last stream of all": (HELLO + request(stream_id=(1 << 31) - 1),
                                     served(((1 << 31) - 1, b""))),
    "5.4.1 what follows an error is not read": (
        HELLO + f.build(f.PING, 0, 0, b"") + request(), goaway(f.FRAME_SIZE_ERROR)),
    "5.5 unknown setting": (f.PREFACE + settings(b"\xff\xff" + bytes(4)) + request(), served()),
    "6.1 DATA on stream 0": (HELLO + data(0, b"x"), goaway(f.PROTOCOL_ERROR)),
    "6.1 all but the length is padding": (
        HELLO + headers(1) + f.build(f.DATA, f.PADDED | f.END_STREAM, 1, b"\x02xx"), served()),
    "6.1 padding longer than the frame": (
        HELLO + headers(1) + f.build(f.DATA, f.PADDED, 1, b"\x03xx"), goaway(f.PROTOCOL_ERROR)),
    "6.1 padded without a length": (HELLO + headers(1) + f.build(f.DATA, f.PADDED, 1, b""),
                                    goaway(f.PROTOCOL_ERROR)),
    "6.1 padding only": (
        HELLO + headers(1) + f.build(f.DATA, f.PADDED | f.END_STREAM, 1, b"\x04" + bytes(4)),
        served()),
    "6.1 empty DATA": (HELLO + headers(1) + data(1, b""), served()),
    "6.2 HEADERS padding longer than the frame": (
        HELLO + f.build(f.HEADERS, END | f.PADDED, 1, b"\x05abcd"), goaway(f.PROTOCOL_ERROR)),
    "6.2 HEADERS priority cut short": (
        HELLO + f.build(f.HEADERS, END | f.PRIORITY_FLAG, 1, b"abcd"),
        goaway(f.FRAME_SIZE_ERROR)),
    "6.2 HEADERS padded and with priority": (
        HELLO + f.build(f.HEADERS, END | f.PADDED | f.PRIORITY_FLAG, 1,
                        b"\x02" + bytes(5) + encode_headers(GET) + bytes(2)),
        served()),
    "6.2 END_STREAM before the block has ended": (
        HELLO + headers(1, f.END_STREAM, encode_headers(GET)[:4])
        + f.build(f.CONTINUATION, 4, 1, encode_headers(GET)[4:]),
        served()),
    "6.3 PRIORITY of four bytes": (HELLO + f.build(f.PRIORITY, 0, 1, bytes(4)),
                                   goaway(f.FRAME_SIZE_ERROR)),
    "6.3 PRIORITY on stream 0": (HELLO + f.build(f.PRIORITY, 0, 0, bytes(5)),
                                 goaway(f.PROTOCOL_ERROR)),
    "6.4 RST_STREAM of three bytes": (HELLO + headers(1) + rst(1, bytes(3)),
                                      goaway(f.FRAME_SIZE_ERROR)),
    "6.4 RST_STREAM of five bytes": (HELLO + headers(1) + rst(1, bytes(5)),
                                     goaway(f.FRAME_SIZE_ERROR)),
    "6.4 RST_STREAM on stream 0": (HELLO + rst(0), goaway(f.PROTOCOL_ERROR)),
    "6.4 RST_STREAM with an unknown code": (HELLO + headers(1) + rst(1, b"\xff" * 4)
                                            + request(stream_id=3), served((3, b""))),
    "6.5 SETTINGS on a stream": (HELLO + settings(stream_id=1), goaway(f.PROTOCOL_ERROR)),
    "6.5 SETTINGS of five bytes": (HELLO + settings(bytes(5)), goaway(f.FRAME_SIZE_ERROR)),
    "6.5 acknowledgement with a payload": (HELLO + settings(bytes(6), f.ACK),
                                           goaway(f.FRAME_SIZE_ERROR)),
    "6.5 acknowledgement is taken in silence": (HELLO + settings(b"", f.ACK) + request(), served()),
    "6.5.2 ENABLE_PUSH of 2": (HELLO + f.build_settings({2: 2}), goaway(f.PROTOCOL_ERROR)),
    "6.5.2 ENABLE_PUSH of 0 and 1": (HELLO + f.build_settings({2: 0}) + f.build_settings({2: 1}),
                                     Expected()),
    "6.5.2 MAX_CONCURRENT_STREAMS of 0": (HELLO + f.build_settings({3: 0}) + request(), served()),
    "6.5.2 INITIAL_WINDOW_SIZE of 2^31": (HELLO + f.build_settings({4: 1 << 31}),
                                          goaway(f.FLOW_CONTROL_ERROR)),
    "6.5.2 INITIAL_WINDOW_SIZE of 2^31-1": (
        HELLO + f.build_settings({4: (1 << 31) - 1}) + request(), served()),
    "6.5.2 MAX_FRAME_SIZE of 16383": (HELLO + f.build_settings({5: 16383}),
                                      goaway(f.PROTOCOL_ERROR)),
    "6.5.2 MAX_FRAME_SIZE of 2^24": (HELLO + f.build_settings({5: 1 << 24}),
                                     goaway(f.PROTOCOL_ERROR)),
    "6.5.2 MAX_FRAME_SIZE of 2^24-1": (HELLO + f.build_settings({5: (1 << 24) - 1}), Expected()),
    "6.5.3 the same setting twice: the last counts": (
        HELLO + settings(b"\0\2" + number(1) + b"\0\2" + number(0)) + request(), served()),
    "6.6 PUSH_PROMISE": (HELLO + headers(1) + f.build(f.PUSH_PROMISE, 4, 1, number(2)),
                         goaway(f.PROTOCOL_ERROR)),
    "6.7 PING of nine bytes": (HELLO + f.build(f.PING, 0, 0, bytes(9)), goaway(f.FRAME_SIZE_ERROR)),
    "6.7 PING on a stream": (HELLO + f.build(f.PING, 0, 1, bytes(8)), goaway(f.PROTOCOL_ERROR)),
    "6.7 PING is answered with its payload": (
        HELLO + f.build(f.PING, 0, 0, b"abcdefgh"),
        Expected(sent=(*ACKED, (f.PING, f.ACK, 0, b"abcdefgh")))),
    "6.7 answer to a PING that nobody sent": (HELLO + f.build(f.PING, f.ACK, 0, bytes(8)),
                                              Expected(sent=ACKED)),
    "6.8 GOAWAY on a stream": (HELLO + f.build(f.GOAWAY, 0, 1, bytes(8)), goaway(f.PROTOCOL_ERROR)),
    "6.8 GOAWAY of seven bytes": (HELLO + f.build(f.GOAWAY, 0, 0, bytes(7)),
                                  goaway(f.FRAME_SIZE_ERROR)),
    "6.8 what was asked before GOAWAY is served": (
        HELLO + headers(1) + f.build(f.GOAWAY, 0, 0, bytes(8)) + data(1, b"x"), served((1, b"x"))),
    "6.9 WINDOW_UPDATE of three bytes": (HELLO + f.build(f.WINDOW_UPDATE, 0, 0, bytes(3)),
                                         goaway(f.FRAME_SIZE_ERROR)),
    "6.9 increment of 0 on the connection": (HELLO + window(0, 0), goaway(f.PROTOCOL_ERROR)),
    "6.9 increment of 0 on a stream": (HELLO + headers(1) + window(1, 0), reset(f.PROTOCOL_ERROR)),
    "6.9 reserved bit of the increment is ignored": (
        HELLO + headers(1) + window(1, 1 << 31 | 1) + data(1, b"x"), served((1, b"x"))),
    "6.9.1 window of the connection above 2^31-1": (
        HELLO + window(0, (1 << 31) - 1), goaway(f.FLOW_CONTROL_ERROR)),
    "6.9.1 window of a stream above 2^31-1": (
        HELLO + headers(1) + window(1, (1 << 31) - 1), reset(f.FLOW_CONTROL_ERROR)),
    "6.9.1 window of 2^31-1 exactly": (
        HELLO + headers(1) + window(1, (1 << 31) - 1 - f.DEFAULT_WINDOW_BYTES) + data(1, b""),
        served()),
    "6.9.2 initial window makes a stream's overflow": (
        HELLO + headers(1) + window(1, 1) + f.build_settings({4: (1 << 31) - 1}),
        goaway(f.FLOW_CONTROL_ERROR)),
    "6.10 CONTINUATION after the block has ended": (
        HELLO + headers(1) + f.build(f.CONTINUATION, 4, 1, b""), goaway(f.PROTOCOL_ERROR)),
    "6.10 CONTINUATION on stream 0": (
        HELLO + headers(1, 0) + f.build(f.CONTINUATION, 4, 0, b""), goaway(f.PROTOCOL_ERROR)),
    "6.10 CONTINUATION after DATA": (
        HELLO + headers(1) + data(1, b"x", end=False) + f.build(f.CONTINUATION, 4, 1, b""),
        goaway(f.PROTOCOL_ERROR)),
    "6.10 several CONTINUATIONs": (
        HELLO + headers(1, f.END_STREAM, encode_headers(GET)[:3])
        + f.build(f.CONTINUATION, 0, 1, encode_headers(GET)[3:6])
        + f.build(f.CONTINUATION, 4, 1, encode_headers(GET)[6:]),
        served()),
}  # fmt: skip

MESSAGES: dict[str, tuple[bytes, Expected]] = {
    "8.1 trailers": (
        headers(1) + data(1, b"x", end=False)
        + headers(1, END, encode_headers(((b"grpc-status", b"0"),))),
        served((1, b"x"))),
    "8.1 trailers with a pseudo-header": (
        headers(1) + data(1, b"x", end=False) + headers(1, END, encode_headers(((b":path", b"/"),))),
        reset(f.PROTOCOL_ERROR)),
    "8.1 trailers without END_STREAM": (
        headers(1) + headers(1, f.END_HEADERS, encode_headers(((b"a", b"b"),))),
        goaway(f.PROTOCOL_ERROR)),
    "8.1.1 content-length above the body": (post((b"content-length", b"6")),
                                            reset(f.PROTOCOL_ERROR)),
    "8.1.1 content-length below the body": (post((b"content-length", b"4")),
                                            reset(f.PROTOCOL_ERROR)),
    "8.1.1 content-length of the body": (post((b"content-length", b"5")), served((1, b"hello"))),
    "8.1.1 content-length of two pieces": (
        headers(1, f.END_HEADERS, encode_headers((*POST, (b"content-length", b"4"))))
        + data(1, b"ab", end=False) + data(1, b"cd"),
        served((1, b"abcd"))),
    "8.1.1 content-length of two pieces that are too few": (
        headers(1, f.END_HEADERS, encode_headers((*POST, (b"content-length", b"5"))))
        + data(1, b"ab", end=False) + data(1, b"cd"),
        reset(f.PROTOCOL_ERROR)),
    "8.1.1 content-length and no body": (request((b"content-length", b"1")),
                                         reset(f.PROTOCOL_ERROR)),
    "8.1.1 content-length that is no number": (post((b"content-length", b"+5")),
                                               reset(f.PROTOCOL_ERROR)),
    "8.1.1 two content-lengths": (post((b"content-length", b"5"), (b"content-length", b"5")),
                                  reset(f.PROTOCOL_ERROR)),
    "8.2 name in capitals": (request((b"X-A", b"b")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 empty name": (request((b"", b"b")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 blank in a name": (request((b"a b", b"c")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 colon in a name": (request((b"a:b", b"c")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 byte above 127 in a name": (request((b"\xff", b"c")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 NUL in a value": (request((b"a", b"b\0c")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 CR in a value": (request((b"a", b"b\rc")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 LF in a value": (request((b"a", b"b\nc: d")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 value that begins with a blank": (request((b"a", b" b")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 value that ends with a tab": (request((b"a", b"b\t")), reset(f.PROTOCOL_ERROR)),
    "8.2.1 LF in a path": (
        request(base=((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/a\nb"))),
        reset(f.PROTOCOL_ERROR)),
    "8.2.1 empty value": (request((b"a", b"")), served()),
    "8.2.1 UTF-8 in a value": (request((b"a", "\xe9".encode())), served()),
    "8.2.2 connection": (request((b"connection", b"close")), reset(f.PROTOCOL_ERROR)),
    "8.2.2 keep-alive": (request((b"keep-alive", b"1")), reset(f.PROTOCOL_ERROR)),
    "8.2.2 proxy-connection": (request((b"proxy-connection", b"x")), reset(f.PROTOCOL_ERROR)),
    "8.2.2 transfer-encoding": (request((b"transfer-encoding", b"chunked")),
                                reset(f.PROTOCOL_ERROR)),
    "8.2.2 upgrade": (request((b"upgrade", b"h2c")), reset(f.PROTOCOL_ERROR)),
    "8.2.2 te: gzip": (request((b"te", b"gzip")), reset(f.PROTOCOL_ERROR)),
    "8.2.2 te: trailers": (request((b"te", b"trailers")), served()),
    "8.3 pseudo-header after a field": (
        request(base=((b":method", b"GET"), (b"a", b"b"), (b":path", b"/"), (b":scheme", b"http"))),
        reset(f.PROTOCOL_ERROR)),
    "8.3 unknown pseudo-header": (request(base=(*GET, (b":protocol", b"x"))),
                                  reset(f.PROTOCOL_ERROR)),
    "8.3 pseudo-header of an answer": (request(base=(*GET, (b":status", b"200"))),
                                       reset(f.PROTOCOL_ERROR)),
    "8.3.1 no method": (request(base=GET[1:]), reset(f.PROTOCOL_ERROR)),
    "8.3.1 no scheme": (request(base=(GET[0], GET[2])), reset(f.PROTOCOL_ERROR)),
    "8.3.1 no path": (request(base=GET[:2]), reset(f.PROTOCOL_ERROR)),
    "8.3.1 empty path": (request(base=(*GET[:2], (b":path", b""))), reset(f.PROTOCOL_ERROR)),
    "8.3.1 two methods": (request(base=(GET[0], *GET)), reset(f.PROTOCOL_ERROR)),
    "8.3.1 two schemes": (request(base=(GET[1], *GET)), reset(f.PROTOCOL_ERROR)),
    "8.3.1 two paths": (request(base=(GET[2], *GET)), reset(f.PROTOCOL_ERROR)),
    "8.3.1 two authorities": (
        request(base=(*GET, (b":authority", b"a"), (b":authority", b"a"))),
        reset(f.PROTOCOL_ERROR)),
    "8.3.1 host beside an authority that differs": (
        request((b"host", b"b"), base=(*GET, (b":authority", b"a"))), reset(f.PROTOCOL_ERROR)),
    "8.3.1 host beside the same authority": (
        request((b"host", b"a"), base=(*GET, (b":authority", b"a"))), served()),
    "8.3.1 no authority": (request(), served()),
    "8.7 a reset request is not served": (
        headers(1) + data(1, b"x", end=False) + rst(1) + request(stream_id=3), served((3, b""))),
}  # fmt: skip

CASES = CONNECTION | {name: (HELLO + sent, what) for name, (sent, what) in MESSAGES.items()}


@pytest.mark.parametrize("name", CASES)
def test_rfc_9113(name: str) -> None:
    sent, expected = CASES[name]
    recorder = Recorder()
    session = ServerSession(recorder)
    session.take_output()
    if expected.goaway is not None:
        with pytest.raises(f.ConnectionProtocolError) as caught:
            session.receive(sent)
        assert caught.value.error_code == expected.goaway
        return
    session.receive(sent)
    frames = list(frames_of(session))
    resets = [(s, int.from_bytes(p, "big")) for kind, _, s, p in frames if kind == f.RST_STREAM]
    assert tuple(resets) == expected.resets
    asked = [event[1:] for event in recorder.events if event[0] == "request"]
    assert tuple((stream, body) for stream, _, body in asked) == expected.requests
    if expected.sent:
        assert tuple(frames) == expected.sent


def test_what_a_client_makes_us_reset_counts_as_its_resets() -> None:
    """5.4.2 and CVE-2025-8671: a stream error costs the server as much as a reset."""
    session = ServerSession(Recorder())
    session.receive(HELLO)
    with pytest.raises(f.ConnectionProtocolError) as caught:
        for stream_id in range(1, 60_000, 2):
            session.receive(headers(stream_id) + window(stream_id, 0))
            session.take_output()
    assert caught.value.error_code == f.ENHANCE_YOUR_CALM


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 120
