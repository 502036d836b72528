"""Watches that go on after a break, without gaps, repetitions or halves of a revision.

``Cursor`` is the arithmetic, without any I/O; ``Watch`` and ``aio.Watch`` carry it out.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Final

from etcdwire import messages as m
from etcdwire.errors import Code
from etcdwire.protobuf import decode, encode
from kvclient.connection import Connection, Metadata
from kvclient.errors import KvClientError, RequestError, Unavailable

if TYPE_CHECKING:
    from kvclient.client import Client

WATCH_PATH: Final = b"/etcdserverpb.Watch/Watch"
NEEDS_LEADER: Final[Metadata] = ((b"hasleader", b"true"),)
"""A member that has lost its leader ends the stream, and we go on at another."""
RESUME_PAUSE_S: Final = 0.05
RESUME_PAUSE_MAX_S: Final = 1.0
_LOGIN_REASONS: Final = ("invalid auth token", "user name is empty", "auth store is old")


class WatchCanceledError(RequestError):
    """The cluster ended a watch: no right any more, or compacted; ``answer`` says so."""

    def __init__(self, code: int, message: str, answer: m.WatchResponse, endpoint: str) -> None:
        super().__init__(code, message, endpoint)
        self.answer = answer


class CompactedError(WatchCanceledError):
    """History that was not read yet is gone: read the range anew, watch from its revision on."""

    @property
    def compact_revision(self) -> int:
        """Watches can begin after it."""
        return self.answer.compact_revision


class LoginEndedError(KvClientError):
    """The token of this stream is not known any more: log in and go on."""


class Cursor:
    """Where one watch is.

    A revision is shown whole or not at all: fragments are put together, and what a resumed stream
    repeats is left out.
    """

    def __init__(
        self,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        prev_kv: bool = False,
        progress_notify: bool = False,
    ) -> None:
        self._wanted = m.WatchCreateRequest(
            key, range_end, prev_kv=prev_kv, progress_notify=progress_notify, fragment=True
        )
        self.next_revision = start_revision
        """The first that was not shown; 0 until it is known what "from now on" means."""
        self._fragments: list[m.Event] = []

    def request(self) -> bytes:
        """The message that opens the watch, at the first revision not shown."""
        self._fragments.clear()
        self._wanted.start_revision = self.next_revision
        return encode(m.WatchRequest(create_request=self._wanted))

    def take(self, body: bytes, endpoint: str = "") -> m.WatchResponse | None:
        """One message of the stream; what there is to show of it.

        Raises:
            CompactedError: the next revision is gone.
            LoginEndedError: the token ended.
            WatchCanceledError: refused for another reason.
        """
        answer = decode(m.WatchResponse, body)
        if answer.canceled:
            raise _canceled(answer, endpoint)
        revision = answer.header.revision if answer.header is not None else 0
        if answer.created:
            self.next_revision = self.next_revision or revision + 1
            return None
        if answer.fragment:
            self._fragments += answer.events
            return None
        if self._fragments:
            answer.events = self._fragments + answer.events
            self._fragments = []
        if not answer.events:
            self.next_revision = max(self.next_revision, revision + 1)
            return answer
        answer.events = [e for e in answer.events if _revision(e) >= self.next_revision]
        if not answer.events:
            return None
        self.next_revision = _revision(answer.events[-1]) + 1
        return answer


def _revision(event: m.Event) -> int:
    return event.kv.mod_revision if event.kv is not None else 0


def _canceled(answer: m.WatchResponse, endpoint: str) -> KvClientError:
    if answer.compact_revision:
        text = "etcdserver: mvcc: required revision has been compacted"
        return CompactedError(Code.OUT_OF_RANGE, text, answer, endpoint)
    reason = answer.cancel_reason or "watch is canceled by the server"
    if any(text in reason for text in _LOGIN_REASONS):
        return LoginEndedError(reason, endpoint)
    if "no leader" in reason:
        return Unavailable(reason, endpoint)
    code = Code.PERMISSION_DENIED if "permission denied" in reason else Code.CANCELLED
    return WatchCanceledError(code, reason, answer, endpoint)


class Watch:
    """One watch of a blocking client, over connections of its own.

    The first connection has to come within the client's time limit; later breaks are bridged for as
    long as it takes, at whichever endpoint answers.
    """

    def __init__(
        self,
        client: Client,
        key: bytes,
        range_end: bytes = b"",
        start_revision: int = 0,
        *,
        prev_kv: bool = False,
        progress_notify: bool = False,
    ) -> None:
        self._client = client.clone()
        self.cursor = Cursor(
            key, range_end, start_revision, prev_kv=prev_kv, progress_notify=progress_notify
        )
        self._connection: Connection | None = None
        self._stream_id = 0
        self._is_closed = False

    def events(self) -> Generator[m.Event, None, None]:
        """Every change, one by one; see ``answers``."""
        for answer in self.answers():
            yield from answer.events

    def answers(self) -> Generator[m.WatchResponse, None, None]:
        """Changes by whole revisions, and progress (without events) where it was asked for.

        Ends after ``close``.

        Raises:
            CompactedError: what comes next is gone.
            WatchCanceledError: refused.
            Unavailable: no endpoint answered within the client's time limit at the beginning.
        """
        deadline: float | None = time.monotonic() + self._client.timeout_s
        pause_s = RESUME_PAUSE_S
        logins = 0
        try:
            while not self._is_closed:
                try:
                    for answer in self._stream():
                        deadline, pause_s, logins = None, RESUME_PAUSE_S, 0
                        if answer is not None:
                            yield answer
                except LoginEndedError:
                    logins += 1
                    if logins > 1:
                        raise
                    self._client.log_in_again()
                except Unavailable:
                    if deadline is not None and time.monotonic() + pause_s >= deadline:
                        raise
                    self._client.next_endpoint()
                if not self._is_closed:
                    time.sleep(pause_s)
                    pause_s = min(pause_s * 2, RESUME_PAUSE_MAX_S)
        finally:
            self._client.close()

    def _stream(self) -> Iterator[m.WatchResponse | None]:
        connection = self._client.dial()
        try:
            self._stream_id, stream = connection.open(
                WATCH_PATH,
                self.cursor.request(),
                end=False,
                timeout_s=self._client.timeout_s,
                metadata=(*self._client.metadata(), *NEEDS_LEADER),
            )
            self._connection = connection
            limit_s = self._client.share_s  # within it, the server says that the watch stands
            for body in connection.messages(stream, None, first_timeout_s=limit_s):
                if self._is_closed:
                    return
                yield self.cursor.take(body, connection.endpoint)
        finally:
            self._connection = None
            connection.close()

    def request_progress(self) -> None:
        """Ask how far the stream is, from any thread; answered by an answer without events."""
        connection = self._connection
        if connection is not None:
            request = m.WatchRequest(progress_request=m.WatchProgressRequest())
            connection.send_soon(self._stream_id, encode(request))

    def close(self) -> None:
        """End it, from any thread."""
        self._is_closed = True
        connection = self._connection
        if connection is not None:
            connection.interrupt()
