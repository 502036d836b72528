"""Who may use the v2 API.

While v2's own users are asked for (``/v2/auth``), they alone count, as in etcd: HTTP basic, else the
client certificate's name, else the role ``guest``. While only v3 auth is on, v2 is for a user who
may read and write every v3 key: etcd 3.4 leaves v2 open then, which would be a way around every
role. Such users prove who they are by client certificate, by a v3 token in ``Authorization``, or by
name and password (``known_passwords``).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

from etcdwire.errors import ApiError
from raftkv.api.access import caller_of, identify
from raftkv.api.calls import Identity
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest
from raftkv.auth.v2_state import GUEST, ROOT
from raftkv.replica.commands import encode_as_user, encode_v2_checked

_DENIED: Final = b'{"message":"Insufficient credentials"}'
_KEY_DENIED: Final = (
    b'{"errorCode":110,"message":"The request requires user authentication",'
    b'"cause":"Insufficient credentials","index":0}\n'
)


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
    """Call ``proceed`` with what the sender may noted in ``request``, or answer 401."""
    request.identity, request.v2_revision = None, None
    if host.machine.v2_auth.enabled:
        _admit_v2(host, request, reply, proceed)
    elif host.machine.auth.enabled:
        _admit_v3(host, request, reply, proceed)
    else:
        proceed()


def wrap(request: HttpRequest, command: bytes) -> bytes:
    """A command as it has to be proposed: with the revision of what was checked."""
    if request.v2_revision is not None:
        return encode_v2_checked(request.v2_revision, command)
    if request.identity is not None:
        return encode_as_user(request.identity.name, request.identity.revision, command)
    return command


def may_use(host: Host, request: HttpRequest, path: str, *, writes: bool, recursive: bool) -> bool:
    """Whether v2's own users let the sender at a key."""
    return request.v2_revision is None or host.machine.v2_auth.may(
        request.v2_roles, path, writes=writes, recursive=recursive
    )


def _admit_v2(
    host: Host, request: HttpRequest, reply: HttpReply, proceed: Callable[[], None]
) -> None:
    state, path = host.machine.v2_auth, request.path
    is_key = path.startswith("/v2/keys")
    reads = request.method in ("GET", "HEAD")
    is_auth = path.startswith("/v2/auth/")
    if reads and (path == "/v2/auth/enable" or not (is_key or is_auth)):
        proceed()
        return
    revision = state.revision

    def known(name: str | None) -> None:
        roles = (GUEST,) if name is None else tuple(state.roles_of(name))
        if is_key or (name is not None and ROOT in roles):
            request.v2_roles, request.v2_revision = roles, revision
            proceed()
        else:
            deny(reply)

    pair = basic_of(request)
    if pair is None:
        if b"authorization" in request.headers:
            _refuse(request, reply)
        else:
            name = request.common_name
            known(name if name in state.users else None)
        return
    name, password = pair

    def checked(is_right: bool) -> None:  # noqa: FBT001 - a callback
        if is_right:
            known(name)
        else:
            _refuse(request, reply)

    user = state.users.get(name)
    hashed = user["password"].encode() if user is not None else b""
    _check(host, reply, password, hashed, checked)


def _check(
    host: Host, reply: HttpReply, password: str, hashed: bytes, checked: Callable[[bool], None]
) -> None:
    if not hashed:
        checked(False)
        return
    try:
        host.passwords.check(host, password, hashed, checked)
    except ApiError:
        reply.respond(503, (JSON,), b'{"message":"too many logins are waiting"}')


def _refuse(request: HttpRequest, reply: HttpReply) -> None:
    if request.path.startswith("/v2/keys"):
        deny_key(reply)
    else:
        deny(reply)


def _admit_v3(
    host: Host, request: HttpRequest, reply: HttpReply, proceed: Callable[[], None]
) -> None:
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

    user = host.machine.auth.users.get(pair[0])
    _check(host, reply, pair[1], user.password if user is not None else b"", checked)


def _admit(
    request: HttpRequest, reply: HttpReply, identity: Identity, proceed: Callable[[], None]
) -> None:
    rights = identity.rights
    changes = request.method not in ("GET", "HEAD")
    changes_members = request.path.startswith("/v2/members") and changes
    needs_root = changes_members or (
        request.path.startswith("/v2/auth/") and request.path != "/v2/auth/enable"
    )
    needs_root = needs_root or (request.path == "/v2/auth/enable" and changes)
    if rights.is_root or (rights.has_all_keys and not needs_root):
        request.identity = identity
        proceed()
    else:
        deny(reply)


def deny(reply: HttpReply) -> None:
    """Answer as etcd's v2 does."""
    reply.respond(401, (JSON,), _DENIED)


def deny_key(reply: HttpReply) -> None:
    """Answer as etcd's v2 does for a key that its own users keep from the sender."""
    reply.respond(401, (JSON,), _KEY_DENIED)
