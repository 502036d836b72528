"""Finding the members' client URLs: from their peer URLs, again and again.

``/members`` answers on the peer port of etcd 2 and of raftkvd. Where an address turns out to be a
client URL (etcd 3.4 lets no client in on 2380), ``/v2/members`` says the same.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from raftkv.proxy.directory import Directory
from raftkv.proxy.upstream import Header, Upstream

RETRY_S: Final = 1.0
"""While there is nobody to ask, ask this often (etcd's director)."""
BODY_BYTES_MAX: Final = 1 << 20
PATHS: Final = ("/members", "/v2/members")
_LOG: Final = logging.getLogger("raftkv.proxy")


class MemberFinder:
    """Keeps a directory up to date, and a file with the peer URLs for the next start."""

    def __init__(
        self,
        directory: Directory,
        upstream: Upstream,
        peer_urls: tuple[str, ...],
        file: Path,
        refresh_s: float,
    ) -> None:
        self._directory = directory
        self._upstream = upstream
        self._peer_urls = peer_urls
        self._remembered: tuple[str, ...] = ()
        self._file = file
        self._refresh_s = refresh_s

    def refresh(self) -> None:
        """Ask the first member that answers, and come back later."""
        _Question(self._upstream, self._peer_urls, self._take).ask_next()

    def _take(self, members: list[dict[str, Any]] | None) -> None:
        urls = [url for m in members or () for url in m.get("clientURLs") or ()]
        peer_urls = tuple(sorted({url for m in members or () for url in m.get("peerURLs") or ()}))
        if urls:
            if set(urls) != set(self._directory.endpoints):
                _LOG.info("endpoints found: %s", ", ".join(sorted(urls)))
            self._directory.replace(urls)
        if peer_urls and peer_urls != self._remembered:
            self._peer_urls = self._remembered = peer_urls
            self._remember()
        wait_s = self._refresh_s if self._directory.endpoints else min(RETRY_S, self._refresh_s)
        self._upstream.loop.call_later(wait_s, self.refresh)

    def _remember(self) -> None:
        """A proxy that starts again must not depend on members that are long gone."""
        temporary = self._file.with_suffix(".next")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_text(json.dumps({"PeerURLs": list(self._peer_urls)}))
            temporary.replace(self._file)
        except OSError as error:
            _LOG.warning("cannot write %s: %s", self._file, os.strerror(error.errno or 0))


def remembered_peer_urls(file: Path) -> tuple[str, ...]:
    """What a former run wrote; empty when there is nothing to be read."""
    try:
        urls = json.loads(file.read_text())["PeerURLs"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return tuple(url for url in urls if isinstance(url, str))


class _Question:
    """One round of asking for the members (``upstream.Sink``)."""

    def __init__(
        self,
        upstream: Upstream,
        urls: tuple[str, ...],
        done: Callable[[list[dict[str, Any]] | None], None],
    ) -> None:
        self._upstream = upstream
        self._left = [(url, path) for url in urls for path in PATHS]
        self._done = done
        self._status = 0
        self._body = b""

    def ask_next(self) -> None:
        """Ask the next address."""
        if not self._left:
            _LOG.warning("no member answers: trying again")
            self._done(None)
            return
        url, path = self._left.pop(0)
        self._status, self._body = 0, b""
        host = urlsplit(url).netloc
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._upstream.request(url, b"GET", head, b"", self)

    def begin(self, status: int, headers: list[Header], *, has_length: bool) -> None:
        """Status and headers."""
        del headers, has_length
        self._status = status

    def body(self, piece: bytes) -> None:
        """A piece of the list."""
        if len(self._body) < BODY_BYTES_MAX:
            self._body += piece

    def end(self) -> None:
        """Read the list."""
        try:
            data = json.loads(self._body) if self._status == 200 else None
        except ValueError:
            data = None
        # The peer port answers a bare list, the client port an object.
        members = data.get("members") if isinstance(data, dict) else data
        if isinstance(members, list) and all(isinstance(m, dict) for m in members) and members:
            self._done(members)
        else:
            self.ask_next()

    def fail(self, *, was_sent: bool, has_begun: bool) -> None:
        """Nobody there."""
        del was_sent, has_begun
        self.ask_next()
