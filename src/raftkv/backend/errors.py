"""Errors of the backend: this member's disk, never a client's fault."""

from __future__ import annotations


class StorageError(Exception):
    """The disk or the file system refused; the daemon stops and keeps the files."""


class NoSpaceError(StorageError):
    """The disk is full. The whole transaction is gone: its rows must be written again."""


class CorruptionError(StorageError):
    """Bytes are not what was written; the daemon stops and keeps the files."""
