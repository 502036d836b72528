"""Reading a snapshot file: the database, perhaps with a hash behind it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from raftkv.bbolt.errors import DamagedDatabaseError

HASH_BYTES: Final = 32
ALIGN_BYTES: Final = 512
"""A database is a multiple of this: by that everybody knows whether a hash follows it."""
_READ_BYTES: Final = 1 << 20


def database_bytes(path: Path) -> int:
    """How much of the file is the database; the rest is the hash."""
    size = path.stat().st_size
    return size - HASH_BYTES if size % ALIGN_BYTES == HASH_BYTES else size


def check_hash(path: Path) -> None:
    """Compare the hash behind the database.

    Raises:
        DamagedDatabaseError: there is none (the file was copied, not saved), or it differs.
    """
    size = database_bytes(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = size
        while left:
            piece = file.read(min(left, _READ_BYTES))
            if not piece:
                raise DamagedDatabaseError(f"{path}: cut short")
            digest.update(piece)
            left -= len(piece)
        expected = file.read(HASH_BYTES)
    if not expected:
        raise DamagedDatabaseError(
            f"{path}: snapshot missing hash: a copied database has none, skip the check for it"
        )
    if expected != digest.digest():
        raise DamagedDatabaseError(f"{path}: the hash does not match: the file is damaged")
