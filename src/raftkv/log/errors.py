"""What can go wrong with the log's files. All of it ends the process; nothing is deleted."""

from __future__ import annotations


class StorageError(Exception):
    """The disk did not do what was asked, or the directory is not ours to use."""


class NoSpaceError(StorageError):
    """The disk is full. Nothing was written: the same write may be tried again."""


class LogInUse(StorageError):  # noqa: N818 - it names the fact, as in the error table
    """Another process holds the lock of this log directory."""

    def __init__(self, directory: str) -> None:
        super().__init__(f"{directory}: another process uses this log")
        self.directory = directory


class Corruption(StorageError):  # noqa: N818 - it names the fact, as in the error table
    """Bytes that were synced once do not check out."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}: offset {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason
