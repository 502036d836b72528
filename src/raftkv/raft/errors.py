"""Errors of the Raft core. There is only one: a bug of ours."""

from __future__ import annotations


class InvariantViolated(Exception):  # noqa: N818 - it names the fact, as in the error table
    """Something proven impossible happened: a bug here, or a disk that lost acknowledged writes.

    The process stops at once and keeps its files (architecture: error families).
    """
