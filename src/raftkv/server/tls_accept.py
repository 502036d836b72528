"""Taking connections on a TLS address: what says nothing costs a descriptor, not a TLS state.

A TLS state is some 50 KiB before the first byte has come. Whoever opens ten thousand connections and
says nothing would have the member's memory for it (GHSA-6vch-q96h-7gc3 describes the like in etcd).
So a connection waits as a bare socket until its first byte can be read; only then it gets a state
and a handshake, which have a time limit of their own.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from raftkv.server.connection import CONNECTIONS_MAX

TLS_TIMEOUT_S: Final = 10.0
"""A connection that says nothing is gone after this; so is one that does not end its handshake."""
SILENT_MAX: Final = CONNECTIONS_MAX // 2
"""Beyond it the one that has been silent the longest makes room: descriptors are for those who talk."""
ACCEPTS_PER_TURN: Final = 64
"""The loop has other things to do than to welcome a flood."""
NO_DESCRIPTORS_PAUSE_S: Final = 0.5
WARNING_INTERVAL_S: Final = 10.0
"""A flood says so once in a while, not once for each of its connections."""
_LACKING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOG: Final = logging.getLogger("raftkv.connections")


class TlsAcceptor:
    """Accepts on one listening socket, with a context that may be replaced at any time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
    ) -> None:
        self.context = context
        """For the handshakes from now on."""
        self._loop = loop
        self._listening = listening
        self._factory = factory
        self._silent: dict[socket.socket, float] = {}
        """When each one has to have said something; the oldest first."""
        self._handshakes: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._next_warning = -math.inf
        loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Take nobody new, and let go those who have said nothing; handshakes go on."""
        self._loop.remove_reader(self._listening)
        for timer in (self._sweeper, self._pause):
            if timer is not None:
                timer.cancel()
        for quiet in list(self._silent):
            self._forget(quiet)
            quiet.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _LACKING:
                    raise
                self._make_room(error)
                return
            accepted.setblocking(False)
            if len(self._silent) >= SILENT_MAX:
                self._drop_oldest()
            self._silent[accepted] = self._loop.time() + TLS_TIMEOUT_S
            self._loop.add_reader(accepted, self._begin, accepted)
            if self._sweeper is None:
                self._sweeper = self._loop.call_later(TLS_TIMEOUT_S, self._sweep)

    def _make_room(self, error: OSError) -> None:
        """No descriptor is left: the backlog keeps callers until there is one."""
        if self._loop.time() >= self._next_warning:
            self._next_warning = self._loop.time() + WARNING_INTERVAL_S
            _LOG.warning("cannot accept on %s: %s", self._listening.getsockname(), error.strerror)
        if self._silent:
            self._drop_oldest()
            return
        self._loop.remove_reader(self._listening)
        self._pause = self._loop.call_later(
            NO_DESCRIPTORS_PAUSE_S, self._loop.add_reader, self._listening, self._accept
        )

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._silent))
        self._forget(oldest)
        oldest.close()

    def _forget(self, quiet: socket.socket) -> None:
        del self._silent[quiet]
        self._loop.remove_reader(quiet)

    def _sweep(self) -> None:
        self._sweeper = None
        now, gone = self._loop.time(), 0
        while self._silent and next(iter(self._silent.values())) <= now:
            self._drop_oldest()
            gone += 1
        if gone:
            _LOG.info(
                "closed %d connections to %s that said nothing for %.0f s",
                gone,
                self._listening.getsockname(),
                TLS_TIMEOUT_S,
            )
        if self._silent:
            wait_s = next(iter(self._silent.values())) - now
            self._sweeper = self._loop.call_later(wait_s, self._sweep)

    def _begin(self, speaking: socket.socket) -> None:
        """The first byte is there, or the caller is gone."""
        self._forget(speaking)
        task = self._loop.create_task(self._shake_hands(speaking))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, speaking: socket.socket) -> None:
        # What fails here is the caller's doing, and told to it by an alert (see ``tls``).
        with suppress(OSError):  # which ssl.SSLError and a connection's end are
            await self._loop.connect_accepted_socket(
                self._factory, speaking, ssl=self.context, ssl_handshake_timeout=TLS_TIMEOUT_S
            )
