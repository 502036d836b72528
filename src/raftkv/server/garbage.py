"""When Python's collector of reference cycles runs, and what it looks at.

Most of what a member has in memory is its store, which stays. A full collection would look at all
of it, a tenth of a second for each million objects, while the loop stands still. So what one has
found alive is never looked at again (``gc.freeze``): each then takes some ten milliseconds at most,
however much there is.

What is frozen ends by its reference count alone. Whatever lives long and ends must therefore not
hold on to itself: connections, their calls and their watches take themselves apart when they close (ADR 17).
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any, Final

THRESHOLDS: Final = (5_000, 4, 2)
"""New objects per young collection, and how many of those make an older one: the full one comes
after some 75,000 objects that stayed.
"""
_FULL: Final = 2


def start_collecting() -> None:
    """From now on; what is there by now stays, and is not looked at."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(_freeze_survivors)
    gc.enable()


def _freeze_survivors(phase: str, about: Mapping[str, Any]) -> None:
    if phase == "stop" and about["generation"] == _FULL:
        gc.freeze()
