"""Ranges of keys, as requests name them: a first key and the first one behind the last."""

from __future__ import annotations


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with a prefix; a zero byte when it has none."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes((stripped[-1] + 1,))
