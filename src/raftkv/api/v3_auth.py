"""The Auth service: users, roles, logins. Levels are checked before (``services``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from etcdwire import errors
from etcdwire import messages as m
from etcdwire import messages_auth as ma
from etcdwire.errors import ApiError
from etcdwire.hot import encode_field
from etcdwire.protobuf import Message, decode, encode
from raftkv.api.calls import Call, ReadToken, propose
from raftkv.api.host import Host
from raftkv.auth.passwords import hash_password
from raftkv.auth.state import REQUESTS, AuthOp
from raftkv.replica.commands import encode_auth

_NOBODY: Final = b"$2a$%02d$Q9JiWw0Hh2Y5m0pYbRz1QuY1qFj6d7m8bW2gS8f5JpYqXb0i1Vb1K"
"""Checked in place of an unknown user's hash, so that answers take equally long."""


def _writer(op: AuthOp) -> Callable[[Host, Call, bytes], None]:
    def write(host: Host, call: Call, data: bytes) -> None:
        decode(REQUESTS[op], data)  # damaged bytes end here, not in the log
        propose(host, call, encode_auth(op, data))

    return write


enable = _writer(AuthOp.ENABLE)
disable = _writer(AuthOp.DISABLE)
user_delete = _writer(AuthOp.USER_DELETE)
user_grant_role = _writer(AuthOp.USER_GRANT_ROLE)
user_revoke_role = _writer(AuthOp.USER_REVOKE_ROLE)
role_add = _writer(AuthOp.ROLE_ADD)
role_delete = _writer(AuthOp.ROLE_DELETE)
role_grant_permission = _writer(AuthOp.ROLE_GRANT_PERMISSION)
role_revoke_permission = _writer(AuthOp.ROLE_REVOKE_PERMISSION)


def user_add(host: Host, call: Call, data: bytes) -> None:
    """UserAdd: the log gets the hash, never the password."""
    request = decode(ma.AuthUserAddRequest, data)
    if not request.name:
        raise errors.USER_EMPTY
    if request.options is not None and request.options.no_password:
        request.password = request.hashedPassword = ""
        propose(host, call, encode_auth(AuthOp.USER_ADD, encode(request)))
        return
    _hash_then_propose(host, call, AuthOp.USER_ADD, request)


def user_change_password(host: Host, call: Call, data: bytes) -> None:
    """UserChangePassword."""
    request = decode(ma.AuthUserChangePasswordRequest, data)
    if request.name not in host.machine.auth.users:
        raise errors.USER_NOT_FOUND
    _hash_then_propose(host, call, AuthOp.USER_CHANGE_PASSWORD, request)


def _hash_then_propose(
    host: Host,
    call: Call,
    op: AuthOp,
    request: ma.AuthUserAddRequest | ma.AuthUserChangePasswordRequest,
) -> None:
    password, request.password = request.password, ""
    cost = host.bcrypt_cost

    def go_on(hashed: str) -> None:
        request.hashedPassword = hashed
        propose(host, call, encode_auth(op, encode(request)))

    host.run_aside(lambda: hash_password(password, cost), go_on)


# --- reads: linearizable, as in etcd ---------------------------------------------------------


def _header(host: Host) -> m.ResponseHeader:
    return m.ResponseHeader(host.cluster_id, host.member_id, host.machine.kv.revision, host.term)


def _read(host: Host, call: Call, build: Callable[[], Message]) -> None:
    def answer(call: Call) -> None:
        try:
            body = encode(build())
        except ApiError as error:
            call.fail(error)
            return
        call.ok(body)

    host.read(ReadToken(call, answer))


def status(host: Host, call: Call, data: bytes) -> None:  # noqa: ARG001 - as all handlers
    """AuthStatus (of etcd 3.5)."""
    _read(
        host,
        call,
        lambda: ma.AuthStatusResponse(
            _header(host), host.machine.auth.enabled, host.machine.auth.revision
        ),
    )


