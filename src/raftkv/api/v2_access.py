"""Who may use the v2 API while v3 auth is on: a user who may read and write every v3 key.

etcd 3.4 leaves v2 open then, which would be a way around every role. Users prove who they are by
client certificate, by a v3 token in ``Authorization``, or by name and password (HTTP basic), whose
hash is computed once per password and auth revision, not once per request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Final

from etcdwire.errors import ApiError
from raftkv.api.access import caller_of, identify
from raftkv.api.calls import Identity
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest
from raftkv.auth.passwords import is_password

KNOWN_MAX: Final = 4096
_DENIED: Final = b'{"message":"Insufficient credentials"}'


class BasicLogins:
    """Passwords that were right, as keyed hashes, until users or roles change."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._revision = 0
        self._known: set[bytes] = set()

    def check(self, host: Host, name: str, password: str, done: Callable[[bool], None]) -> None:
        """Call ``done`` with whether the password is the user's.

        Raises:
            UnavailableError: too many logins are waiting.
        """
        auth = host.machine.auth
        if auth.revision != self._revision:
            self._known.clear()
            self._revision = auth.revision
        pair = f"{name}\0{password}".encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(pair, key=self._key).digest()
        if digest in self._known:
            done(True)
            return
        user = auth.users.get(name)
        if user is None or not user.password:
            done(False)
            return
        hashed, revision = user.password, auth.revision

        def remember(is_right: bool) -> None:  # noqa: FBT001 - a callback
            if is_right and revision == self._revision:
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known.add(digest)
            done(is_right)

        host.run_aside(lambda: is_password(password, hashed), remember)


def basic_of(request: HttpRequest) -> tuple[str, str] | None:
    """(name, password) of an HTTP basic header."""
    raw = request.headers.get(b"authorization", b"")
    if raw[:6].lower() != b"basic ":
        return None
    try:
        text = base64.b64decode(raw[6:].strip(), validate=True)
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.decode("utf-8", "surrogateescape").partition(":")
    return name, password


def admit(host: Host, request: HttpRequest, reply: HttpReply, proceed: Callable[[], None]) -> None:
    """Call ``proceed`` with ``request.identity`` set, or answer 401."""
    pair = basic_of(request)
    if pair is None:
        try:
            identity = identify(host, caller_of(request.headers, request.common_name))
        except ApiError:
            deny(reply)
            return
        _admit(request, reply, identity, proceed)
        return

    def checked(is_right: bool) -> None:  # noqa: FBT001 - a callback
        auth = host.machine.auth
        rights = auth.rights_of(pair[0]) if is_right else None
        if rights is None:
            deny(reply)
        else:
            _admit(request, reply, Identity(pair[0], auth.revision, rights), proceed)

    try:
        host.basic_logins.check(host, *pair, checked)
    except ApiError:
        reply.respond(503, (JSON,), b'{"message":"too many logins are waiting"}')


def _admit(
    request: HttpRequest, reply: HttpReply, identity: Identity, proceed: Callable[[], None]
) -> None:
    rights = identity.rights
    changes_members = request.path.startswith("/v2/members") and request.method not in (
        "GET",
        "HEAD",
    )
    if rights.is_root or (rights.has_all_keys and not changes_members):
        request.identity = identity
        proceed()
    else:
        deny(reply)


def deny(reply: HttpReply) -> None:
    """Answer as etcd's v2 does."""
    reply.respond(401, (JSON,), _DENIED)
