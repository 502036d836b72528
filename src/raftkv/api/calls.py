"""One call under way, whatever carries it: gRPC, the JSON gateway, or plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcdwire.errors import ApiError
from raftkv.api.host import Host, error_of
from raftkv.replica.effects import Rejected


class Call(Protocol):
    """A unary call: exactly one of the two methods is called, once."""

    def ok(self, body: bytes) -> None:
        """Answer with an encoded response message."""

    def fail(self, error: ApiError) -> None:
        """Answer with an error."""


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
