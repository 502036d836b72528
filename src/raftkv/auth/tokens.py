"""Simple tokens: random text that stands for a user until it was not used for a while.

They are made known to every member by a log entry and are kept in memory only, as in etcd: a
member that restarts knows none of them, and clients log in again. What is allowed never depends on
them once a command is in the log, so they are no part of the replicated state.
"""

from __future__ import annotations

from typing import Final

TTL_MS: Final = 300_000
TOKENS_MAX: Final = 200_000
"""Beyond it the oldest go: a client that logs in for every call must not fill the memory."""


class SimpleTokens:
    """Tokens of one member."""

    __slots__ = ("_known", "_ttl_ms")

    def __init__(self, ttl_ms: int = TTL_MS) -> None:
        self._known: dict[str, tuple[str, int]] = {}
        """Token to (user, time at which it ends; 0 until somebody looks at the clock)."""
        self._ttl_ms = ttl_ms

    def __len__(self) -> int:
        return len(self._known)

    def assign(self, token: str, user: str) -> None:
        """A login was applied."""
        self._known[token] = (user, 0)
        if len(self._known) > TOKENS_MAX:
            del self._known[next(iter(self._known))]

    def user_of(self, token: str, now_ms: int) -> str | None:
        """The user behind a token, whose life begins anew with that; None when unknown or over."""
        found = self._known.get(token)
        if found is None:
            return None
        user, ends = found
        if ends and ends <= now_ms:
            del self._known[token]
            return None
        self._known[token] = (user, now_ms + self._ttl_ms)
        return user

    def forget_user(self, user: str) -> None:
        """A user was removed or has another password."""
        self._known = {token: row for token, row in self._known.items() if row[0] != user}

    def clear(self) -> None:
        """Auth was switched off."""
        self._known.clear()

    def sweep(self, now_ms: int) -> None:
        """Forget what is over, and start the time of those that nobody used yet."""
        ttl_ms = self._ttl_ms
        self._known = {
            token: (user, ends or now_ms + ttl_ms)
            for token, (user, ends) in self._known.items()
            if not ends or ends > now_ms
        }
