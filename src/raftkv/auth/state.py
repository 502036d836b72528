"""The replicated auth state: users, roles, whether auth is on, and how often all that changed.

Changed by applied entries only; every change raises ``revision``. Rows for the backend gather in
``writes``: a user's or role's row is keyed by a hash of its name, because a name may be longer than
an LMDB key.

| row | key | value |
| --- | --- | --- |
| user | ``u`` + SHA-256 of the name | ``messages_auth.User`` |
| role | ``r`` + SHA-256 of the name | ``messages_auth.Role`` |
| flags | ``s`` | enabled u8, revision u64 big-endian |
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from etcdwire import errors
from etcdwire import messages_auth as m
from etcdwire.errors import RequestError
from etcdwire.protobuf import Message, decode, encode
from raftkv.auth.rights import Rights

ROOT: Final = "root"
"""The user and the role that may do everything."""
NO_RIGHTS: Final = Rights((), is_root=False)
_FLAGS: Final = struct.Struct(">BQ")


class AuthOp(enum.IntEnum):
    """What an auth command does; part of the log's format."""

    ENABLE = 1
    DISABLE = 2
    USER_ADD = 3
    USER_DELETE = 4
    USER_CHANGE_PASSWORD = 5
    USER_GRANT_ROLE = 6
    USER_REVOKE_ROLE = 7
    ROLE_ADD = 8
    ROLE_DELETE = 9
    ROLE_GRANT_PERMISSION = 10
    ROLE_REVOKE_PERMISSION = 11


REQUESTS: Final[dict[AuthOp, type[Message]]] = {
    AuthOp.ENABLE: m.Nothing,
    AuthOp.DISABLE: m.Nothing,
    AuthOp.USER_ADD: m.AuthUserAddRequest,
    AuthOp.USER_DELETE: m.AuthUserNameRequest,
    AuthOp.USER_CHANGE_PASSWORD: m.AuthUserChangePasswordRequest,
    AuthOp.USER_GRANT_ROLE: m.AuthUserGrantRoleRequest,
    AuthOp.USER_REVOKE_ROLE: m.AuthUserRevokeRoleRequest,
    AuthOp.ROLE_ADD: m.AuthRoleAddRequest,
    AuthOp.ROLE_DELETE: m.AuthRoleRequest,
    AuthOp.ROLE_GRANT_PERMISSION: m.AuthRoleGrantPermissionRequest,
    AuthOp.ROLE_REVOKE_PERMISSION: m.AuthRoleRevokePermissionRequest,
}


