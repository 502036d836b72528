"""Which endpoints there are, and which of them failed a moment ago. Pure: time is an argument."""

from __future__ import annotations

import random
from collections.abc import Iterable


class Directory:
    """Endpoints in the order in which to try them.

    An endpoint that failed is left alone for a while; when all have failed there is nobody to ask,
    and a caller hears so at once instead of waiting for each of them again (etcd's director).
    """

    def __init__(self, failure_wait_s: float, chance: random.Random) -> None:
        self._failure_wait_s = failure_wait_s
        self._chance = chance
        self._endpoints: list[str] = []
        self._back_at: dict[str, float] = {}

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self._endpoints)

    def replace(self, endpoints: Iterable[str]) -> None:
        """Take a new list; those that stay keep their place and their failures."""
        wanted = list(dict.fromkeys(endpoints))
        kept = [endpoint for endpoint in self._endpoints if endpoint in wanted]
        added = [endpoint for endpoint in wanted if endpoint not in kept]
        self._chance.shuffle(added)
        self._endpoints = kept + added
        self._back_at = {e: at for e, at in self._back_at.items() if e in wanted}

    def candidates(self, now_s: float) -> tuple[str, ...]:
        """Those to be tried now, in order."""
        return tuple(e for e in self._endpoints if self._back_at.get(e, 0.0) <= now_s)

    def note_failure(self, endpoint: str, now_s: float) -> None:
        """This one did not answer."""
        if endpoint in self._endpoints:
            self._back_at[endpoint] = now_s + self._failure_wait_s
