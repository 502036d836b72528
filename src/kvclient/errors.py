"""What a call can end in, besides its answer."""

from __future__ import annotations

from etcdwire.errors import Code


class KvClientError(Exception):
    """Base of all errors of this library; ``endpoint`` names who was asked."""

    def __init__(self, message: str, endpoint: str = "") -> None:
        super().__init__(f"{endpoint}: {message}" if endpoint else message)
        self.message = message
        self.endpoint = endpoint


class RequestError(KvClientError):
    """The cluster answered with an error; trying again will not help."""

    def __init__(self, code: int, message: str, endpoint: str = "") -> None:
        super().__init__(message, endpoint)
        self.code = code


class LoginError(RequestError):
    """Name and password were not accepted."""


class Unavailable(KvClientError):  # noqa: N818 - it names the state
    """No endpoint could answer in time.

    ``is_ambiguous``: the request was sent, so a write may have happened all the same.
    ``is_lasting``: a mistake of the set-up (an authority, a port), which time does not mend.
    """

    def __init__(
        self,
        message: str,
        endpoint: str = "",
        *,
        is_ambiguous: bool = False,
        is_lasting: bool = False,
    ) -> None:
        super().__init__(message, endpoint)
        self.is_ambiguous = is_ambiguous
        self.is_lasting = is_lasting


RETRYABLE_CODES = frozenset({Code.UNAVAILABLE})
"""Answers after which another endpoint may do better."""
