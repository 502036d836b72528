"""Listening sockets: bound before anything else is touched, served with replaceable contexts."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from raftkv.server.config import Config, Url
from raftkv.server.flags import ConfigError
from raftkv.server.tls_accept import TlsAcceptor

BACKLOG: Final = 1024
_LOG: Final = logging.getLogger("raftkv")


@dataclass(frozen=True, slots=True)
class Bound:
    """One socket of one plane."""

    plane: str
    url: Url
    socket: socket.socket


class Listener:
    """One address being served."""

    def __init__(self, bound: Bound, factory: Callable[[], asyncio.Protocol]) -> None:
        self.plane = bound.plane
        self._bound = bound
        self._factory = factory
        self._server: asyncio.Server | TlsAcceptor | None = None

    async def serve(self, context: ssl.SSLContext | None) -> None:
        """Serve, from now on with this context; who is connected stays."""
        if isinstance(self._server, TlsAcceptor):
            assert context is not None
            self._server.context = context
        elif self._server is None:
            self._server = await self._start(context if self._bound.url.is_tls else None)
            _LOG.info("listening for %s on %s", self.plane, self._bound.url)

    async def _start(self, context: ssl.SSLContext | None) -> asyncio.Server | TlsAcceptor:
        loop, listening = asyncio.get_running_loop(), self._bound.socket
        if context is None:
            return await loop.create_server(self._factory, sock=listening.dup(), backlog=BACKLOG)
        listening.listen(BACKLOG)
        return TlsAcceptor(loop, listening, self._factory, context)

    def close(self) -> None:
        """No new connections."""
        if self._server is not None:
            self._server.close()
        self._bound.socket.close()


def bind_all(config: Config, planes: Sequence[str] = ("peer", "client", "metrics")) -> list[Bound]:
    """Bind every address first: a busy port must not leave a half-made data directory.

    Raises:
        ConfigError: names the address and why it cannot be used.
    """
    return [
        Bound(plane, url, listener)
        for plane, urls in (
            ("peer", config.listen_peer),
            ("client", config.listen_client),
            ("metrics", config.listen_metrics),
        )
        if plane in planes
        for url in urls
        for listener in bind(url)
    ]


def bind(url: Url) -> list[socket.socket]:
    """Bind all addresses of one URL.

    Raises:
        ConfigError: see ``bind_all``.
    """
    out: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {url}: {error.strerror}") from None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            listener = socket.socket(family, kind, protocol)
        except OSError:
            continue  # no IPv6 on this machine
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(address)
        except OSError as error:
            listener.close()
            if family == socket.AF_INET6 and out:
                continue
            raise ConfigError(f"cannot listen on {url}: {error.strerror}") from None
        listener.setblocking(False)
        out.append(listener)
    return out
