"""Clocks that jump: libfaketime tells a process another time of day, which a file can change."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kit.servers import Process


def find_library() -> Path | None:
    """libfaketime, installed or unpacked; None where it is not to be had."""
    program = shutil.which("faketime")
    if program is None:
        return None
    found = sorted(Path(program).parents[1].glob("lib/*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else None


class WrongClock:
    """The time of day of one process, from its next start on. Only that: time that passes does."""

    def __init__(self, member: Process, library: Path) -> None:
        self._file = member.log.with_suffix(".clock")
        self.set(0)
        member.environment |= {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    def set(self, offset_s: int) -> None:
        """Be wrong by so many seconds from now on."""
        self._file.write_text(f"{offset_s:+d}\n")
