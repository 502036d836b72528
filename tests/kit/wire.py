"""One HTTP/2 connection under a test's own hands: many streams at once, read when the test likes."""

from __future__ import annotations

import select
import socket
import ssl
from urllib.parse import urlsplit

from etcdwire import grpc
from etcdwire.http2_client import ClientSession
from kvclient.connection import request_headers

READ_BYTES = 1 << 20


class Wire:
    """With TLS when there is a context."""

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        raw = socket.create_connection((parts.hostname, parts.port), timeout=120)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=parts.hostname) if context else raw
        self._scheme = parts.scheme.encode()
        self._authority = parts.netloc.encode()
        self.session = ClientSession()

    def call(self, method: bytes, body: bytes, *, end: bool) -> int:
        """Begin a call of ``Service/Method``, sent with the next flush; its stream id."""
        path = b"/etcdserverpb." + method
        headers = request_headers(self._scheme, self._authority, path, ())
        return self.session.request(headers, grpc.frame(body), end=end)

    def flush(self) -> None:
        """Send what there is to send."""
        output = self.session.take_output()
        if output:
            self.socket.sendall(output)

    def receive(self) -> None:
        """Take what comes next, and answer what has to be answered.

        Raises:
            ConnectionError: the server hung up.
        """
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.session.receive(data)
        self.flush()

    def receive_within(self, timeout_s: float) -> bool:
        """The same if something comes in time; whether it did."""
        pending = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        if not pending and not select.select([self.socket], [], [], timeout_s)[0]:
            return False
        self.receive()
        return True

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
