"""Snapshots on their way between members: from a file, at a limited rate, continued where they broke.

The sender's introduction (see ``peers``) names the snapshot: its index and term, the leader's term,
an id, and its size. The receiver answers how many bytes of that id it holds already. Each piece is
``length u32 big-endian | bytes``; a length of 0 ends it, and is answered once it is installed. (At
level 1 the sender named it in a first piece instead, and always began at 0.)
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError
from raftkv.backend.schema import Table
from raftkv.log.segment import sync_directory
from raftkv.server.pace import Pace
from raftkv.server.peers import PeerHost, hello
from raftkv.server.tls import PEER_SERVER_NAME
from raftkv.values import ClusterId, Index, Member, MemberId, Term

SPOOL_PREFIX: Final = "spool-"
INCOMING_PREFIX: Final = "incoming-"
INCOMING_KEPT_S: Final = 3600.0
INSTALL_TIMEOUT_S: Final = 3600.0
CONNECT_TIMEOUT_S: Final = 5.0
PIECE_BYTES: Final = 256 << 10
_LOG: Final = logging.getLogger("raftkv.snapshots")


@dataclass(frozen=True, slots=True)
class Spool:
    """A snapshot that waits in a file to be sent."""

    path: Path
    snapshot_id: str
    index: Index
    term: Term
    size_bytes: int


class Refused(Exception):  # noqa: N818 - the receiver's word, not a failure of ours
    """The receiver will not have this snapshot: trying again is of no use."""


async def send_snapshot(
    host: PeerHost,
    member: Member,
    spool: Spool,
    leader_term: Term,
    context: ssl.SSLContext | None,
    pace: Pace,
) -> bool:
    """Stream a snapshot to a member on a connection of its own; whether it was installed.

    Raises:
        Refused: it is not wanted.
        OSError, asyncio.TimeoutError, ValueError: the connection broke; may be continued.
    """
    url = urlsplit(member.peer_urls[0])
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(
            url.hostname,
            url.port,
            ssl=context if url.scheme == "https" else None,
            server_hostname=PEER_SERVER_NAME if url.scheme == "https" else None,
        ),
        CONNECT_TIMEOUT_S,
    )
    front = {"index": spool.index, "term": spool.term, "leader_term": leader_term}
    try:
        named = {**front, "id": spool.snapshot_id, "size": spool.size_bytes}
        writer.write(hello("snapshot", host, member.member_id, {"snapshot": named}))
        answer = json.loads(await asyncio.wait_for(reader.readline(), CONNECT_TIMEOUT_S))
        if not answer.get("ok"):
            raise Refused(str(answer.get("error")))
        if "offset" not in answer:  # a member of level 1
            first = json.dumps(front).encode()
            writer.write(len(first).to_bytes(4, "big") + first)
        offset = int(answer.get("offset", 0))
        if offset:
            _LOG.info("going on with byte %d of %d", offset, spool.size_bytes)
        await _send_file(writer, spool.path, offset, pace)
        answer = await asyncio.wait_for(reader.readline(), INSTALL_TIMEOUT_S)
        if not answer:
            raise ConnectionResetError("the member hung up before it had installed it")
        return bool(json.loads(answer).get("installed"))
    finally:
        writer.close()


async def _send_file(writer: asyncio.StreamWriter, path: Path, offset: int, pace: Pace) -> None:
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while piece := file.read(PIECE_BYTES):
            writer.write(len(piece).to_bytes(4, "big") + piece)
            await writer.drain()
            now_s = loop.time()
            # Never to send in a burst what could not be sent before: that is what traffic feels.
            due_s = max(due_s + len(piece) / pace.read_bytes_per_s(now_s), now_s - 1)
            await asyncio.sleep(max(0.0, due_s - now_s))
    writer.write(bytes(4))
    await writer.drain()


class IncomingSnapshot:
    """A snapshot being received."""

    def __init__(
        self,
        directory: Path,
        sender: MemberId,
        named: dict[str, Any],
        received: Callable[[IncomingSnapshot, Callable[[bool], None]], None],
    ) -> None:
        """``named``: what the introduction says of it; empty from a sender of level 1.

        Raises:
            ValueError: the introduction is malformed.
        """
        self.sender = sender
        self._received = received
        self.index, self.term, self.leader_term = Index(0), Term(0), Term(0)
        snapshot_id = str(named.get("id", ""))
        if snapshot_id and not snapshot_id.isalnum():
            raise ValueError(f"snapshot id {snapshot_id!r}")
        prefix = f"{INCOMING_PREFIX}{sender:x}-"
        self.path = directory / f"{prefix}{snapshot_id or 'first'}"
        for former in directory.glob(f"{prefix}*"):
            if former != self.path or not snapshot_id:
                former.unlink()
        self._is_named = bool(snapshot_id)
        if self._is_named:
            self._take_front(named)
        self._file = self.path.open("ab")
        size_bytes = int(named.get("size", 0))
        if self._file.tell() > size_bytes:
            self._file.truncate(0)
        self.path.chmod(0o600)

    @property
    def offset(self) -> int | None:
        """How many bytes are here already; None for a sender that does not want to know."""
        return self._file.tell() if self._is_named else None

    def _take_front(self, front: dict[str, Any]) -> None:
        self.index = Index(int(front["index"]))
        self.term = Term(int(front["term"]))
        self.leader_term = Term(int(front["leader_term"]))

    def write(self, chunk: bytes) -> None:
        """One piece."""
        if not self.index:
            self._take_front(json.loads(chunk))
            return
        self._file.write(chunk)

    def finish(self, answer: Callable[[bool], None]) -> None:
        """All pieces are here."""
        self._file.close()
        self._received(self, answer)

    def abandon(self) -> None:
        """The connection broke: what has come is kept, it may go on."""
        self._file.close()
        if not self._is_named:
            self.path.unlink(missing_ok=True)


def adopt(directory: Path, cluster_id: ClusterId, member_id: MemberId, index: Index) -> None:
    """Make an unpacked snapshot this member's own.

    Raises:
        StorageError: it is not the snapshot that was announced.
    """
    environment = Environment(directory)
    try:
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
