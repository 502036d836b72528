"""One call under way, whatever carries it: gRPC, the JSON gateway, or plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcdwire.errors import TIMEOUT, ApiError
from raftkv.api.host import Host, error_of
from raftkv.auth.rights import Rights
from raftkv.replica.commands import encode_as_user
from raftkv.replica.effects import Rejected


class Identity:
    """A user, and what the user may do at one auth revision."""

    __slots__ = ("is_applied", "name", "revision", "rights")

    def __init__(self, name: str, revision: int, rights: Rights) -> None:
        self.name = name
        self.revision = revision
        self.rights = rights
        self.is_applied = False
        """A write with this identity was applied: the log has checked the revision."""


class BodyWriter(Protocol):
    """An answer in pieces."""

    @property
    def is_open(self) -> bool:
        """Whether the client still listens."""

    def pending_bytes(self) -> int:
        """Bytes not yet taken by the network."""

    def send(self, piece: bytes) -> None:
        """Send a piece."""

    def finish(self) -> None:
        """All announced bytes are sent."""

    def abort(self) -> None:
        """The rest will never come."""


class GatheredBody:
    """An answer in pieces for a caller that needs it whole."""

    __slots__ = ("_call", "_pieces")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Nobody tells."""
        return True

    def pending_bytes(self) -> int:
        """Nothing is on its way."""
        return 0

    def send(self, piece: bytes) -> None:
        """Keep a piece."""
        self._pieces.append(piece)

    def finish(self) -> None:
        """Answer."""
        self._call.ok(b"".join(self._pieces))

    def abort(self) -> None:
        """Answer with an error."""
        self._call.fail(TIMEOUT)


class Call(Protocol):
    """A unary call: exactly one of the two methods is called, once."""

    @property
    def identity(self) -> Identity | None:
        """Who calls; None while auth is off, and for methods that are open to all."""

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """Call this when the caller gives up; None when it no longer matters.

        Only for calls that wait for others: the rest is answered all the same.
        """

    def begin(self, length: int) -> BodyWriter | None:
        """Answer with a message of so many bytes, in pieces; None when the call begins anew."""

    def ok(self, body: bytes) -> None:
        """Answer with an encoded response message."""

    def fail(self, error: ApiError) -> None:
        """Answer with an error."""


class AlteredCall:
    """A call whose good answer passes through ``answer`` on its way; errors go on as they are."""

    __slots__ = ("_answer", "_call")

    def __init__(self, call: Call, answer: Callable[[bytes], None]) -> None:
        self._call = call
        self._answer = answer

    @property
    def identity(self) -> Identity | None:
        """The caller."""
        return self._call.identity

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """See ``Call``."""
        self._call.on_close(callback)

    def begin(self, length: int) -> BodyWriter | None:
        """See ``Call``."""
        return self._call.begin(length)

    def ok(self, body: bytes) -> None:
        """Answer with what becomes of it."""
        self._answer(body)

    def fail(self, error: ApiError) -> None:
        """Answer with an error."""
        self._call.fail(error)


def propose(host: Host, call: Call, command: bytes) -> None:
    """Replicate a v3 write on behalf of its caller and answer with the result."""
    identity = call.identity
    if identity is not None:
        command = encode_as_user(identity.name, identity.revision, command)
    host.propose(command, WriteToken(host, call))


class WriteToken:
    """A v3 write under way: its result becomes header and body of the response."""

    __slots__ = ("_call", "_host")

    def __init__(self, host: Host, call: Call) -> None:
        self._host = host
        self._call = call

    def applied(self, result: object) -> None:
        """Answer."""
        if isinstance(result, tuple):
            host = self._host
            identity = self._call.identity
            if identity is not None:
                identity.is_applied = True
            self._call.ok(host.headers.encode(result[0], host.term) + result[1])
        elif isinstance(result, ApiError):
            self._call.fail(result)
        else:
            raise TypeError(f"result {result!r} of a v3 write")

    def ready(self) -> None:
        """Never called for a write."""

    def rejected(self, rejection: Rejected) -> None:
        """Answer that there is no result."""
        self._call.fail(error_of(rejection))


class ReadToken:
    """A linearizable read under way: ``answer`` runs when the state is fresh enough."""

    __slots__ = ("_answer", "_call")

    def __init__(self, call: Call, answer: Callable[[Call], None]) -> None:
        self._call = call
        self._answer = answer

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Answer."""
        self._answer(self._call)

    def rejected(self, rejection: Rejected) -> None:
        """Answer that there is no result."""
        self._call.fail(error_of(rejection))
