"""Only what every member can apply gets into the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftkv.api.v2_auth import _read


@pytest.mark.parametrize(
    ("family", "body", "expected"),
    [
        ("users", {"user": "u", "password": None, "x": 1, "role": "r"}, {"user": "u"}),
        ("users", {"user": "u", "role": "r", "roles": 5}, None),
        ("users", {"user": "u", "roles": ["r", 5]}, None),
        ("users", {"user": "u", "grant": {"kv": {}}}, None),
        ("users", {"user": ["u"]}, None),
        ("users", {"user": "u", "password": 1}, None),
        ("users", [], None),
        ("roles", {"role": "r", "grant": ["x"]}, None),
        ("roles", {"role": "r", "grant": {"kv": ["x"]}}, None),
        ("roles", {"role": "r", "grant": {"kv": {"read": "x"}}}, None),
        ("roles", {"role": "r", "grant": {"kv": {"read": [None]}}}, None),
        (
            "roles",
            {"role": "r", "permissions": {"kv": {"read": ["/"], "else": 5}, "x": 1}},
            {"role": "r", "permissions": {"kv": {"read": ["/"], "write": None}}},
        ),
        (
            "roles",
            {"role": "r", "permissions": {"kv": None}},
            {"role": "r", "permissions": {"kv": {"read": None, "write": None}}},
        ),
    ],
)
def test_fields(family: str, body: Any, expected: Any) -> None:
    assert _read(family, json.dumps(body).encode()) == expected


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"user":"\xff"}'])
def test_no_json(text: bytes) -> None:
    assert _read("users", text) is None
