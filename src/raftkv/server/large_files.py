"""Large files end in a thread: their last name or descriptor takes a tenth of a second a gigabyte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path


def let_go(end: Callable[[], object]) -> None:
    """Run ``end``, which closes or removes large files, while the running loop goes on."""
    asyncio.get_running_loop().run_in_executor(None, end)


def remove(path: Path) -> None:
    """Remove a large file, if it is there."""
    let_go(partial(path.unlink, missing_ok=True))
