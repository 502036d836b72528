"""Telling clients what became of their requests: a bug in one answer costs one client its answer.

What was applied stays applied, and the rest of a step must happen, so nothing is passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final, cast

from raftkv.api.host import Token

_LOG: Final = logging.getLogger("raftkv.answers")


def tell_applied(tokens: Sequence[object], results: Sequence[object]) -> None:
    """Each token's command was applied, with this result."""
    tell_answered(zip(tokens, results, strict=True))


def tell_answered(answers: Iterable[tuple[object, object]]) -> None:
    """Each token's question was answered, with this."""
    pairs = iter(answers)
    while True:
        try:
            for token, result in pairs:
                cast(Token, token).applied(result)
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("an answer failed")
        else:
            return


def tell_ready(tokens: Iterable[object]) -> None:
    """What each token waits for is there."""
    waiting = iter(tokens)
    while True:
        try:
            for token in waiting:
                cast(Token, token).ready()
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("an answer failed")
        else:
            return
