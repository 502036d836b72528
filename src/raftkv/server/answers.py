"""Telling clients what became of their requests: a bug in one answer costs one client its answer.

What was applied stays applied, and the rest of a step must happen, so nothing is passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import Final, cast

from raftkv.api.host import Token

_LOG: Final = logging.getLogger("raftkv.answers")


def tell_applied(tokens: Sequence[object], results: Sequence[object]) -> None:
    """Each token's command was applied, with this result.

    Raises:
        ValueError: not one result for each; that is no bug of an answer.
    """
    tell_answered(list(zip(tokens, results, strict=True)))


def tell_answered(answers: Iterable[tuple[object, object]]) -> None:
    """Each token's question was answered, with this."""
    _tell(starmap(_applied, answers))


def tell_ready(tokens: Iterable[object]) -> None:
    """What each token waits for is there."""
    _tell(map(_ready, tokens))


def _applied(token: object, result: object) -> None:
    cast(Token, token).applied(result)


def _ready(token: object) -> None:
    cast(Token, token).ready()


def _tell(calls: Iterator[None]) -> None:
    """Make all calls; an iterator of C's goes on behind one that failed."""
    while True:
        try:
            for _ in calls:
                pass
        except Exception:  # noqa: BLE001 - see above
            _LOG.exception("an answer failed")
        else:
            return