class AuthState:
    """Users and roles of the cluster."""

    __slots__ = ("_rights", "enabled", "revision", "roles", "users", "writes")

    def __init__(self) -> None:
        self.enabled = False
        self.revision = 1
        self.users: dict[str, m.User] = {}
        self.roles: dict[str, m.Role] = {}
        self.writes: dict[bytes, bytes | None] = {}
        self._rights: dict[str, Rights] = {}

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> AuthState:
        """What the backend holds."""
        state = cls()
        for key, row in rows:
            if key == b"s":
                enabled, state.revision = _FLAGS.unpack(row)
                state.enabled = bool(enabled)
            elif key[:1] == b"u":
                user = decode(m.User, row)
                state.users[user.name.decode()] = user
            elif key[:1] == b"r":
                role = decode(m.Role, row)
                state.roles[role.name.decode()] = role
        return state

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything, as the backend holds it."""
        yield b"s", _FLAGS.pack(self.enabled, self.revision)
        for name, user in self.users.items():
            yield _key(b"u", name), encode(user)
        for name, role in self.roles.items():
            yield _key(b"r", name), encode(role)

    # --- questions --------------------------------------------------------------------------

    def rights_of(self, name: str) -> Rights | None:
        """A user's rights, None when there is no such user. Cached until the next change."""
        rights = self._rights.get(name)
        if rights is None:
            user = self.users.get(name)
            if user is None:
                return None
            permissions = [
                permission
                for role in user.roles
                if role in self.roles
                for permission in self.roles[role].keyPermission
            ]
            rights = Rights(permissions, is_root=ROOT in user.roles)
            self._rights[name] = rights
        return rights

    def has_role(self, name: str, role: str) -> bool:
        """Whether a user has a role."""
        user = self.users.get(name)
        return user is not None and role in user.roles

    # --- changes ----------------------------------------------------------------------------

    def apply(self, op: AuthOp, request: Message) -> None:
        """Carry out one command.

        Raises:
            RequestError: the caller's fault, in etcd's words.
        """
        _CHANGES[op](self, request)

    def _enable(self, _: m.Nothing) -> None:
        if self.enabled:
            return
        user = self.users.get(ROOT)
        if user is None:
            raise errors.ROOT_USER_MISSING
        if ROOT not in user.roles:
            raise errors.ROOT_ROLE_MISSING
        self.enabled = True
        self._changed()

    def _disable(self, _: m.Nothing) -> None:
        if self.enabled:
            self.enabled = False
            self._changed()

    def _user_add(self, request: m.AuthUserAddRequest) -> None:
        if not request.name:
            raise errors.USER_EMPTY
        if request.name in self.users:
            raise errors.USER_EXISTS
        self._changed()
        user = m.User(
            request.name.encode(),
            request.hashedPassword.encode("latin-1"),
            [],
            request.options,
            self.revision,
        )
        self._put_user(user)

    def _user_delete(self, request: m.AuthUserNameRequest) -> None:
        if self.enabled and request.name == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        self._user(request.name)
        del self.users[request.name]
        self.writes[_key(b"u", request.name)] = None
        self._changed()

    def _user_change_password(self, request: m.AuthUserChangePasswordRequest) -> None:
        user = self._user(request.name)
        self._changed()
        user.password = request.hashedPassword.encode("latin-1")
        user.credential_revision = self.revision
        self._put_user(user)

    def _user_grant_role(self, request: m.AuthUserGrantRoleRequest) -> None:
        user = self._user(request.user)
        if request.role != ROOT and request.role not in self.roles:
            raise errors.ROLE_NOT_FOUND
        if request.role not in user.roles:
            user.roles = sorted([*user.roles, request.role])
            self._put_user(user)
            self._changed()

    def _user_revoke_role(self, request: m.AuthUserRevokeRoleRequest) -> None:
        if self.enabled and request.name == ROOT and request.role == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        user = self._user(request.name)
        if request.role not in user.roles:
            raise errors.ROLE_NOT_GRANTED
        user.roles = [role for role in user.roles if role != request.role]
        self._put_user(user)
        self._changed()

    def _role_add(self, request: m.AuthRoleAddRequest) -> None:
        if not request.name:
            raise errors.ROLE_EMPTY
        if request.name in self.roles:
            raise errors.ROLE_EXISTS
        self._put_role(m.Role(request.name.encode()))
        self._changed()

    def _role_delete(self, request: m.AuthRoleRequest) -> None:
        if self.enabled and request.role == ROOT:
            raise errors.INVALID_AUTH_MANAGEMENT
        self._role(request.role)
        del self.roles[request.role]
        self.writes[_key(b"r", request.role)] = None
        for user in self.users.values():
            if request.role in user.roles:
                user.roles = [role for role in user.roles if role != request.role]
                self._put_user(user)
        self._changed()

    def _role_grant_permission(self, request: m.AuthRoleGrantPermissionRequest) -> None:
        granted = request.perm
        if granted is None:
            raise errors.PERMISSION_NOT_GIVEN
        role = self._role(request.name)
        for permission in role.keyPermission:
            if (permission.key, permission.range_end) == (granted.key, granted.range_end):
                permission.permType = granted.permType
                break
        else:
            role.keyPermission.append(granted)
            role.keyPermission.sort(key=lambda permission: permission.key)
        self._put_role(role)
        self._changed()

    def _role_revoke_permission(self, request: m.AuthRoleRevokePermissionRequest) -> None:
        role = self._role(request.role)
        kept = [
            permission
            for permission in role.keyPermission
            if (permission.key, permission.range_end) != (request.key, request.range_end)
        ]
        if len(kept) == len(role.keyPermission):
            raise errors.PERMISSION_NOT_GRANTED
        role.keyPermission = kept
        self._put_role(role)
        self._changed()

    # --- rows -------------------------------------------------------------------------------

    def _user(self, name: str) -> m.User:
        user = self.users.get(name)
        if user is None:
            raise errors.USER_NOT_FOUND
        return user

    def _role(self, name: str) -> m.Role:
        role = self.roles.get(name)
        if role is None:
            raise errors.ROLE_NOT_FOUND
        return role

    def _put_user(self, user: m.User) -> None:
        name = user.name.decode()
        self.users[name] = user
        self.writes[_key(b"u", name)] = encode(user)

    def _put_role(self, role: m.Role) -> None:
        name = role.name.decode()
        self.roles[name] = role
        self.writes[_key(b"r", name)] = encode(role)

    def _changed(self) -> None:
        self.revision += 1
        self._rights.clear()
        self.writes[b"s"] = _FLAGS.pack(self.enabled, self.revision)


def _key(prefix: bytes, name: str) -> bytes:
    return prefix + hashlib.sha256(name.encode()).digest()


_CHANGES: Final[dict[AuthOp, Callable[[AuthState, Any], None]]] = {
    AuthOp.ENABLE: AuthState._enable,  # noqa: SLF001 - the class's own table
    AuthOp.DISABLE: AuthState._disable,  # noqa: SLF001
    AuthOp.USER_ADD: AuthState._user_add,  # noqa: SLF001
    AuthOp.USER_DELETE: AuthState._user_delete,  # noqa: SLF001
    AuthOp.USER_CHANGE_PASSWORD: AuthState._user_change_password,  # noqa: SLF001
    AuthOp.USER_GRANT_ROLE: AuthState._user_grant_role,  # noqa: SLF001
    AuthOp.USER_REVOKE_ROLE: AuthState._user_revoke_role,  # noqa: SLF001
    AuthOp.ROLE_ADD: AuthState._role_add,  # noqa: SLF001
    AuthOp.ROLE_DELETE: AuthState._role_delete,  # noqa: SLF001
    AuthOp.ROLE_GRANT_PERMISSION: AuthState._role_grant_permission,  # noqa: SLF001
    AuthOp.ROLE_REVOKE_PERMISSION: AuthState._role_revoke_permission,  # noqa: SLF001
}


__all__ = ["NO_RIGHTS", "REQUESTS", "ROOT", "AuthOp", "AuthState", "RequestError"]
