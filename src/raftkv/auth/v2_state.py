"""Users and roles of the v2 API: a store of their own, apart from v3's, as in etcd.

Permissions are patterns of v2 paths; one that ends in ``*`` covers everything that begins with the
rest, and only such a one covers a recursive request. Whoever names no user has the rights of the
role ``guest``. The role ``root`` may do everything, and the user ``root`` always has it.

Rows of the backend (table ``auth``): ``2u`` and ``2r`` + SHA-256 of the name, JSON; ``2s``: enabled
u8, revision u64 big-endian.
"""

from __future__ import annotations

import enum
import hashlib
import json
import struct
from collections.abc import Iterable
from typing import Any, Final

ROOT: Final = "root"
GUEST: Final = "guest"
EVERYTHING: Final = {"kv": {"read": ["/*"], "write": ["/*"]}}
_FLAGS: Final = struct.Struct(">BQ")


class V2AuthOp(enum.IntEnum):
    """What a command does; part of the log's format."""

    ENABLE = 1
    DISABLE = 2
    PUT_USER = 3
    DELETE_USER = 4
    PUT_ROLE = 5
    DELETE_ROLE = 6


class V2AuthError(Exception):
    """A refusal: HTTP status and text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = f"auth: {message}"


Answer = tuple[int, Any]
"""HTTP status and document; None for an empty body."""


class V2Auth:
    """The replicated state; changed by applied entries only."""

    __slots__ = ("enabled", "revision", "roles", "users", "writes")

    def __init__(self) -> None:
        self.enabled = False
        self.revision = 1
        self.users: dict[str, dict[str, Any]] = {}
        """Name to ``{"user", "password": hash, "roles": names or None}``."""
        self.roles: dict[str, dict[str, Any]] = {}
        """Name to ``{"role", "permissions": {"kv": {"read", "write"}}}``."""
        self.writes: dict[bytes, bytes | None] = {}

    @classmethod
    def load(cls, rows: Iterable[tuple[bytes, bytes]]) -> V2Auth:
        """What the backend holds."""
        state = cls()
        for key, row in rows:
            if key == b"2s":
                enabled, state.revision = _FLAGS.unpack(row)
                state.enabled = bool(enabled)
            elif key[:2] == b"2u":
                user = json.loads(row)
                state.users[user["user"]] = user
            elif key[:2] == b"2r":
                role = json.loads(row)
                state.roles[role["role"]] = role
        return state

    # --- questions --------------------------------------------------------------------------

    def roles_of(self, name: str) -> list[str]:
        """The names of a user's roles."""
        user = self.users.get(name)
        if user is None:
            return []
        roles = list(user["roles"] or [])
        return sorted({*roles, ROOT}) if name == ROOT else roles

    def role(self, name: str) -> dict[str, Any] | None:
        """A role; root is always there."""
        if name == ROOT:
            return {"role": ROOT, "permissions": EVERYTHING}
        return self.roles.get(name)

    def may(self, roles: Iterable[str], path: str, *, writes: bool, recursive: bool) -> bool:
        """Whether one of these roles lets a request at a path."""
        for name in roles:
            role = self.role(name)
            if role is None:
                continue
            if name == ROOT:
                return True
            patterns = role["permissions"]["kv"]["write" if writes else "read"] or []
            if any(_matches(pattern, path, recursive=recursive) for pattern in patterns):
                return True
        return False

    # --- changes ----------------------------------------------------------------------------

    def apply(self, op: V2AuthOp, request: dict[str, Any]) -> Answer:
        """Carry out one command; passwords have been hashed before.

        Raises:
            V2AuthError: the caller's fault, in etcd's words.
        """
        if op is V2AuthOp.ENABLE:
            return self._enable()
        if op is V2AuthOp.DISABLE:
            return self._disable()
        if op is V2AuthOp.PUT_USER:
            return self._put_user(request)
        if op is V2AuthOp.DELETE_USER:
            return self._delete_user(request["user"])
        if op is V2AuthOp.PUT_ROLE:
            return self._put_role(request)
        return self._delete_role(request["role"])

    def _enable(self) -> Answer:
        if self.enabled:
            raise V2AuthError(409, "already enabled")
        if ROOT not in self.users:
            raise V2AuthError(409, "No root user available, please create one")
        if GUEST not in self.roles:
            self._store_role({"role": GUEST, "permissions": EVERYTHING})
        self.enabled = True
        self._changed()
        return 200, None

    def _disable(self) -> Answer:
        if not self.enabled:
            raise V2AuthError(409, "already disabled")
        self.enabled = False
        self._changed()
        return 200, None

    def _put_user(self, request: dict[str, Any]) -> Answer:
        name = request["user"]
        exists = name in self.users
        if request.get("roles"):
            if exists:
                raise V2AuthError(409, f"User {name} already exists.")
            return 200, self._create_user(request)
        if exists or request.get("grant") or request.get("revoke"):
            return 200, self._update_user(name, request)
        return 201, self._create_user(request)

    def _create_user(self, request: dict[str, Any]) -> Any:
        name = request["user"]
        if not request.get("password"):
            raise V2AuthError(400, f"Cannot create user {name} with an empty password")
        roles = request.get("roles")
        if name == ROOT:
            roles = sorted({*(roles or []), ROOT})
        self._store_user({"user": name, "password": request["password"], "roles": roles})
        self._changed()
        return {"user": name, "roles": roles}

    def _update_user(self, name: str, request: dict[str, Any]) -> Any:
        old = self.users.get(name)
        if old is None:
            raise V2AuthError(404, f"User {name} does not exist.")
        roles = set(old["roles"] or [])
        for role in request.get("grant") or []:
            if role in roles:
                raise V2AuthError(409, f"Granting duplicate role {role} for user {name}")
            roles.add(role)
        for role in request.get("revoke") or []:
            if role not in roles:
                raise V2AuthError(409, f"Revoking ungranted role {role} for user {name}")
            roles.remove(role)
        password = request.get("password") or old["password"]
        if password == old["password"] and sorted(roles) == (old["roles"] or []):
            raise V2AuthError(
                400, "User not updated. Use grant/revoke/password to update the user."
            )
        self._store_user({"user": name, "password": password, "roles": sorted(roles)})
        self._changed()
        return {"user": name, "roles": sorted(roles)}

    def _delete_user(self, name: str) -> Answer:
        if self.enabled and name == ROOT:
            raise V2AuthError(403, "Cannot delete root user while auth is enabled.")
        if name not in self.users:
            raise V2AuthError(404, f"User {name} does not exist")
        del self.users[name]
        self.writes[_key(b"2u", name)] = None
        self._changed()
        return 200, None

    def _put_role(self, request: dict[str, Any]) -> Answer:
        name = request["role"]
        if name == ROOT:
            raise V2AuthError(403, "Cannot modify role root: is root role.")
        old = self.roles.get(name)
        grant, revoke = request.get("grant"), request.get("revoke")
        if is_empty(grant) and is_empty(revoke):
            if old is not None:
                raise V2AuthError(409, f"Role {name} already exists.")
            role = {"role": name, "permissions": {"kv": kv_of(request.get("permissions"))}}
            self._store_role(role)
            self._changed()
            return 201, role
        if old is None:
            raise V2AuthError(404, f"Role {name} does not exist.")
        before = old["permissions"]["kv"]
        merged = {
            kind: _merge(kind, before[kind], kv_of(grant)[kind], kv_of(revoke)[kind])
            for kind in ("read", "write")
        }
        if all(merged[kind] == (before[kind] or []) for kind in merged):
            raise V2AuthError(400, "Role not updated. Use grant/revoke to update the role.")
        role = {"role": name, "permissions": {"kv": merged}}
        self._store_role(role)
        self._changed()
        return 200, role

    def _delete_role(self, name: str) -> Answer:
        if name == ROOT:
            raise V2AuthError(403, "Cannot modify role root: is root role.")
        if name not in self.roles:
            raise V2AuthError(404, f"Role {name} doesn't exist.")
        del self.roles[name]
        self.writes[_key(b"2r", name)] = None
        self._changed()
        return 200, None

    # --- rows -------------------------------------------------------------------------------

    def _store_user(self, user: dict[str, Any]) -> None:
        self.users[user["user"]] = user
        self.writes[_key(b"2u", user["user"])] = json.dumps(user, sort_keys=True).encode()

    def _store_role(self, role: dict[str, Any]) -> None:
        self.roles[role["role"]] = role
        self.writes[_key(b"2r", role["role"])] = json.dumps(role, sort_keys=True).encode()

    def _changed(self) -> None:
        self.revision += 1
        self.writes[b"2s"] = _FLAGS.pack(self.enabled, self.revision)


def is_v2_row(key: bytes) -> bool:
    """Whether a row of the table ``auth`` is one of these."""
    return key[:1] == b"2"


def kv_of(permissions: Any) -> dict[str, list[str] | None]:
    """The two lists of a permissions document; None where one is not given."""
    kv = (permissions or {}).get("kv") or {}
    return {"read": kv.get("read"), "write": kv.get("write")}


def is_empty(permissions: Any) -> bool:
    """Whether a permissions document names no pattern."""
    return not any(kv_of(permissions).values())


def _merge(
    kind: str, old: list[str] | None, grant: list[str] | None, revoke: list[str] | None
) -> list[str]:
    found = set(old or [])
    for pattern in grant or []:
        if pattern in found:
            raise V2AuthError(409, f"Granting duplicate {kind} permission {pattern}")
        found.add(pattern)
    return sorted(found.difference(revoke or []))


def _matches(pattern: str, path: str, *, recursive: bool) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return not recursive and path == pattern


def _key(prefix: bytes, name: str) -> bytes:
    return prefix + hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
