"""A forward proxy on the bridge, so that hooks can install packages through the host.

Serves plain requests with absolute URLs and CONNECT, for machines of this host only. Where the
host itself has a proxy configured for apt, requests are passed on to it.
"""

import os
import re
import selectors
import socket
import subprocess
import threading
from contextlib import suppress
from urllib.parse import urlsplit

PORT = 3128
HEAD_BYTES_MAX = 64 << 10
CONNECT_SECONDS = 20.0


def upstream_proxy() -> tuple[str, int] | None:
    """Return the host's own proxy for apt, if it has one."""
    url = os.environ.get("http_proxy") or os.environ.get("HTTP_PROXY") or ""
    with suppress(OSError):
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
        match = re.search(r'^Acquire::http::Proxy "([^"]+)";', dump.stdout, re.MULTILINE)
        if match and match[1] != "DIRECT":
            url = match[1]
    parts = urlsplit(url)
    return (parts.hostname, parts.port or 80) if parts.hostname else None


class AptProxy:
    """Listens on the bridge's address."""

    def __init__(self, address: str) -> None:
        self._upstream = upstream_proxy()
        self._listener = socket.create_server((address, PORT), backlog=32)
        threading.Thread(target=self._accept, daemon=True, name="apt-proxy").start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError, IndexError):
            head, rest = _read_head(client)
            line, _, headers = head.partition(b"\r\n")
            method, target, version = line.split(b" ", 2)
            if self._upstream is not None:
                server = socket.create_connection(self._upstream, CONNECT_SECONDS)
                server.sendall(head + b"\r\n\r\n" + rest)
            elif method == b"CONNECT":
                host, _, port = target.decode().rpartition(":")
                server = socket.create_connection((host, int(port)), CONNECT_SECONDS)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                url = urlsplit(target.decode())
                server = socket.create_connection(
                    (url.hostname or "", url.port or 80), CONNECT_SECONDS
                )
                path = (url.path or "/") + (f"?{url.query}" if url.query else "")
                # One request per connection keeps this simple; apt opens another.
                kept = [h for h in headers.split(b"\r\n") if not _is_hop(h)]
                first = b" ".join([method, path.encode(), version])
                server.sendall(b"\r\n".join([first, *kept, b"Connection: close", b"", b""]) + rest)
            with server:
                server.settimeout(None)
                _relay(client, server)


def _is_hop(header: bytes) -> bool:
    return header.partition(b":")[0].strip().lower() in {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
    }


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(8192)
        if not piece or len(data) > HEAD_BYTES_MAX:
            raise ValueError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until either side ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                source = key.fileobj
                assert isinstance(source, socket.socket)
                data = source.recv(1 << 16)
                if not data:
                    return
                key.data.sendall(data)
