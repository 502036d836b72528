"""Requests that do not come forward are given up; those that do are served, however long they take."""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from etcdwire import frames
from etcdwire.hpack import encode_headers
from raftkv.server import connection
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

HEADERS = encode_headers(
    (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/etcdserverpb.KV/Put"),
        (b":authority", b"h"),
        (b"content-type", b"application/grpc"),
    )
)
HELLO = frames.PREFACE + frames.build_settings({})
BEGINNINGS = {
    "http1 headers": b"GET /v2/keys HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "http1 body": b"PUT /v2/keys/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nvalue=",
    "http2 frame": HELLO + b"\x00\x10\x00",
    "http2 header block": HELLO + frames.build(frames.HEADERS, 0, 1, HEADERS[:5]),
    "http2 body": HELLO + frames.build(frames.HEADERS, frames.END_HEADERS, 1, HEADERS),
}


def test_the_sweep_counts_only_requests_that_stand_still() -> None:
    assert connection.REQUEST_TIMEOUT_S > 2 * connection.SWEEP_EVERY_S
    assert connection.CONNECTIONS_MAX >= 64


class Dripper(threading.Thread):
    """A byte now and then, for as long as the other side bears it."""

    def __init__(self, address: tuple[str, int], beginning: bytes, drip: bytes) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.sendall(beginning)
        self._drip = drip
        self._stopping = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._stopping.wait(1.0):
                self.socket.sendall(self._drip)
        except OSError:
            return

    def stop(self) -> None:
        self._stopping.set()
        self.socket.close()


def is_closed(raw: socket.socket) -> bool:
    raw.setblocking(False)
    try:
        while raw.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.skipif(not os.environ.get("RAFTKV_LONG"), reason="only in ./run test-long: 45 s")
def test_slow_loris_is_shown_out(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path) as cluster:
        host, port = cluster.members[0].client_url.removeprefix("http://").split(":")
        address = (host, int(port))
        drippers = {
            name: Dripper(address, beginning, b"" if "2" in name else b"a")
            for name, beginning in BEGINNINGS.items()
        }
        patient = socket.create_connection(address, timeout=60)  # a long poll is no dawdler
        patient.sendall(b"GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: x\r\n\r\n")
        for name, dripper in drippers.items():
            wait_for(lambda d=dripper: is_closed(d.socket), 50, name)
            dripper.stop()
        assert not is_closed(patient)
        patient.close()
        print("all shown out", file=sys.stderr)
