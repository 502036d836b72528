"""Whom a call asks, for how long, and when it gives up: the decisions of both clients.

Nothing here reads a clock or waits: the time (seconds, of any clock that only goes forward) is an
argument. The rules:

- What is left of the call's time is shared by the endpoints not yet asked in this round, so one
  that is silent cannot use it all up.
- A write whose fate is unknown ends the call; whoever wants it repeated has to know that it may.
- A mistake of the set-up at every endpoint ends the call at once: time does not mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kvclient.errors import Unavailable

ROUND_PAUSE_S: Final = 0.05


class Preference:
    """Which endpoint is asked first: what one client learns, its clones know."""

    __slots__ = ("endpoints", "first")

    def __init__(self, endpoints: Sequence[str]) -> None:
        """Begin with the first. Raises ValueError when there is none."""
        if not endpoints:
            raise ValueError("at least one endpoint is needed")
        self.endpoints = tuple(dict.fromkeys(endpoints))
        self.first = 0

    @property
    def endpoint(self) -> str:
        """The one that answered last."""
        return self.endpoints[self.first]

    def leave(self, endpoint: str) -> None:
        """Begin with the one after ``endpoint`` from now on."""
        self.first = (self.endpoints.index(endpoint) + 1) % len(self.endpoints)

    def keep(self, endpoint: str) -> None:
        """Begin with ``endpoint`` from now on."""
        self.first = self.endpoints.index(endpoint)


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this endpoint, which has ``share_s`` to answer."""

    endpoint: str
    share_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Everybody was asked: wait before the next round."""

    seconds: float


class Attempts:
    """The attempts of one call: ``next`` until one of them has ``answered``.

    With ``only`` no other endpoint is asked, and nothing is learnt about which to prefer.
    """

    def __init__(
        self,
        preference: Preference,
        deadline_s: float,
        *,
        is_write: bool,
        only: str | None = None,
    ) -> None:
        self._preference = preference if only is None else Preference((only,))
        self._deadline_s = deadline_s
        self._is_write = is_write
        self._begin_round()
        self._last: Unavailable | None = None

    def _begin_round(self) -> None:
        endpoints, first = self._preference.endpoints, self._preference.first
        self._unasked = [*endpoints[first:], *endpoints[:first]]
        self._are_lasting = True

    def next(self, now_s: float) -> Ask | Pause:
        """What to do now.

        Raises:
            Unavailable: nobody could answer in time, or nobody ever will.
        """
        left_s = self._deadline_s - now_s
        if self._unasked and left_s > 0:
            return Ask(self._unasked[0], left_s / len(self._unasked))
        if self._last is not None and not self._unasked and self._are_lasting:
            raise self._last
        if left_s <= ROUND_PAUSE_S:
            raise self._last or Unavailable(
                "no answer: the time was over before anybody was asked"
            )
        self._begin_round()
        return Pause(ROUND_PAUSE_S)

    def failed(self, error: Unavailable) -> None:
        """The endpoint of the last ``Ask`` could not answer.

        Raises:
            Unavailable: it was a write that may have been carried out.
        """
        endpoint = self._unasked.pop(0)
        self._last = _told_with(self._last, error)
        self._are_lasting = self._are_lasting and self._last.is_lasting
        if self._is_write and error.is_ambiguous:
            self._preference.leave(endpoint)
            raise self._last

    def answered(self) -> None:
        """The endpoint of the last ``Ask`` answered."""
        self._preference.keep(self._unasked[0])


def _told_with(before: Unavailable | None, error: Unavailable) -> Unavailable:
    """An attempt that was cut short says less than the one before it at the same endpoint."""
    if before is None or before.endpoint != error.endpoint:
        return error
    told = before.message.rpartition("; before: ")[2]
    if told.startswith("no answer") or not error.message.startswith("no answer"):
        return error
    text = f"{error.message}; before: {told}"
    return Unavailable(text, error.endpoint, is_ambiguous=error.is_ambiguous)
