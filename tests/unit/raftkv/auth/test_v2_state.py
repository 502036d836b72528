"""v2's own users survive their rows, and decide at apply over what was proposed before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etcdwire.errors import AUTH_OLD_REVISION
from raftkv.auth.state import AuthState
from raftkv.auth.v2_state import V2Auth, V2AuthError, V2AuthOp
from raftkv.replica.commands import (
    CommandV2,
    MethodV2,
    encode_as_user,
    encode_v2,
    encode_v2_auth,
    encode_v2_checked,
)
from raftkv.replica.machine import Machine
from raftkv.store.tree_v2 import EventV2
from raftkv.values import Index, Term
from tests.kit.one_member import new_machine

KV = {"kv": {"read": ["/a/*"], "write": ["/a/b"]}}
STORY: list[tuple[V2AuthOp, dict[str, Any]]] = [
    (V2AuthOp.PUT_USER, {"user": "root", "password": "h"}),
    (V2AuthOp.PUT_ROLE, {"role": "r", "permissions": KV}),
    (V2AuthOp.PUT_ROLE, {"role": "gone"}),
    (V2AuthOp.PUT_USER, {"user": "u" * 600, "password": "i", "roles": ["r", "gone"]}),
    (V2AuthOp.ENABLE, {}),
    (V2AuthOp.PUT_ROLE, {"role": "r", "revoke": {"kv": {"write": ["/a/b"]}}}),
    (V2AuthOp.DELETE_ROLE, {"role": "gone"}),
    (V2AuthOp.PUT_USER, {"user": "v", "password": "j"}),
    (V2AuthOp.DELETE_USER, {"user": "v"}),
    (V2AuthOp.DISABLE, {}),
]


def test_what_was_written_is_what_is_loaded() -> None:
    state = V2Auth()
    rows: dict[bytes, bytes] = {}
    for op, request in STORY:
        state.apply(op, request)
        for key, row in state.writes.items():
            if row is None:
                del rows[key]
            else:
                rows[key] = row
        state.writes = {}
        loaded = V2Auth.load(rows.items())
        assert (loaded.enabled, loaded.revision) == (state.enabled, state.revision)
        assert (loaded.users, loaded.roles) == (state.users, state.roles)
    assert sorted(state.roles) == ["guest", "r"]
    assert all(len(key) <= 511 for key in rows)
    v3 = AuthState.load(rows.items())
    assert not v3.users
    assert not v3.roles
    assert not v3.enabled


@pytest.mark.parametrize(
    ("pattern", "path", "recursive", "expected"),
    [
        ("/a", "/a", False, True),
        ("/a", "/a", True, False),
        ("/a", "/ab", False, False),
        ("/a*", "/ab", False, True),
        ("/a/*", "/a", False, False),
        ("/a/*", "/a/", True, True),
        ("/a/*", "/a/b/c", True, True),
        ("*", "", True, True),
        ("", "", False, True),
        ("/a*b", "/a*b", False, True),
        ("/a*b", "/axb", False, False),
    ],
)
def test_patterns(pattern: str, path: str, recursive: bool, expected: bool) -> None:
    state = V2Auth()
    state.apply(V2AuthOp.PUT_ROLE, {"role": "r", "permissions": {"kv": {"read": [pattern]}}})
    assert state.may(["gone", "r"], path, writes=False, recursive=recursive) is expected
    assert not state.may(["r"], path, writes=True, recursive=recursive)
    assert state.may(["root"], path, writes=True, recursive=recursive)


class One:
    """A machine to give commands."""

    def __init__(self) -> None:
        self.machine: Machine = new_machine()
        self._index = 0

    def apply(self, command: bytes) -> object:
        self._index += 1
        return self.machine.apply(Index(self._index), Term(1), [command], True)[0]

    def change(self, op: V2AuthOp, wrapped_at: int | None = None, **fields: Any) -> object:
        command = encode_v2_auth(op, json.dumps(fields).encode())
        return self.apply(
            command if wrapped_at is None else encode_v2_checked(wrapped_at, command)
        )


def test_what_was_checked_before_users_changed_is_not_done() -> None:
    one = One()
    write = encode_v2(CommandV2(MethodV2.SET, "/k", "1"))
    assert isinstance(one.apply(write), EventV2)
    assert isinstance(one.change(V2AuthOp.ENABLE), V2AuthError)
    one.change(V2AuthOp.PUT_USER, user="root", password="h")
    assert one.change(V2AuthOp.ENABLE) == (200, None)
    state = one.machine.v2_auth
    now = state.revision
    for stale in (
        write,
        encode_as_user("root", 1, write),
        encode_v2_checked(now - 1, write),
    ):
        assert one.apply(stale) is AUTH_OLD_REVISION
    assert one.change(V2AuthOp.DISABLE) is AUTH_OLD_REVISION
    assert isinstance(one.apply(encode_v2_checked(now, write)), EventV2)
    assert one.change(V2AuthOp.DISABLE, wrapped_at=now) == (200, None)
    assert not one.machine.is_guarded
    assert isinstance(one.apply(encode_v2_checked(now, write)), EventV2)
    taken = one.machine.take_unflushed()
    assert {key[:2] for _, key, _ in taken.others} == {b"2s", b"2u", b"2r"}
