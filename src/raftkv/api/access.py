"""Who asks, and whether they may: between the wire and the handlers, only while auth is on.

With auth off a request costs one test of a boolean here. With auth on it gets a ``GuardedCall``,
which knows the caller's rights at one auth revision:

- before the handler runs the level of the method is checked (``Level``); handlers check keys
- a write carries the revision into the log, where it is void once the revision has changed
- a read is answered only if the revision has not changed since

In either case the call begins anew, so no answer ever rests on rights that are gone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from etcdwire.errors import (
    AUTH_OLD_REVISION,
    INVALID_AUTH_TOKEN,
    PERMISSION_DENIED,
    USER_EMPTY,
    ApiError,
)
from raftkv.api.calls import BodyWriter, Call, Identity
from raftkv.api.host import Host

ATTEMPTS_MAX: Final = 10
"""So often a call begins anew because users or roles changed under it."""
TOKEN_WAIT_S: Final = 0.02
TOKEN_WAITS_MAX: Final = 100
"""A login answered by another member may not be applied here yet: wait up to two seconds."""


class Caller(NamedTuple):
    """What a request says about who sent it."""

    token: str = ""
    common_name: str = ""
    """Of the client certificate; empty unless the listener demands certificates."""


class Level(enum.Enum):
    """What a method asks of its caller while auth is on, beside rights on keys."""

    OPEN = "open"
    """Nothing: it is how one logs in, or tells no secrets."""
    USER = "user"
    """To be a user that exists."""
    ROOT = "root"
    """The root role."""


class Method(Protocol):
    """A unary method (``services.Unary``)."""

    @property
    def handler(self) -> Callable[[Host, Call, bytes], None]:
        """What it does."""

    @property
    def level(self) -> Level:
        """What it asks of its caller."""


def caller_of(headers: dict[bytes, bytes], common_name: str) -> Caller:
    """The caller that gRPC metadata or HTTP headers name."""
    raw = headers.get(b"token") or headers.get(b"authorization") or b""
    return Caller(raw.decode("latin-1"), common_name)


def identify(host: Host, caller: Caller) -> Identity:
    """The user behind a request.

    Raises:
        RequestError: no user named, an unknown or expired token, or a user that does not exist.
    """
    auth = host.machine.auth
    name: str | None = caller.common_name
    if caller.token:
        name = host.logins.user_of(caller.token)
        if name is None:
            raise INVALID_AUTH_TOKEN
    if not name:
        raise USER_EMPTY
    rights = auth.rights_of(name)
    if rights is None:
        raise PERMISSION_DENIED
    return Identity(name, auth.revision, rights)


def is_token_ahead(host: Host, caller: Caller) -> bool:
    """Whether a token names a login that this member has not applied yet."""
    _, dot, index = caller.token.rpartition(".")
    return bool(dot) and index.isdecimal() and host.applied_index < int(index[:19])


def admit(
    host: Host,
    caller: Caller,
    level: Level,
    proceed: Callable[[], None],
    refuse: Callable[[ApiError], None],
    waits: int = 0,
) -> None:
    """Call ``proceed`` if the caller reaches a level, else ``refuse``; for streams."""
    try:
        if host.machine.auth.enabled and level is not Level.OPEN:
            identity = identify(host, caller)
            if level is Level.ROOT and not identity.rights.is_root:
                raise PERMISSION_DENIED
    except ApiError as error:
        if (
            error is INVALID_AUTH_TOKEN
            and waits < TOKEN_WAITS_MAX
            and is_token_ahead(host, caller)
        ):
            host.call_later(
                TOKEN_WAIT_S, lambda: admit(host, caller, level, proceed, refuse, waits + 1)
            )
        else:
            refuse(error)
        return
    proceed()


class GuardedCall:
    """A unary call while auth is on (``calls.Call``)."""

    __slots__ = ("_attempts", "_call", "_caller", "_data", "_host", "_method", "_waits",
                 "identity")  # fmt: skip

    def __init__(
        self,
        host: Host,
        call: Call,
        caller: Caller,
        method: Method,
        data: bytes,
    ) -> None:
        self._host = host
        self._call = call
        self._caller = caller
        self._method = method
        self._data = data
        self._attempts = 0
        self._waits = 0
        self.identity: Identity | None = None

    def run(self) -> None:
        """Check, then handle; handlers' errors propagate only out of the first attempt."""
        host = self._host
        self._attempts += 1
        self.identity = None
        if host.machine.auth.enabled and self._method.level is not Level.OPEN:
            try:
                identity = identify(host, self._caller)
            except ApiError as error:
                if (
                    error is INVALID_AUTH_TOKEN
                    and self._waits < TOKEN_WAITS_MAX
                    and is_token_ahead(host, self._caller)
                ):
                    self._waits += 1
                    host.call_later(TOKEN_WAIT_S, self._again)
                    return
                raise
            if self._method.level is Level.ROOT and not identity.rights.is_root:
                raise PERMISSION_DENIED
            self.identity = identity
        self._method.handler(host, self, self._data)

    def _again(self) -> None:
        try:
            self.run()
        except ApiError as error:
            self._call.fail(error)

    def on_close(self, callback: Callable[[], None] | None) -> None:
        """See ``Call``."""
        self._call.on_close(callback)

    def begin(self, length: int) -> BodyWriter | None:
        """Begin to answer, unless the rights that it rests on have changed."""
        identity = self.identity
        if identity is not None and identity.revision != self._host.machine.auth.revision:
            self._again()
            return None
        return self._call.begin(length)

    def ok(self, body: bytes) -> None:
        """Answer, unless the rights that it rests on have changed."""
        identity = self.identity
        if (
            identity is not None
            and identity.revision != self._host.machine.auth.revision
            and not identity.is_applied
            and self._attempts < ATTEMPTS_MAX
        ):
            self._again()
        else:
            self._call.ok(body)

    def fail(self, error: ApiError) -> None:
        """Answer with an error, unless it only says that rights have changed."""
        if error is AUTH_OLD_REVISION and self._attempts < ATTEMPTS_MAX:
            self._again()
        else:
            self._call.fail(error)


def dispatch(
    host: Host,
    call: Call,
    caller: Caller,
    method: Method,
    data: bytes,
) -> None:
    """Serve a unary call while auth is on.

    Raises:
        ApiError, DecodeError: as the handler does.
    """
    GuardedCall(host, call, caller, method, data).run()
