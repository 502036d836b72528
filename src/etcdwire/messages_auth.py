"""etcd's v3 messages of the Auth service: ``authpb`` and the Auth part of ``etcdserverpb``.

Field numbers and names are etcd 3.4's; ``hashedPassword`` and ``AuthStatus`` are 3.5's.
"""

# ruff: noqa: N815  (field names are the wire's)

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from etcdwire.messages import ResponseHeader
from etcdwire.protobuf import ENUMS, Message, declare


class PermissionType(enum.IntEnum):
    """What a permission lets do."""

    READ = 0
    WRITE = 1
    READWRITE = 2


ENUMS["PermissionType"] = PermissionType


@dataclass(slots=True)
class UserAddOptions(Message):
    """How a user may log in."""

    no_password: bool = False


@dataclass(slots=True)
class Permission(Message):
    """A right on ``[key, range_end)``; an empty end means the one key."""

    permType: int = 0
    key: bytes = b""
    range_end: bytes = b""


@dataclass(slots=True)
class User(Message):
    """A user as it is stored."""

    name: bytes = b""
    password: bytes = b""
    """A bcrypt hash; empty without password."""
    roles: list[str] = field(default_factory=list)
    options: UserAddOptions | None = None
    credential_revision: int = 0
    """Ours: the auth revision at which this user's password was set last."""


@dataclass(slots=True)
class Role(Message):
    """A role as it is stored."""

    name: bytes = b""
    keyPermission: list[Permission] = field(default_factory=list)


@dataclass(slots=True)
class HeaderOnly(Message):
    """An answer that says only that it was done."""

    header: ResponseHeader | None = None


@dataclass(slots=True)
class Nothing(Message):
    """A request without fields."""


@dataclass(slots=True)
class AuthStatusResponse(Message):
    """Whether auth is on, and how often it changed."""

    header: ResponseHeader | None = None
    enabled: bool = False
    authRevision: int = 0


@dataclass(slots=True)
class AuthenticateRequest(Message):
    """Log in."""

    name: str = ""
    password: str = ""


@dataclass(slots=True)
class AuthenticateResponse(Message):
    """The token to send along with further calls."""

    header: ResponseHeader | None = None
    token: str = ""


@dataclass(slots=True)
class AuthUserAddRequest(Message):
    """Add a user."""

    name: str = ""
    password: str = ""
    options: UserAddOptions | None = None
    hashedPassword: str = ""


@dataclass(slots=True)
class AuthUserNameRequest(Message):
    """Get or delete a user."""

    name: str = ""


@dataclass(slots=True)
class AuthUserGetResponse(Message):
    """A user's roles."""

    header: ResponseHeader | None = None
    roles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class AuthUserChangePasswordRequest(Message):
    """Give a user another password."""

    name: str = ""
    password: str = ""
    hashedPassword: str = ""


@dataclass(slots=True)
class AuthUserGrantRoleRequest(Message):
    """Give a user a role."""

    user: str = ""
    role: str = ""


@dataclass(slots=True)
class AuthUserRevokeRoleRequest(Message):
    """Take a role from a user."""

    name: str = ""
    role: str = ""


@dataclass(slots=True)
class AuthRoleAddRequest(Message):
    """Add a role."""

    name: str = ""


@dataclass(slots=True)
class AuthRoleRequest(Message):
    """Get or delete a role."""

    role: str = ""


@dataclass(slots=True)
class AuthRoleGetResponse(Message):
    """A role's permissions."""

    header: ResponseHeader | None = None
    perm: list[Permission] = field(default_factory=list)


@dataclass(slots=True)
class AuthUserListResponse(Message):
    """All users."""

    header: ResponseHeader | None = None
    users: list[str] = field(default_factory=list)


@dataclass(slots=True)
class AuthRoleListResponse(Message):
    """All roles."""

    header: ResponseHeader | None = None
    roles: list[str] = field(default_factory=list)


@dataclass(slots=True)
class AuthRoleGrantPermissionRequest(Message):
    """Give a role a permission."""

    name: str = ""
    perm: Permission | None = None


@dataclass(slots=True)
class AuthRoleRevokePermissionRequest(Message):
    """Take a permission from a role: the one with exactly this range."""

    role: str = ""
    key: bytes = b""
    range_end: bytes = b""


declare(UserAddOptions, "1 no_password bool")
declare(
    Permission,
    """
    1 permType PermissionType
    2 key bytes
    3 range_end bytes
    """,
)
declare(
    User,
    """
    1 name bytes
    2 password bytes
    3 roles repeated string
    4 options UserAddOptions
    100 credential_revision uint64
    """,
)
declare(
    Role,
    """
    1 name bytes
    2 keyPermission repeated Permission
    """,
)
declare(HeaderOnly, "1 header ResponseHeader")
declare(Nothing, "")
declare(
    AuthStatusResponse,
    """
    1 header ResponseHeader
    2 enabled bool
    3 authRevision uint64
    """,
)
declare(
    AuthenticateRequest,
    """
    1 name string
    2 password string
    """,
)
declare(
    AuthenticateResponse,
    """
    1 header ResponseHeader
    2 token string
    """,
)
declare(
    AuthUserAddRequest,
    """
    1 name string
    2 password string
    3 options UserAddOptions
    4 hashedPassword string
    """,
)
declare(AuthUserNameRequest, "1 name string")
declare(
    AuthUserGetResponse,
    """
    1 header ResponseHeader
    2 roles repeated string
    """,
)
declare(
    AuthUserChangePasswordRequest,
    """
    1 name string
    2 password string
    3 hashedPassword string
    """,
)
declare(
    AuthUserGrantRoleRequest,
    """
    1 user string
    2 role string
    """,
)
declare(
    AuthUserRevokeRoleRequest,
    """
    1 name string
    2 role string
    """,
)
declare(AuthRoleAddRequest, "1 name string")
declare(AuthRoleRequest, "1 role string")
declare(
    AuthRoleGetResponse,
    """
    1 header ResponseHeader
    2 perm repeated Permission
    """,
)
declare(
    AuthUserListResponse,
    """
    1 header ResponseHeader
    2 users repeated string
    """,
)
declare(
    AuthRoleListResponse,
    """
    1 header ResponseHeader
    2 roles repeated string
    """,
)
declare(
    AuthRoleGrantPermissionRequest,
    """
    1 name string
    2 perm Permission
    """,
)
declare(
    AuthRoleRevokePermissionRequest,
    """
    1 role string
    2 key bytes
    3 range_end bytes
    """,
)
