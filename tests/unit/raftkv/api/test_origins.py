"""Which web pages may use a member, and under which names it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from raftkv.api.http import Headers, HttpReply, HttpRequest
from raftkv.api.origins import Origins

EVIL = b"http://evil.example"


@dataclass
class Answer:
    """A reply that keeps what it is told."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    is_open: bool = True
    pieces: list[bytes] = field(default_factory=list)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def start(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    def send(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def finish(self) -> None:
        self.is_open = False

    def pending_bytes(self) -> int:
        return len(self.pieces)

    def on_close(self, callback: Callable[[], None]) -> None:
        callback()


def plane(request: HttpRequest, reply: HttpReply) -> None:
    reply.respond(200, ((b"X-Served", request.method.encode()),), b"")


def ask(
    method: str = "GET",
    *,
    cors: str = "",
    hosts: str = "*",
    tls: bool = False,
    **headers: bytes,
) -> Answer:
    rules = Origins(frozenset(cors.split()), frozenset(hosts.split()))
    named = {name.encode(): value for name, value in headers.items()}
    answer = Answer()
    rules.protect(plane, is_tls=tls)(HttpRequest(method, "/v2/keys", "", named, b""), answer)
    return answer


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_a_foreign_page_changes_nothing(method: str) -> None:
    answer = ask(method, host=b"10.0.0.1:2379", origin=EVIL)
    assert answer.status == 403
    assert b"--cors http://evil.example" in answer.body
    assert ask(method, host=b"10.0.0.1:2379", origin=b"null").status == 403


def test_reads_pass_but_no_page_may_see_them() -> None:
    answer = ask(host=b"10.0.0.1:2379", origin=EVIL)
    assert answer.status == 200
    assert [name for name, _ in answer.headers] == [b"X-Served"]


def test_own_pages_and_programs_are_served() -> None:
    assert ask("PUT", host=b"10.0.0.1:2379", origin=b"https://10.0.0.1:2379").status == 200
    assert ask("PUT", host=b"10.0.0.1:2379").status == 200


@pytest.mark.parametrize(("cors", "sent"), [("*", b"*"), ("http://evil.example http://b", EVIL)])
def test_named_origins_are_served_and_told_so(cors: str, sent: bytes) -> None:
    answer = ask("PUT", cors=cors, host=b"h", origin=EVIL)
    assert answer.status == 200
    assert dict(answer.headers)[b"Access-Control-Allow-Origin"] == sent
    assert dict(answer.headers)[b"X-Served"] == b"PUT"
    assert ask("OPTIONS", cors=cors, host=b"h", origin=EVIL).headers[0][0].startswith(b"Access-")


def test_an_origin_beside_the_named_ones_is_foreign() -> None:
    assert ask("PUT", cors="http://b", host=b"h", origin=EVIL).status == 403


def test_a_streamed_answer_says_so_too() -> None:
    answer = Answer()

    def streaming(request: HttpRequest, reply: HttpReply) -> None:
        assert request.method == "GET"
        assert reply.is_open
        reply.start(200, ())
        reply.send(b"x")
        assert reply.pending_bytes() == 1
        reply.finish()

    rules = Origins(frozenset("*"), frozenset("*"))
    rules.protect(streaming, is_tls=False)(HttpRequest("GET", "/", "", {}, b""), answer)
    assert dict(answer.headers)[b"Access-Control-Allow-Origin"] == b"*"
    assert answer.pieces == [b"x"]


@pytest.mark.parametrize("host", [b"rebound.example", b"rebound.example:2379", b"", b"[::1]:2379"])
def test_other_names_are_refused_over_plain_http(host: bytes) -> None:
    answer = ask(hosts="etcd.example 127.0.0.1", host=host)
    assert answer.status == 421
    assert b"--host-whitelist" in answer.body
    assert ask(hosts="etcd.example", tls=True, host=host).status == 200


@pytest.mark.parametrize(
    "host", [b"etcd.example", b"ETCD.example:2379", b"127.0.0.1:1", b"[::1]:2"]
)
def test_listed_names_are_served(host: bytes) -> None:
    assert ask(hosts="etcd.example 127.0.0.1 ::1", host=host).status == 200
