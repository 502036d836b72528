"""Snapshots on their way: read from the backend, sent to a peer, received and installed."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from raftkv.backend import schema
from raftkv.backend.environment import Environment, View
from raftkv.backend.errors import StorageError
from raftkv.backend.schema import Table
from raftkv.backend.stream import export_chunks, import_file
from raftkv.log.segment import sync_directory
from raftkv.server.peers import PeerHost, hello
from raftkv.server.tls import PEER_SERVER_NAME
from raftkv.values import ClusterId, Index, Member, MemberId, Term

_LOG: Final = logging.getLogger("raftkv.snapshots")
SEND_TIMEOUT_S: Final = 3600.0


class BackendSnapshot:
    """A consistent snapshot being read (``api.host.SnapshotSource``)."""

    def __init__(self, environment: Environment, closed: Callable[[], None]) -> None:
        self._closed: Callable[[], None] | None = closed
        self._view: View = environment.view()
        self.index = Index(self._view.number(schema.META_APPLIED_INDEX))
        self.term = Term(self._view.number(schema.META_APPLIED_TERM))
        self.size_bytes = environment.used_bytes()
        self._chunks: Iterator[bytes] = export_chunks(self._view)

    def next_chunk(self) -> bytes | None:
        """The next piece, None at the end."""
        return next(self._chunks, None)

    def close(self) -> None:
        """Release the view."""
        self._view.close()
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()


async def send_snapshot(
    host: PeerHost,
    member: Member,
    source: BackendSnapshot,
    leader_term: Term,
    context: ssl.SSLContext | None,
) -> bool:
    """Stream a snapshot to a member on a connection of its own; whether it was installed."""
    url = urlsplit(member.peer_urls[0])
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            url.hostname,
            url.port,
            ssl=context if url.scheme == "https" else None,
            server_hostname=PEER_SERVER_NAME if url.scheme == "https" else None,
        ),
        5.0,
    )
    try:
        writer.write(hello("snapshot", host, member.member_id))
        if not json.loads(await reader.readline()).get("ok"):
            return False
        front = json.dumps(
            {"index": source.index, "term": source.term, "leader_term": leader_term}
        ).encode()
        writer.write(len(front).to_bytes(4, "big") + front)
        while (chunk := source.next_chunk()) is not None:
            writer.write(len(chunk).to_bytes(4, "big") + chunk)
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(bytes(4))
        await writer.drain()
        answer = await asyncio.wait_for(reader.readline(), SEND_TIMEOUT_S)
        return bool(answer and json.loads(answer).get("installed"))
    finally:
        writer.close()


class IncomingSnapshot:
    """A snapshot being received: first a JSON piece that says what it is, then its bytes."""

    def __init__(
        self,
        directory: Path,
        sender: MemberId,
        received: Callable[[IncomingSnapshot, Callable[[bool], None]], None],
    ) -> None:
        self.sender = sender
        self.path = directory / f"incoming-{sender:x}.snap"
        self._received = received
        self._file = self.path.open("wb")
        self.index = Index(0)
        self.term = Term(0)
        self.leader_term = Term(0)

    def write(self, chunk: bytes) -> None:
        """One piece."""
        if not self.index:
            front = json.loads(chunk)
            self.index = Index(front["index"])
            self.term = Term(front["term"])
            self.leader_term = Term(front["leader_term"])
            return
        self._file.write(chunk)

    def finish(self, answer: Callable[[bool], None]) -> None:
        """All pieces are here."""
        self._file.close()
        self._received(self, answer)

    def abandon(self) -> None:
        """The connection broke."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def unpack(
    path: Path, directory: Path, cluster_id: ClusterId, member_id: MemberId, index: Index
) -> None:
    """Verify a received snapshot and make a backend of it, beside the present one. Blocks.

    Raises:
        StorageError: damaged, or not the snapshot that was announced.
    """
    shutil.rmtree(directory, ignore_errors=True)
    environment = Environment(directory)
    try:
        import_file(path, environment, skip=schema.LOCAL_META)
        view = environment.view()
        found = view.number(schema.META_APPLIED_INDEX)
        view.close()
        if found != index:
            raise StorageError(f"snapshot holds index {found}, announced was {index}")
        number = schema.encode_number
        environment.write_rows(
            [
                (Table.META, schema.META_CLUSTER_ID, number(cluster_id)),
                (Table.META, schema.META_MEMBER_ID, number(member_id)),
            ],
        )
        environment.commit()
    finally:
        environment.close()
    sync_directory(directory)
    path.unlink(missing_ok=True)
