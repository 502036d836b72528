"""A reserve on each disk, given up when it is full, so that what must go on can go on.

With nothing left a member could not even roll its log to remove another member, or free space by a
compaction. So it keeps a file of a few megabytes. When the log or the backend finds the disk full,
the reserve goes, clients' writes are refused from then on, and once there is room again the
reserve is taken anew and writes are served: no restart, nothing lost.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 16 << 20
NAME: Final = "reserve"
_LOG: Final = logging.getLogger("raftkv.space")


class Space:
    """The reserves of one member."""

    def __init__(self, directories: Iterable[Path]) -> None:
        """Take the reserves; one per disk.

        Args:
            directories: where data and log lie.
        """
        by_device: dict[int, Path] = {}
        for directory in directories:
            by_device.setdefault(directory.stat().st_dev, directory)
        self._files = [directory / NAME for directory in by_device.values()]
        self.is_full = not self._take()
        """Clients' writes are refused."""
        if self.is_full:
            _LOG.error("%s: the disk is full: writes are refused", self._files[0].parent)

    def _take(self) -> bool:
        """Make sure that all reserves are there; whether that was possible."""
        for file in self._files:
            try:
                descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError:
                return False
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            except OSError:
                with contextlib.suppress(OSError):
                    file.unlink()
                return False
            finally:
                os.close(descriptor)
        return True

    def _release(self) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.unlink()

    def watch(self, *, is_out_of_space: bool) -> bool:
        """Follow what the disk threads found, once a second; whether anything changed."""
        if is_out_of_space:
            self._release()
            if self.is_full:
                return False
            self.is_full = True
            _LOG.error("%s: the disk is full: writes are refused", self._files[0].parent)
            return True
        if not self.is_full or not self._has_room() or not self._take():
            return False
        self.is_full = False
        _LOG.info("%s: the disk has room again: writes are served", self._files[0].parent)
        return True

    def _has_room(self) -> bool:
        """Twice the reserve: taking it must not fill the disk at once."""
        for file in self._files:
            found = os.statvfs(file.parent)
            if found.f_bavail * found.f_frsize < 2 * RESERVE_BYTES:
                return False
        return True


def make_room(directories: Iterable[Path]) -> None:
    """Before anything is opened on a disk that may be full: give the reserve up."""
    for directory in directories:
        with contextlib.suppress(OSError):
            found = os.statvfs(directory)
            if found.f_bavail * found.f_frsize < RESERVE_BYTES // 4:
                (directory / NAME).unlink(missing_ok=True)
