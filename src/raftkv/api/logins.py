"""Tokens of logged-in users, in both of etcd's forms (``host.Logins``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from etcdwire.errors import AUTH_FAILED, AUTH_OLD_REVISION, ApiError
from raftkv.api.host import Host, error_of
from raftkv.replica.commands import encode_login
from raftkv.replica.effects import Rejected


class SimpleLogins:
    """``--auth-token simple``: a random text, made known to all members through the log."""

    def __init__(
        self, host: Host, monotonic_ms: Callable[[], int], new_text: Callable[[], str]
    ) -> None:
        self._host = host
        self._monotonic_ms = monotonic_ms
        self._new_text = new_text

    def user_of(self, token: str) -> str | None:
        """See ``host.Logins``."""
        return self._host.machine.tokens.user_of(token, self._monotonic_ms())

    def issue(self, name: str, credential_revision: int, answer: Callable[[object], None]) -> None:
        """See ``host.Logins``."""
        command = encode_login(name, credential_revision, self._new_text())
        self._host.propose(command, _IssueToken(answer))


class _IssueToken:
    """A login on its way through the log."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[object], None]) -> None:
        self._answer = answer

    def applied(self, result: object) -> None:
        """The token's text, or why there is none."""
        self._answer(result)

    def ready(self) -> None:
        """Never called for a write."""

    def rejected(self, rejection: Rejected) -> None:
        """No result."""
        self._answer(error_of(rejection))


class Signer(Protocol):
    """``auth.jwt.JwtTokens`` as far as it matters here; loaded only when it is used."""

    @property
    def can_sign(self) -> bool:
        """Whether there is a private key."""

    def sign(self, username: str, revision: int, now_s: float) -> str:
        """A new token."""

    def verify(self, token: str, now_s: float) -> tuple[str, int] | None:
        """(user, auth revision at login) of a valid token."""


class JwtLogins:
    """``--auth-token jwt``: signed by one member, verified by any.

    A token ends with the password that it was given for: etcd refuses it after *any* change of
    users or roles, which made clients fail for changes that did not concern them.
    """

    def __init__(self, host: Host, signer: Signer, now_s: Callable[[], float]) -> None:
        self._host = host
        self._signer = signer
        self._now_s = now_s

    def user_of(self, token: str) -> str | None:
        """See ``host.Logins``."""
        claims = self._signer.verify(token, self._now_s())
        if claims is None:
            return None
        user = self._host.machine.auth.users.get(claims[0])
        if user is None or user.credential_revision > claims[1]:
            return None
        return claims[0]

    def issue(self, name: str, credential_revision: int, answer: Callable[[object], None]) -> None:
        """See ``host.Logins``."""
        if not self._signer.can_sign:
            refusal: ApiError = AUTH_FAILED
            answer(refusal)
            return
        auth = self._host.machine.auth
        user = auth.users.get(name)
        if user is None or user.credential_revision != credential_revision:
            answer(AUTH_OLD_REVISION)
            return
        answer(self._signer.sign(name, auth.revision, self._now_s()))
