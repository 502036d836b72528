"""Errors of the backend: this member's disk, never a client's fault."""

from __future__ import annotations


class StorageError(Exception):
    """The disk or the file system refused; the daemon stops and keeps the files."""


class CorruptionError(StorageError):
    """Bytes are not what was written; the daemon stops and keeps the files."""
