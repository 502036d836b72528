"""What a login costs: one slow hash for a password that is right, none for a caller who has gone."""

from __future__ import annotations

import pytest

from etcdwire import messages_auth as ma
from etcdwire.errors import Code
from raftkv.api import known_passwords
from raftkv.api.access import Caller
from raftkv.auth.passwords import is_password
from tests.kit.one_member import Answer, OneMember

ROOT = Caller("", "root")
HASHED: list[str] = []


@pytest.fixture
def member(monkeypatch: pytest.MonkeyPatch) -> OneMember:
    def counted(password: str, hashed: bytes) -> bool:
        HASHED.append(password)
        return is_password(password, hashed)

    monkeypatch.setattr(known_passwords, "is_password", counted)
    made = OneMember()
    for name in ("root", "u"):
        made.must("UserAdd", ma.AuthUserAddRequest(name, "p"), ma.HeaderOnly)
    made.must("UserGrantRole", ma.AuthUserGrantRoleRequest("root", "root"), ma.HeaderOnly)
    made.must("AuthEnable", ma.Nothing(), ma.HeaderOnly)
    HASHED.clear()
    return made


def log_in(member: OneMember, name: str, password: str) -> Answer:
    return member.call("Authenticate", ma.AuthenticateRequest(name, password))


def test_row_28_a_right_password_is_hashed_once(member: OneMember) -> None:
    member.holds_aside = True
    answers = [log_in(member, "u", "p") for _ in range(100)]
    member.run_held_aside()
    answers += [log_in(member, "u", "p") for _ in range(100)]
    assert not member.aside
    assert all(answer.body is not None for answer in answers)
    assert HASHED == ["p"]
    log_in(member, "root", "p")
    member.run_held_aside()
    assert HASHED == ["p", "p"], "each user's hash is another one"


def test_a_wrong_password_is_hashed_each_time(member: OneMember) -> None:
    for name in ("u", "u", "nobody"):
        answer = log_in(member, name, "x")
        assert answer.error is not None
        assert answer.error.code == Code.INVALID_ARGUMENT
    assert HASHED == ["x", "x", "x"]


def test_row_28_a_changed_password_counts_at_once(member: OneMember) -> None:
    assert log_in(member, "u", "p").body is not None
    change = ma.AuthUserChangePasswordRequest("u", "new")
    member.must("UserChangePassword", change, ma.HeaderOnly, ROOT)
    assert log_in(member, "u", "p").error is not None
    assert log_in(member, "u", "new").body is not None
    assert HASHED == ["p", "p", "new"]


def test_row_28_nothing_is_hashed_for_who_has_gone(member: OneMember) -> None:
    member.holds_aside = True
    gone, stays = log_in(member, "u", "p"), log_in(member, "u", "x")
    assert gone.closed is not None
    gone.closed()
    member.run_held_aside()
    assert HASHED == ["x"]
    assert (gone.body, gone.error) == (None, None)
    assert stays.error is not None


def test_a_user_deleted_while_its_password_is_hashed_gets_no_token(member: OneMember) -> None:
    member.holds_aside = True
    answer = log_in(member, "u", "p")
    member.must("UserDelete", ma.AuthUserNameRequest("u"), ma.HeaderOnly, ROOT)
    member.run_held_aside()
    assert answer.error is not None
    assert answer.body is None
