r"""The peer plane: one outgoing connection per member for messages, more for snapshots.

A connection begins with a magic line and one JSON line that says who calls whom:

    RKVPEER1\n
    {"kind": "messages" | "snapshot", "cluster": hex, "from": hex, "to": hex, "level": 2}\n

and the acceptor answers one JSON line, ``{"ok": true, "level": 2}`` or ``{"error": ...}``. The
level is what a member understands (``replica.levels``); the first version does not tell one. Who
understands less than the cluster agreed on is refused. Frames of
``peer_codec`` follow, one way. Anything else on this port is plain HTTP (``/members``).
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from raftkv.api.figures import Figures
from raftkv.raft.messages import Commit, Message
from raftkv.replica.effects import Send
from raftkv.replica.levels import FIRST_LEVEL, LEVEL
from raftkv.replica.peer_codec import FrameReader, PeerProtocolError, encode_frame
from raftkv.server.guard import Guard
from raftkv.server.held_commit import HELD_S, HeldCommit
from raftkv.server.tls import PEER_SERVER_NAME
from raftkv.values import ClusterId, Member, MemberId, Membership

MAGIC: Final = b"RKVPEER1\n"
HELLO_BYTES_MAX: Final = 4096
RECONNECT_FIRST_S: Final = 0.05
RECONNECT_MAX_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 3.0
UNSENT_BYTES_MAX: Final = 64 << 20
"""Beyond it messages to a peer that does not read are dropped: Raft sends them again."""
_LOG: Final = logging.getLogger("raftkv.peers")


class PeerHost(Protocol):
    """What the peer plane needs of the driver."""

    cluster_id: ClusterId
    member_id: MemberId
    figures: Figures

    def peer_member(self, member_id: MemberId) -> Member | None:
        """A member of the cluster, as far as it is known."""

    def is_removed(self, member_id: MemberId) -> bool:
        """Whether this id may never come back."""

    def is_known_name(self, names: frozenset[str]) -> bool:
        """Whether one of these names is a member's name."""

    def receive_messages(self, sender: MemberId, messages: list[Message]) -> None:
        """Messages of a peer whose identity was checked."""

    @property
    def membership(self) -> Membership:
        """The applied membership."""

    def peer_level(self, member_id: MemberId, level: int) -> None:
        """A peer told what it understands."""

    def peer_lost(self, member_id: MemberId) -> None:
        """The connection to this peer broke."""

    def peer_refuses(self, member_id: MemberId) -> None:
        """The connection to this peer broke, and nobody listens at its address any more."""

    def incoming_opened(self, member_id: MemberId) -> None:
        """A peer connected for its messages."""

    def incoming_closed(self, member_id: MemberId) -> None:
        """Such a connection ended."""

    def removed_by(self, member_id: MemberId) -> None:
        """A peer says that this member was removed."""

    def open_incoming(self, sender: MemberId, named: dict[str, Any]) -> Incoming:
        """A peer wants to send a snapshot; ``named`` is what it says of it.

        Raises:
            ValueError, KeyError: malformed.
            OSError: there is no room for it.
        """


class Incoming(Protocol):
    """A snapshot being received."""

    @property
    def offset(self) -> int | None:
        """How many bytes are here already; None for a sender that does not want to know."""

    def write(self, chunk: bytes) -> None:
        """One piece."""

    def finish(self, answer: Callable[[bool], None]) -> None:
        """All pieces are here: verify, install, answer."""

    def abandon(self) -> None:
        """The connection broke."""


def hello(kind: str, host: PeerHost, to: MemberId, more: dict[str, Any] | None = None) -> bytes:
    """The opening of a connection; ``more`` is what only this kind has to say."""
    line = {
        "kind": kind,
        "cluster": f"{host.cluster_id:x}",
        "from": f"{host.member_id:x}",
        "to": f"{to:x}",
        "level": LEVEL,
        **(more or {}),
    }
    return MAGIC + json.dumps(line).encode() + b"\n"


