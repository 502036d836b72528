"""Passwords that were right a moment ago need no slow hash to be known as right again.

A bcrypt hash costs some 50 ms of a core. After a restart every client logs in at once, most of them
as a few users; v2 sends the password with each request. So a right password is remembered, as a
hash under a key of this process alone, together with the stored hash that it belongs to: a changed
password is another one. Wrong ones are never remembered, and always cost the slow hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from raftkv.api.host import Host
from raftkv.auth.passwords import is_password

KNOWN_MAX: Final = 4096


class KnownPasswords:
    """Of one member; see ``host.Passwords``."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: set[bytes] = set()

    def check(
        self,
        host: Host,
        password: str,
        hashed: bytes,
        done: Callable[[bool], None],
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """See ``host.Passwords``."""
        pair = hashed + b"\0" + password.encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(pair, key=self._key).digest()
        known = self._known
        if digest in known:
            done(True)
            return

        def work() -> bool:  # on another thread: it only looks
            return is_wanted() and (digest in known or is_password(password, hashed))

        def remember(is_right: bool) -> None:  # noqa: FBT001 - a callback
            if is_right:
                if len(known) >= KNOWN_MAX:
                    known.clear()
                known.add(digest)
            done(is_right)

        host.run_aside(work, remember)
