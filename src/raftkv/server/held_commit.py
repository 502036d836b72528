"""News for one peer that something is committed, kept back for entries that say it as well (ADR 16).

Pure: times are arguments, in seconds of any clock that does not go back.
"""

from __future__ import annotations

from typing import Final

from raftkv.raft.messages import Append, Commit, Message

HELD_S: Final = 0.002
"""Two ticks of the loop's millisecond clock: one may be over in no time."""
PROMPT_FOR_S: Final = 1.0
"""After a peer's last question it is told at once: clients of its own wait."""


class HeldCommit:
    """At most one message; a newer one replaces it."""

    __slots__ = ("_message", "_prompt_until_s", "_since_s")

    def __init__(self) -> None:
        self._message: Commit | None = None
        self._since_s = 0.0
        self._prompt_until_s = float("-inf")

    def be_prompt(self, now_s: float) -> None:
        """The peer asked for something."""
        self._prompt_until_s = now_s + PROMPT_FOR_S

    def hold(self, message: Commit, now_s: float) -> bool:
        """Keep a message back; False when it must go at once."""
        if now_s < self._prompt_until_s:
            return False
        self._message, self._since_s = message, now_s
        return True

    def take_before(self, message: Message) -> Commit | None:
        """What must be sent before another message: nothing when that one says it as well."""
        held, self._message = self._message, None
        if (
            held is not None
            and type(message) is Append
            and message.term == held.term
            and message.commit >= held.commit
        ):
            return None
        return held

    def due_in_s(self, now_s: float) -> float | None:
        """How long it may still wait; None when there is nothing."""
        if self._message is None:
            return None
        return max(0.0, self._since_s + HELD_S - now_s)

    def take(self) -> Commit | None:
        """What is kept back, to be sent or forgotten now."""
        held, self._message = self._message, None
        return held