def user_get(host: Host, call: Call, data: bytes) -> None:
    """UserGet: root, or the user itself."""
    name = decode(ma.AuthUserNameRequest, data).name
    identity = call.identity
    if identity is not None and not identity.rights.is_root and identity.name != name:
        raise errors.PERMISSION_DENIED

    def build() -> Message:
        user = host.machine.auth.users.get(name)
        if user is None:
            raise errors.USER_NOT_FOUND
        return ma.AuthUserGetResponse(_header(host), user.roles)

    _read(host, call, build)


def user_list(host: Host, call: Call, data: bytes) -> None:  # noqa: ARG001 - as all handlers
    """UserList."""
    _read(
        host,
        call,
        lambda: ma.AuthUserListResponse(_header(host), sorted(host.machine.auth.users)),
    )


def role_get(host: Host, call: Call, data: bytes) -> None:
    """RoleGet: root, or who has the role."""
    name = decode(ma.AuthRoleRequest, data).role
    identity = call.identity
    auth = host.machine.auth
    if (
        identity is not None
        and not identity.rights.is_root
        and not auth.has_role(identity.name, name)
    ):
        raise errors.PERMISSION_DENIED

    def build() -> Message:
        role = host.machine.auth.roles.get(name)
        if role is None:
            raise errors.ROLE_NOT_FOUND
        return ma.AuthRoleGetResponse(_header(host), role.keyPermission)

    _read(host, call, build)


def role_list(host: Host, call: Call, data: bytes) -> None:  # noqa: ARG001 - as all handlers
    """RoleList."""
    _read(
        host,
        call,
        lambda: ma.AuthRoleListResponse(_header(host), sorted(host.machine.auth.roles)),
    )


# --- logins ---------------------------------------------------------------------------------


def authenticate(host: Host, call: Call, data: bytes) -> None:
    """Authenticate: the password is checked on another thread against fresh state."""
    request = decode(ma.AuthenticateRequest, data)
    if not host.machine.auth.enabled:
        raise errors.AUTH_NOT_ENABLED
    _Login(host, call, request.name, request.password).begin()


class _Login:
    """One login under way."""

    __slots__ = ("_attempts", "_call", "_host", "_is_given_up", "_name", "_password", "_revision")

    def __init__(self, host: Host, call: Call, name: str, password: str) -> None:
        self._host = host
        self._call = call
        self._name = name
        self._password = password
        self._revision = 0
        self._attempts = 0
        self._is_given_up = False

    def begin(self) -> None:
        self._host.read(ReadToken(self._call, lambda _: self._check()))

    def _check(self) -> None:
        host, auth = self._host, self._host.machine.auth
        user = auth.users.get(self._name)
        if not auth.enabled:
            self._call.fail(errors.AUTH_NOT_ENABLED)
            return
        if user is not None and user.options is not None and user.options.no_password:
            self._call.fail(errors.NO_PASSWORD_USER)
            return
        hashed = user.password if user is not None else _NOBODY % host.bcrypt_cost
        self._revision = user.credential_revision if user is not None else 0
        self._call.on_close(self._give_up)
        try:
            host.passwords.check(
                host, self._password, hashed, self._checked, lambda: not self._is_given_up
            )
        except ApiError as error:
            self._call.on_close(None)
            self._call.fail(error)

    def _give_up(self) -> None:
        self._is_given_up = True

    def _checked(self, is_right: bool) -> None:  # noqa: FBT001 - a callback
        if self._is_given_up:
            return
        self._call.on_close(None)
        if is_right and self._name in self._host.machine.auth.users:
            self._host.logins.issue(self._name, self._revision, self._issued)
        else:
            self._call.fail(errors.AUTH_FAILED)

    def _issued(self, token: object) -> None:
        host = self._host
        if isinstance(token, str):
            header = host.headers.encode(host.machine.kv.revision, host.term)
            self._call.ok(header + encode_field(b"\x12", token.encode()))
        elif token is errors.AUTH_OLD_REVISION and self._attempts < 3:
            self._attempts += 1  # the password changed meanwhile: check against the new one
            self.begin()
        else:
            assert isinstance(token, ApiError)
            self._call.fail(token)
