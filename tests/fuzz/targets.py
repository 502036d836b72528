"""What is fed with bytes, which errors it may raise, and inputs to begin from.

A target takes any bytes. It returns, or raises one of its declared errors; anything else is a
find. Where a parser has a writer, what was read is written and read again: it must be the same.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etcdwire import frames as f
from etcdwire import grpc, json_v3
from etcdwire import messages as m
from etcdwire.hpack import Decoder, HpackError, encode_headers
from etcdwire.http2 import ServerSession
from etcdwire.http2_client import ClientSession
from etcdwire.messages_auth import AuthRoleGrantPermissionRequest
from etcdwire.protobuf import DecodeError, decode, encode
from raftkv.api.http import HttpRequest
from raftkv.api.v2_keys import parse
from raftkv.auth.jwt import JwtTokens
from raftkv.backend.errors import CorruptionError
from raftkv.backend.schema import Table
from raftkv.backend.stream import read_rows
from raftkv.bbolt.errors import DamagedDatabaseError
from raftkv.bbolt.reader import Database
from raftkv.bbolt.writer import write_database
from raftkv.log.errors import Corruption
from raftkv.log.record import RecordKind, RecordWriter, SegmentHead
from raftkv.log.segment import read_segment, segment_name
from raftkv.raft.messages import Append, AppendReply, Heartbeat
from raftkv.replica.peer_codec import FrameReader, PeerProtocolError, encode_frame
from raftkv.store.errors_v2 import V2Error
from raftkv.values import Entry, EntryKind, HardState, Index, MemberId, Term
from raftkvctl.options import UsageError
from raftkvctl.txn_text import InputError, read
from tests.unit.etcdwire.test_http2 import HELLO, POST, Recorder, data, headers

INPUT_BYTES_MAX = 4096
"""Of inputs to targets whose seeds are short."""


@dataclass(frozen=True)
class Target:
    """One parser."""

    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]


def _same(message: Any) -> None:
    text = encode(message)
    assert encode(decode(type(message), text)) == text


def _protobuf(raw: bytes) -> None:
    for kind in (m.TxnRequest, m.WatchRequest, m.RangeResponse, AuthRoleGrantPermissionRequest):
        try:
            _same(decode(kind, raw))
        except DecodeError:
            continue


def _json(raw: bytes) -> None:
    message = json_v3.loads(m.TxnRequest, raw.decode("utf-8", "surrogateescape"))
    again = json_v3.loads(m.TxnRequest, json_v3.dumps(message).decode())
    assert encode(again) == encode(message)


def _http2(raw: bytes) -> None:
    for streamed in (False, True):
        recorder = Recorder()
        recorder.streamed = streamed
        session = ServerSession(recorder)
        session.receive(HELLO)
        try:
            for at in range(0, len(raw), 97):
                session.receive(raw[at : at + 97])
        finally:
            session.goaway(f.NO_ERROR)
            assert sum(map(len, session.take_output())) < (2 << 20) + len(raw)


def _http2_client(raw: bytes) -> None:
    session = ClientSession()
    session.request(POST, b"body", end=False)
    session.receive(f.build_settings({}) + raw)
    session.take_output()


def _hpack(raw: bytes) -> None:
    decoder = Decoder(1 << 14)
    for block in (raw, raw):
        fields = decoder.decode(block).headers
        assert sum(len(name) + len(value) + 32 for name, value in fields) <= 1 << 14


def _grpc(raw: bytes) -> None:
    reader = grpc.MessageReader(1 << 16)
    found = [part for at in range(0, len(raw), 13) for part in reader.feed(raw[at : at + 13])]
    whole = b"".join(map(grpc.frame, found))
    assert raw.startswith(whole)
    grpc.parse_timeout(raw[:16])
    grpc.decode_message_text(raw)


def _peer(raw: bytes) -> None:
    reader = FrameReader(1 << 20)
    for at in range(0, len(raw), 31):
        for message in reader.feed(raw[at : at + 31]):
            assert FrameReader().feed(encode_frame(message)) == [message]


def _in_file(raw: bytes, name: str, use: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(dir=_SHARED) as directory:
        path = Path(directory) / name
        path.write_bytes(raw)
        use(path)


_SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None
_WAL = segment_name(1)


def _segment(raw: bytes) -> None:
    for is_last in (False, True):
        try:
            _in_file(raw, _WAL, lambda path: read_segment(path, is_last=is_last))  # noqa: B023
        except Corruption:
            continue


def _bbolt(raw: bytes) -> None:
    def use(path: Path) -> None:
        with Database(path) as database:
            for name in database.bucket_names():
                for _ in database.rows(name):
                    pass

    _in_file(raw, "db", use)


def _stream(raw: bytes) -> None:
    _in_file(raw, "stream", lambda path: list(read_rows(path)))


def _v2(raw: bytes) -> None:
    first, _, rest = raw.partition(b"\n")
    query, _, body = rest.partition(b"\n")
    form = {b"content-type": b"application/x-www-form-urlencoded"}
    path = "/v2/keys" + first.decode("utf-8", "surrogateescape")
    text = query.decode("utf-8", "surrogateescape")
    for method in ("GET", "PUT"):
        try:
            parse(HttpRequest(method, path, text, form, body if method == "PUT" else b""))
        except V2Error:
            continue


def _txn(raw: bytes) -> None:
    _same(read(io.StringIO(raw.decode("utf-8", "surrogateescape")), interactive=False))


_TOKENS = JwtTokens("HS256", b"", b"k" * 32, 300)


def _jwt(raw: bytes) -> None:
    _TOKENS.verify(raw.decode("latin-1"), 1000.0)


def _bbolt_seed() -> bytes:
    file = io.BytesIO()
    rows = [(b"%03d" % number, b"v" * 20) for number in range(50)]
    write_database(file, [(b"key", rows), (b"meta", [])])
    return file.getvalue()


def _stream_seed() -> bytes:
    row = struct.pack(">BII", Table.V2, 3, 5) + b"keyvalue"
    body = b"RKVSNAP1" + row
    padding = -(len(body) + 11) % 512
    body += struct.pack(">BQH", 0xFF, 1, padding) + bytes(padding)
    return body + hashlib.sha256(body).digest()


def _segment_seed() -> bytes:
    writer = RecordWriter()
    writer.add_head(SegmentHead(1, 7, 8, 1))
    writer.add_position(RecordKind.START, 0, 0, ends_write=True)
    for index in range(1, 4):
        writer.add_entry(
            Entry(Term(1), Index(index), EntryKind.COMMANDS, b"x" * 9), ends_write=True
        )
    writer.add_hard_state(HardState(Term(1), MemberId(8), Index(3)), ends_write=True)
    return writer.take() + bytes(64)


_TXN = m.TxnRequest(
    compare=[m.Compare(key=b"a", target=m.CompareTarget.VERSION, version=3)],
    success=[m.RequestOp(request_put=m.PutRequest(b"a", b"b", lease=7))],
    failure=[m.RequestOp(request_range=m.RangeRequest(b"a", b"z", limit=5))],
)
_REQUEST = headers(1) + data(1, b"hello")
_APPEND = Append(
    Term(3), Index(7), Term(2), Index(6),
    (Entry(Term(3), Index(8), EntryKind.COMMANDS, b"data"),),
)  # fmt: skip

TARGETS: dict[str, Target] = {
    "protobuf": Target(_protobuf, (), (encode(_TXN), encode(m.RangeRequest(b"k", b"l", 9)))),
    "gateway-json": Target(_json, (json_v3.JsonError,), (json_v3.dumps(_TXN), b"{}")),
    "http2": Target(
        _http2,
        (f.ConnectionProtocolError,),
        (
            _REQUEST,
            headers(1, 0)[:-3] + f.build(f.CONTINUATION, 4, 1, b"abc"),
            f.build_settings({4: 10}) + f.build(f.WINDOW_UPDATE, 0, 0, b"\0\0\1\0") + _REQUEST,
            f.build(f.PING, 0, 0, bytes(8)) + f.build(f.GOAWAY, 0, 0, bytes(8)),
        ),
    ),
    "http2-client": Target(
        _http2_client,
        (f.ConnectionProtocolError,),
        (
            f.build(f.HEADERS, 4, 1, encode_headers(((b":status", b"200"),)))
            + f.build(f.DATA, 0, 1, grpc.frame(b"x"))
            + f.build(f.HEADERS, 5, 1, encode_headers(((b"grpc-status", b"0"),))),
            f.build(f.RST_STREAM, 0, 1, bytes(4)) + f.build(f.GOAWAY, 0, 0, bytes(8)),
        ),
    ),
    "hpack": Target(
        _hpack,
        (HpackError,),
        (encode_headers(POST), bytes.fromhex("828684410f7777772e6578616d706c652e636f6d"),
         bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff3fe11f")),
    ),
    "grpc": Target(_grpc, (grpc.FramingError,), (grpc.frame(b"abc") * 3, b"10S", b"a%20b%")),
    "peer-frames": Target(
        _peer,
        (PeerProtocolError,),
        tuple(
            map(
                encode_frame,
                (_APPEND, AppendReply(Term(3), Index(8)), Heartbeat(Term(3), Index(8), 1)),
            )
        ),
    ),
    "log-segment": Target(_segment, (), (_segment_seed(),)),
    "bbolt": Target(_bbolt, (DamagedDatabaseError,), (_bbolt_seed(),)),
    "member-snapshot": Target(_stream, (CorruptionError,), (_stream_seed(),)),
    "v2-request": Target(
        _v2, (), (b"/a/../b\nprevExist=true&ttl=5\nvalue=x%20y", b"/\nwait=true&waitIndex=7\n")
    ),
    "txn-text": Target(
        _txn,
        (InputError, UsageError),
        (b'mod("k") > "0"\nvalue("x") = "a\\"b"\n\nput k v\n\nget k --prefix\n', b"\n\n\n"),
    ),
    "jwt": Target(_jwt, (), (_TOKENS.sign("root", 7, 999.0).encode(), b"a.b.c")),
}  # fmt: skip


def load_corpus(name: str) -> list[bytes]:
    """The seeds of a target, and whatever was once a find."""
    folder = Path(__file__).parent / "corpus" / name
    kept = sorted(folder.iterdir()) if folder.is_dir() else []
    return [*TARGETS[name].seeds, *(path.read_bytes() for path in kept)]


def input_bytes_max(name: str) -> int:
    """How long inputs to a target may become: a database has at least its pages."""
    return max(INPUT_BYTES_MAX, 2 * max(map(len, TARGETS[name].seeds)))
