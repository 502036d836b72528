"""Password hashes. Slow on purpose (tens of milliseconds): never called on the loop.

The hashes are bcrypt's, as etcd's are, so that snapshots of either carry over.
"""

from __future__ import annotations

from typing import Final

import bcrypt

BYTES_MAX: Final = 72
"""What bcrypt looks at; etcd 3.4 ignores the rest of a longer password."""
COST_MIN: Final = 4
COST_MAX: Final = 31


def hash_password(password: str, cost: int) -> str:
    """The hash to store; ``cost`` is the binary logarithm of the rounds."""
    salt = bcrypt.gensalt(cost, prefix=b"2a")
    return bcrypt.hashpw(_usable(password), salt).decode("ascii")


def is_password(password: str, hashed: bytes) -> bool:
    """Whether a password belongs to a stored hash; False for anything that is no hash."""
    try:
        return bcrypt.checkpw(_usable(password), hashed)
    except ValueError:
        return False


def _usable(password: str) -> bytes:
    return password.encode("utf-8", "surrogateescape")[:BYTES_MAX]
