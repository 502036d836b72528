"""Rights that change under a request: nothing is answered or applied on rights that are gone."""

from __future__ import annotations

from etcdwire import messages as m
from etcdwire import messages_auth as ma
from etcdwire.errors import Code
from etcdwire.protobuf import decode, encode
from raftkv.api.access import Caller
from raftkv.api.v3_watch import WatchStream
from raftkv.auth.state import AuthOp
from raftkv.replica.commands import CommandKind, encode_as_user, encode_auth
from raftkv.values import Index
from tests.kit.one_member import OneMember, Stream

ROOT = Caller("", "root")
USER = Caller("", "u")


def secured() -> OneMember:
    member = OneMember()
    must = member.must
    for name in ("root", "u"):
        must("UserAdd", ma.AuthUserAddRequest(name, "p"), ma.HeaderOnly)
    must("UserGrantRole", ma.AuthUserGrantRoleRequest("root", "root"), ma.HeaderOnly)
    must("RoleAdd", ma.AuthRoleAddRequest("r"), ma.HeaderOnly)
    must("UserGrantRole", ma.AuthUserGrantRoleRequest("u", "r"), ma.HeaderOnly)
    grant = ma.AuthRoleGrantPermissionRequest("r", ma.Permission(2, b"k", b"l"))
    must("RoleGrantPermission", grant, ma.HeaderOnly)
    must("AuthEnable", ma.Nothing(), ma.HeaderOnly)
    return member


def change(member: OneMember, op: AuthOp, request: ma.Message) -> None:
    """A change of the auth state that another member proposed."""
    revision = member.machine.auth.revision
    member.apply(encode_as_user("root", revision, encode_auth(op, encode(request))))


def test_a_right_taken_between_check_and_apply_is_refused_and_nothing_is_written() -> None:
    member = secured()
    member.before_apply = lambda: change(
        member, AuthOp.USER_REVOKE_ROLE, ma.AuthUserRevokeRoleRequest("u", "r")
    )
    answer = member.call("Put", m.PutRequest(b"k", b"v"), USER)
    assert answer.error is not None
    assert answer.error.code == Code.PERMISSION_DENIED
    assert member.machine.kv.latest(b"k") is None


def test_a_change_that_does_not_concern_the_caller_is_not_felt() -> None:
    member = secured()
    member.before_apply = lambda: change(member, AuthOp.ROLE_ADD, ma.AuthRoleAddRequest("other"))
    member.must("Put", m.PutRequest(b"k", b"v"), m.PutResponse, USER)
    assert member.machine.kv.revision == 2


def test_a_command_without_a_user_is_void_once_auth_is_on() -> None:
    member = secured()
    result = member.apply(bytes((CommandKind.PUT,)) + encode(m.PutRequest(b"k", b"v")))
    assert getattr(result, "message", "") == "etcdserver: user name is empty"
    assert member.machine.kv.revision == 1


def test_the_last_change_of_users_may_switch_auth_off() -> None:
    member = secured()
    member.must("AuthDisable", ma.Nothing(), ma.HeaderOnly, ROOT)
    member.must("Put", m.PutRequest(b"z", b"v"), m.PutResponse)


def login(member: OneMember, name: str, password: str) -> str:
    request = ma.AuthenticateRequest(name, password)
    return member.must("Authenticate", request, ma.AuthenticateResponse).token


def test_a_token_ends_with_the_password_and_the_log_never_sees_one() -> None:
    member = secured()
    seen: list[bytes] = []
    apply = member.apply
    member.apply = lambda command: (seen.append(command), apply(command))[1]  # type: ignore[func-returns-value, method-assign]
    token = Caller(login(member, "u", "p"))
    member.must("Put", m.PutRequest(b"k", b"v"), m.PutResponse, token)
    new = ma.AuthUserChangePasswordRequest("u", "another secret")
    member.must("UserChangePassword", new, ma.HeaderOnly, ROOT)
    answer = member.call("Put", m.PutRequest(b"k", b"v"), token)
    assert answer.error is not None
    assert answer.error.code == Code.UNAUTHENTICATED
    assert login(member, "u", "another secret")
    assert not any(b"another secret" in command for command in seen)


def test_a_password_changed_during_a_login_is_checked_again() -> None:
    member = secured()
    member.before_apply = lambda: change(
        member,
        AuthOp.USER_CHANGE_PASSWORD,
        ma.AuthUserChangePasswordRequest("u", hashedPassword="$2a$04$nothing"),
    )
    answer = member.call("Authenticate", ma.AuthenticateRequest("u", "p"))
    assert answer.error is not None
    assert "authentication failed" in answer.error.message


def test_a_login_that_is_not_applied_here_yet_is_waited_for() -> None:
    member = secured()
    ahead = Caller(f"text.{member.applied_index + 5}")
    answer = member.call("Put", m.PutRequest(b"k", b"v"), ahead)
    assert answer.error is None
    assert answer.body is None
    member.run_later()
    assert answer.body is None
    member.machine.tokens.assign(ahead.token, "u")
    member.run_later()
    assert answer.body is not None


def test_a_login_that_never_comes_is_refused_in_the_end() -> None:
    member = secured()
    answer = member.call("Put", m.PutRequest(b"k", b"v"), Caller(f"t.{1 << 60}"))
    while member.later:
        member.run_later()
    assert answer.error is not None
    assert answer.error.code == Code.UNAUTHENTICATED


def watching(member: OneMember, caller: Caller) -> tuple[WatchStream, Stream]:
    stream = Stream()
    watch = WatchStream(member, stream, caller)  # type: ignore[arg-type]
    watch.receive(encode(m.WatchRequest(create_request=m.WatchCreateRequest(b"k"))))
    return watch, stream


def test_row_28_a_watch_outlives_its_token_but_not_its_right() -> None:
    member = secured()
    token = Caller(login(member, "u", "p"))
    watch, stream = watching(member, token)
    member.now_ms += 10_000_000
    assert member.logins.user_of(token.token) is None
    watch.recheck()
    assert len(stream.sent) == 1
    change(member, AuthOp.USER_REVOKE_ROLE, ma.AuthUserRevokeRoleRequest("u", "r"))
    watch.recheck()
    last = decode(m.WatchResponse, stream.sent[-1])
    assert last.canceled
    assert last.cancel_reason == "etcdserver: permission denied"


def test_a_watch_from_before_auth_ends_when_auth_is_switched_on() -> None:
    member = secured()
    member.must("AuthDisable", ma.Nothing(), ma.HeaderOnly, ROOT)
    anonymous, gone = watching(member, Caller())
    known, stays = watching(member, USER)
    member.must("AuthEnable", ma.Nothing(), ma.HeaderOnly)
    for watch in (anonymous, known):
        watch.recheck()
    assert decode(m.WatchResponse, gone.sent[-1]).canceled
    assert len(stays.sent) == 1


def test_row_28_an_expired_token_is_unauthenticated_for_calls_and_watches() -> None:
    member = secured()
    token = Caller(login(member, "u", "p"))
    member.logins.user_of(token.token)
    member.now_ms += 10_000_000
    member.applied_index = Index(1000)
    answer = member.call("Range", m.RangeRequest(b"k"), token)
    assert answer.error is not None
    assert answer.error.code == Code.UNAUTHENTICATED
    _, stream = watching(member, token)
    assert decode(m.WatchResponse, stream.sent[-1]).cancel_reason == (
        "etcdserver: invalid auth token"
    )
