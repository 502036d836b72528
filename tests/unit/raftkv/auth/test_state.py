"""The auth state survives its own rows, and only changes that change something count."""

from __future__ import annotations

import pytest

from etcdwire import messages_auth as m
from etcdwire.errors import RequestError
from etcdwire.protobuf import Message, encode
from raftkv.auth.state import AuthOp, AuthState

STORY: list[tuple[AuthOp, Message]] = [
    (AuthOp.USER_ADD, m.AuthUserAddRequest("root", hashedPassword="h")),
    (AuthOp.ROLE_ADD, m.AuthRoleAddRequest("root")),
    (AuthOp.USER_GRANT_ROLE, m.AuthUserGrantRoleRequest("root", "root")),
    (AuthOp.ENABLE, m.Nothing()),
    (AuthOp.USER_ADD, m.AuthUserAddRequest("u" * 600, options=m.UserAddOptions(True))),
    (AuthOp.ROLE_ADD, m.AuthRoleAddRequest("r")),
    (AuthOp.ROLE_ADD, m.AuthRoleAddRequest("gone")),
    (AuthOp.ROLE_GRANT_PERMISSION, m.AuthRoleGrantPermissionRequest("r", m.Permission(2, b"a"))),
    (AuthOp.USER_GRANT_ROLE, m.AuthUserGrantRoleRequest("u" * 600, "r")),
    (AuthOp.USER_GRANT_ROLE, m.AuthUserGrantRoleRequest("u" * 600, "gone")),
    (AuthOp.ROLE_DELETE, m.AuthRoleRequest("gone")),
    (AuthOp.USER_CHANGE_PASSWORD, m.AuthUserChangePasswordRequest("root", hashedPassword="i")),
]


def test_what_was_written_is_what_is_loaded() -> None:
    state = AuthState()
    rows: dict[bytes, bytes] = {}
    for op, request in STORY:
        state.apply(op, request)
        for key, row in state.writes.items():
            if row is None:
                del rows[key]
            else:
                rows[key] = row
        state.writes = {}
        loaded = AuthState.load(rows.items())
        for one in (loaded, state):
            assert (one.enabled, one.revision) == (state.enabled, state.revision)
        assert {n: encode(u) for n, u in loaded.users.items()} == {
            n: encode(u) for n, u in state.users.items()
        }
        assert {n: encode(r) for n, r in loaded.roles.items()} == {
            n: encode(r) for n, r in state.roles.items()
        }
    assert state.enabled
    assert all(len(key) <= 511 for key in rows)


def test_what_changes_nothing_raises_no_revision() -> None:
    state = AuthState()
    for op, request in STORY:
        state.apply(op, request)
    revision = state.revision
    state.apply(AuthOp.ENABLE, m.Nothing())
    state.apply(AuthOp.USER_GRANT_ROLE, m.AuthUserGrantRoleRequest("root", "root"))
    for op, bad in (
        (AuthOp.USER_ADD, m.AuthUserAddRequest("root")),
        (AuthOp.ROLE_ADD, m.AuthRoleAddRequest("r")),
        (AuthOp.ROLE_REVOKE_PERMISSION, m.AuthRoleRevokePermissionRequest("r", b"b")),
        (AuthOp.ROLE_GRANT_PERMISSION, m.AuthRoleGrantPermissionRequest("r")),
    ):
        with pytest.raises(RequestError):
            state.apply(op, bad)
    assert state.revision == revision


def test_only_a_new_password_moves_the_credential_revision() -> None:
    state = AuthState()
    state.apply(AuthOp.USER_ADD, m.AuthUserAddRequest("u", hashedPassword="h"))
    before = state.users["u"].credential_revision
    state.apply(AuthOp.USER_GRANT_ROLE, m.AuthUserGrantRoleRequest("u", "root"))
    assert state.users["u"].credential_revision == before
    change = m.AuthUserChangePasswordRequest("u", hashedPassword="i")
    state.apply(AuthOp.USER_CHANGE_PASSWORD, change)
    assert state.users["u"].credential_revision == state.revision > before
