"""Users, roles and permissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from etcdwire import messages_auth as m
from etcdwire.protobuf import Message
from kvclient.calls import Calls

Kind = Literal["read", "write", "readwrite"]
_KINDS: Final[dict[str, int]] = {"read": 0, "write": 1, "readwrite": 2}
_NAMES: Final[tuple[Kind, ...]] = ("read", "write", "readwrite")
_AUTH: Final = "/etcdserverpb.Auth/"


@dataclass(frozen=True, slots=True)
class Permission:
    """A right on ``[key, range_end)``: one key for an empty end, all from ``key`` for a zero byte."""

    key: bytes
    range_end: bytes
    kind: Kind


@dataclass(frozen=True, slots=True)
class AuthStatus:
    """Whether auth is on, and how often users and roles changed."""

    enabled: bool
    revision: int


class AuthCalls(Calls):
    """The Auth service. All but ``auth_status`` need the root role while auth is on."""

    def _change(self, method: str, request: Message) -> None:
        path = (_AUTH + method).encode()
        self.call(path, request, m.HeaderOnly, is_write=True)

    def auth_enable(self) -> None:
        """Switch auth on: user root must exist and have the role root.

        Raises:
            RequestError: it does not.
        """
        self._change("AuthEnable", m.Nothing())

    def auth_disable(self) -> None:
        """Switch auth off: everybody may do everything."""
        self._change("AuthDisable", m.Nothing())

    def auth_status(self) -> AuthStatus:
        """Whether auth is on (raftkv, etcd 3.5 and newer).

        Raises:
            RequestError: etcd 3.4 does not know this call.
        """
        path = (_AUTH + "AuthStatus").encode()
        answer = self.call(path, m.Nothing(), m.AuthStatusResponse)
        return AuthStatus(answer.enabled, answer.authRevision)

    def user_add(self, name: str, password: str | None = None) -> None:
        """Add a user; without a password it can only come by certificate."""
        options = m.UserAddOptions(no_password=True) if password is None else None
        self._change("UserAdd", m.AuthUserAddRequest(name, password or "", options))

    def user_delete(self, name: str) -> None:
        """Delete a user; its tokens end."""
        self._change("UserDelete", m.AuthUserNameRequest(name))

    def user_get(self, name: str) -> tuple[str, ...]:
        """The roles of a user."""
        path = (_AUTH + "UserGet").encode()
        answer = self.call(path, m.AuthUserNameRequest(name), m.AuthUserGetResponse)
        return tuple(answer.roles)

    def user_list(self) -> tuple[str, ...]:
        """The names of all users."""
        path = (_AUTH + "UserList").encode()
        return tuple(self.call(path, m.Nothing(), m.AuthUserListResponse).users)

    def user_change_password(self, name: str, password: str) -> None:
        """Give a user another password; its tokens end."""
        self._change("UserChangePassword", m.AuthUserChangePasswordRequest(name, password))

    def user_grant_role(self, user: str, role: str) -> None:
        """Give a user a role."""
        self._change("UserGrantRole", m.AuthUserGrantRoleRequest(user, role))

    def user_revoke_role(self, user: str, role: str) -> None:
        """Take a role from a user."""
        self._change("UserRevokeRole", m.AuthUserRevokeRoleRequest(user, role))

    def role_add(self, name: str) -> None:
        """Add a role without permissions."""
        self._change("RoleAdd", m.AuthRoleAddRequest(name))

    def role_delete(self, name: str) -> None:
        """Delete a role; users lose it."""
        self._change("RoleDelete", m.AuthRoleRequest(name))

    def role_get(self, name: str) -> tuple[Permission, ...]:
        """The permissions of a role, by key."""
        path = (_AUTH + "RoleGet").encode()
        answer = self.call(path, m.AuthRoleRequest(name), m.AuthRoleGetResponse)
        return tuple(Permission(p.key, p.range_end, _NAMES[p.permType]) for p in answer.perm)

    def role_list(self) -> tuple[str, ...]:
        """The names of all roles."""
        path = (_AUTH + "RoleList").encode()
        return tuple(self.call(path, m.Nothing(), m.AuthRoleListResponse).roles)

    def role_grant_permission(
        self, role: str, key: bytes, range_end: bytes = b"", kind: Kind = "readwrite"
    ) -> None:
        """Give a role a permission; the same range once more only changes its kind."""
        permission = m.Permission(_KINDS[kind], key, range_end)
        request = m.AuthRoleGrantPermissionRequest(role, permission)
        self._change("RoleGrantPermission", request)

    def role_revoke_permission(self, role: str, key: bytes, range_end: bytes = b"") -> None:
        """Take the permission on exactly this range from a role."""
        request = m.AuthRoleRevokePermissionRequest(role, key, range_end)
        self._change("RoleRevokePermission", request)