class PeerLink(asyncio.Protocol):
    """The outgoing connection to one member; reconnects by itself until closed."""

    def __init__(
        self,
        host: PeerHost,
        member_id: MemberId,
        urls: tuple[str, ...],
        context: ssl.SSLContext | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._host = host
        self._member_id = member_id
        self.urls = urls
        self._context = context
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._is_accepted = False
        self._is_broken = False
        """A connection that stood has broken, and what follows is not known yet."""
        self._answer = b""
        self._gathered: list[bytes] = []
        self._held = HeldCommit()
        self._held_timer: asyncio.TimerHandle | None = None
        self._delay_s = RECONNECT_FIRST_S
        self._attempt = 0
        self._is_closed = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._said = ""
        """What is wrong with this connection; empty while it stands."""
        self._figures = host.figures.peer(member_id)
        self.connect()

    def connect(self) -> None:
        """Begin to connect."""
        self._timer = None
        if not self._is_closed:
            self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        url = urlsplit(self.urls[self._attempt % len(self.urls)])
        self._attempt += 1
        try:
            await asyncio.wait_for(
                self._loop.create_connection(
                    lambda: self,
                    url.hostname or "",
                    url.port or 0,
                    ssl=self._context if url.scheme == "https" else None,
                    server_hostname=PEER_SERVER_NAME if url.scheme == "https" else None,
                ),
                CONNECT_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError, asyncio.TimeoutError) as error:
            self._say(f"cannot reach peer {self._member_id:x} at {url.geturl()}: {error}")
            if self._is_broken and is_refusal(error):
                self._host.peer_refuses(self._member_id)
            self._is_broken = False
            self._retry()

    def _say(self, text: str) -> None:
        """Log a state once, not at every attempt."""
        if text != self._said:
            self._said = text
            _LOG.warning(text)

    def _retry(self) -> None:
        if self._is_closed:
            return
        self._timer = self._loop.call_later(self._delay_s, self.connect)
        self._delay_s = min(self._delay_s * 2, RECONNECT_MAX_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Introduce ourselves."""
        transport = cast(asyncio.Transport, transport)  # uvloop has its own classes
        if self._is_closed:
            transport.abort()
            return
        self._transport = transport
        self._is_accepted = False
        self._answer = b""
        transport.write(hello("messages", self._host, self._member_id))

    def data_received(self, data: bytes) -> None:
        """The answer to our introduction; nothing else comes this way."""
        self._answer += data
        if b"\n" not in self._answer or len(self._answer) > HELLO_BYTES_MAX:
            return
        answer = _read_json(self._answer)
        level = _read_level(answer)
        if answer.get("ok") and level < self._host.membership.level:
            answer = {"error": _describe_level(level, self._host)}
        if answer.get("ok"):
            self._host.peer_level(self._member_id, level)
            self._is_accepted = True
            self._is_broken = False
            self._delay_s = RECONNECT_FIRST_S
            self._said = ""
            _LOG.info("established connection with peer %x", self._member_id)
            return
        reason = str(answer.get("error"))
        self._say(f"peer {self._member_id:x} refused us: {reason}")
        if reason == "removed":
            self._host.removed_by(self._member_id)
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Tell the replica, and try again."""
        was_accepted = self._is_accepted
        self._transport = None
        self._is_accepted = False
        self._gathered.clear()
        self._held.take()
        if was_accepted and not self._is_closed:
            self._figures.send_failures += 1
            self._is_broken = True
            self._host.peer_lost(self._member_id)
        self._retry()

    def send(self, message: Message, frame: bytes = b"") -> bytes:
        """Gather one message for this turn; dropped when the peer cannot take it.

        Args:
            message: what to send.
            frame: the same, encoded for another peer; empty when nobody did that.

        Returns:
            the frame, if there is one now.
        """
        if not self._is_accepted:
            return frame
        if type(message) is Commit and self._held.hold(message, self._loop.time()):
            if self._held_timer is None:
                self._held_timer = self._loop.call_later(HELD_S, self._send_held)
            return frame
        held = self._held.take_before(message)
        if held is not None:
            self._gathered.append(encode_frame(held))
        frame = frame or encode_frame(message)
        self._gathered.append(frame)
        return frame

    def be_prompt(self) -> None:
        """The peer asked for something: its clients wait for what is committed."""
        self._held.be_prompt(self._loop.time())

    def _send_held(self) -> None:
        self._held_timer = None
        left_s = self._held.due_in_s(self._loop.time())
        if left_s:
            self._held_timer = self._loop.call_later(left_s, self._send_held)
            return
        held = self._held.take()
        if held is not None:
            self._gathered.append(encode_frame(held))
            self.flush()

    def flush(self) -> None:
        """Write what gathered."""
        gathered = self._gathered
        if not gathered:
            return
        transport = self._transport
        if transport is not None and transport.get_write_buffer_size() < UNSENT_BYTES_MAX:
            data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
            self._figures.sent_bytes += len(data)
            transport.write(data)
        gathered.clear()

    @property
    def trouble(self) -> str:
        """Why this member cannot be reached; empty when it can."""
        return "" if self._is_accepted else self._said

    def use_context(self, context: ssl.SSLContext | None) -> None:
        """Connect with this from the next attempt on."""
        self._context = context

    def close(self) -> None:
        """No more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._held_timer is not None:
            self._held_timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.close()


def send_all(links: Mapping[MemberId, PeerLink], sends: Sequence[Send]) -> None:
    """Send one step's messages.

    Each member's leave as soon as they are there: the first to have an entry syncs it while the
    others' are written. A message to several is encoded once.
    """
    current: PeerLink | None = None
    shared: Message | None = None
    frame = b""
    for send in sends:
        link = links.get(send.to)
        if link is None:
            continue
        if link is not current:
            if current is not None:
                current.flush()
            current = link
        if send.message is not shared:
            shared, frame = send.message, b""
        frame = link.send(send.message, frame)
    if current is not None:
        current.flush()


class PeerConnections:
    """All accepted connections of the peer plane, and what is asked of their certificates."""

    def __init__(self, host: PeerHost, make_plain: Callable[[], asyncio.Protocol]) -> None:
        self.host = host
        self.make_plain = make_plain
        self.open: set[PeerConnection] = set()
        self.guard = Guard()
        self._members: list[ssl.SSLContext] = []

    def use(self, guard: Guard, members: ssl.SSLContext | None) -> None:
        """Ask for this from now on, also of those who are connected."""
        self.guard = guard
        if members is not None:
            # A handshake under way may still end with the former one.
            self._members = [*self._members[-1:], members]
        for connection in list(self.open):
            connection.close_if_refused()

    def is_member_context(self, tls: ssl.SSLObject | None) -> bool:
        """Whether this caller was verified as a member, by the peer CA alone."""
        return tls is None or any(tls.context is context for context in self._members)


class PeerConnection(asyncio.Protocol):
    """An accepted connection: messages, a snapshot, or plain HTTP for those who just ask."""

    def __init__(self, group: PeerConnections) -> None:
        self._group = group
        self._host = group.host
        self._plain: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._sender = MemberId(0)
        self._reader: FrameReader | None = None
        self._incoming: Incoming | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        transport = cast(asyncio.Transport, transport)  # uvloop has its own classes
        self._transport = transport
        self._group.open.add(self)
        self.close_if_refused()

    def close_if_refused(self) -> None:
        """Drop a caller whose certificate is not (or no longer) good enough."""
        transport = self._transport
        if transport is None:
            return
        reason = self._group.guard.refusal(transport.get_extra_info("ssl_object"))
        if reason:
            _LOG.warning("rejected a peer connection: %s", reason)
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was under way."""
        self._group.open.discard(self)
        if self._reader is not None:
            self._host.incoming_closed(self._sender)
        if self._plain is not None:
            self._plain.connection_lost(exc)
        if self._incoming is not None:
            self._incoming.abandon()
            self._incoming = None
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Messages, most of the time."""
        reader = self._reader
        if reader is not None:
            try:
                messages = reader.feed(data)
            except PeerProtocolError as error:
                _LOG.warning("closing connection of peer %x: %s", self._sender, error)
                self._close()
                return
            if messages:
                self._host.figures.peer(self._sender).received_bytes += len(data)
                self._host.receive_messages(self._sender, messages)
        elif self._plain is not None:
            self._plain.data_received(data)
        elif self._incoming is not None:
            self._buffer += data
            self._read_snapshot()
        else:
            self._buffer += data
            self._begin()

    def pause_writing(self) -> None:
        """Only the plain half writes much."""
        if isinstance(self._plain, asyncio.Protocol):
            self._plain.pause_writing()

    def resume_writing(self) -> None:
        """See ``pause_writing``."""
        if isinstance(self._plain, asyncio.Protocol):
            self._plain.resume_writing()

    def _begin(self) -> None:
        size = min(len(self._buffer), len(MAGIC))
        if self._buffer[:size] != MAGIC[:size]:
            assert self._transport is not None
            self._plain = self._group.make_plain()
            self._plain.connection_made(self._transport)
            self._plain.data_received(self._buffer)
            self._buffer = b""
            return
        line, newline, rest = self._buffer[len(MAGIC) :].partition(b"\n")
        if not newline:
            if len(self._buffer) > HELLO_BYTES_MAX:
                self._close()
            return
        introduction = _read_json(line)
        problem = self._check(introduction)
        answer: dict[str, Any] = {"ok": True, "level": LEVEL}
        if not problem and introduction.get("kind") == "snapshot":
            try:
                named = introduction.get("snapshot", {})
                self._incoming = self._host.open_incoming(self._sender, named)
            except (KeyError, TypeError, ValueError, OSError) as error:
                problem = f"cannot take this snapshot: {error}"
            else:
                if self._incoming.offset is not None:
                    answer["offset"] = self._incoming.offset
        if problem:
            answer = {"error": problem}
        if self._transport is not None:
            self._transport.write(json.dumps(answer).encode() + b"\n")
        if problem:
            _LOG.warning("refused a peer connection: %s", problem)
            self._close()
            return
        self._buffer = b""
        if self._incoming is None:
            self._reader = FrameReader()
            self._host.incoming_opened(self._sender)
        if rest:
            self.data_received(rest)

    def _check(self, introduction: dict[str, Any]) -> str:
        """Why this caller is refused; empty when it is welcome."""
        host = self._host
        try:
            cluster, sender, to = (int(introduction[k], 16) for k in ("cluster", "from", "to"))
        except (KeyError, TypeError, ValueError):
            return "malformed introduction"
        if cluster != host.cluster_id:
            return f"cluster ID mismatch: this is {host.cluster_id:x}, you are of {cluster:x}"
        self._sender = MemberId(sender)
        if host.is_removed(self._sender):
            return "removed"
        if to != host.member_id:
            return f"this is member {host.member_id:x}, not {to:x}"
        level = _read_level(introduction)
        if level < host.membership.level:
            return _describe_level(level, host)
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        if not self._group.is_member_context(tls):
            return f"a member asks for the server name {PEER_SERVER_NAME!r} (SNI)"
        return self._check_certificate()

    def _check_certificate(self) -> str:
        """Bind the certificate to the member that the caller says to be (ARCHITECTURE, trust)."""
        certificate = (
            self._transport.get_extra_info("peercert") if self._transport is not None else None
        )
        if not certificate:
            return ""
        names = certificate_names(certificate)
        member = self._host.peer_member(self._sender)
        if member is not None:
            hosts = {urlsplit(url).hostname or "" for url in member.peer_urls}
            if member.name in names or (not member.name and hosts & names):
                return ""
        if self._host.is_known_name(names):
            return f"the certificate is of {', '.join(sorted(names))}, not of {self._sender:x}"
        return ""

    def _read_snapshot(self) -> None:
        incoming = self._incoming
        while incoming is not None and len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big")
            if size == 0:
                self._incoming = None
                incoming.finish(self._answer_snapshot)
                return
            if size > 16 << 20:
                self._close()
                return
            if len(self._buffer) < 4 + size:
                return
            incoming.write(self._buffer[4 : 4 + size])
            self._buffer = self._buffer[4 + size :]

    def _answer_snapshot(self, ok: bool) -> None:  # noqa: FBT001 - a callback's one argument
        if self._transport is not None:
            self._transport.write(json.dumps({"installed": ok}).encode() + b"\n")
            self._transport.close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def is_refusal(error: BaseException) -> bool:
    """Whether every address that was tried refused, so that surely nobody listens.

    For a name with several addresses asyncio puts all errors into the text of one.
    """
    if isinstance(error, ConnectionRefusedError):
        return True
    numbers = re.findall(r"\[Errno (\d+)\]", str(error))
    return bool(numbers) and all(int(number) == errno.ECONNREFUSED for number in numbers)


def certificate_names(certificate: dict[str, Any]) -> frozenset[str]:
    """Common name, DNS names and addresses of a certificate as ``ssl`` presents it."""
    names = {value for kind, value in certificate.get("subjectAltName", ())}
    for rdn in certificate.get("subject", ()):
        names.update(value for key, value in rdn if key == "commonName")
    return frozenset(names)


def _read_level(line: dict[str, Any]) -> int:
    level = line.get("level", FIRST_LEVEL)
    return level if isinstance(level, int) else FIRST_LEVEL


def _describe_level(level: int, host: PeerHost) -> str:
    return (
        f"the version of this member is too old: it understands level {level}, the cluster is at "
        f"{host.membership.level}"
    )


def _read_json(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
