"""Row 7 of what users suffer from: holes in authorisation. A generated matrix, every method x
(no token, a user without rights, one key, a range, everything from a key on) x (plain, ``prev_kv``,
in transactions one to five deep): refused wherever the plain operation is.
"""

from __future__ import annotations

import pytest

from etcdwire import messages as m
from etcdwire import messages_auth as ma
from etcdwire import messages_lock as ml
from etcdwire.errors import Code
from etcdwire.protobuf import Message, decode, encode
from raftkv.api.access import Caller, Level
from raftkv.api.v3_watch import WatchStream
from tests.kit.one_member import METHODS, OneMember, Stream

OPEN = {"Authenticate", "Status"}
ROOT_ONLY = {
    "MemberAdd", "MemberPromote", "MemberRemove", "MemberUpdate", "MoveLeader",
    "AuthEnable", "AuthDisable", "AuthStatus", "UserAdd", "UserList", "UserDelete",
    "UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleList", "RoleDelete",
    "RoleGrantPermission", "RoleRevokePermission", "Hash", "HashKV", "Defragment",
}  # fmt: skip
ANY_USER = {"MemberList", "Alarm", "Range", "Put", "DeleteRange", "Txn", "Compact", "UserGet",
            "RoleGet", "LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases",
            "Lock", "Unlock", "Campaign", "Proclaim", "Leader", "Resign"}  # fmt: skip
"""Rights on keys are checked beyond this; the rest of this file does."""

GRANTS: dict[str, list[tuple[int, bytes, bytes]]] = {
    "nothing": [],
    "one-key": [(2, b"k", b"")],
    "read-one-key": [(0, b"k", b"")],
    "write-one-key": [(1, b"k", b"")],
    "range": [(2, b"k", b"m")],
    "from-key": [(2, b"k", b"\0")],
    "read-range": [(0, b"k", b"m")],
    "write-range": [(1, b"k", b"m")],
    "everything": [(2, b"\0", b"\0")],
}
TARGETS = [(b"k", b""), (b"l", b""), (b"a", b""), (b"k", b"m"), (b"k", b"n"), (b"k", b"\0"),
           (b"a", b"l"), (b"\0", b"\0")]  # fmt: skip


def secured() -> OneMember:
    member = OneMember()
    must = member.must
    must("UserAdd", ma.AuthUserAddRequest("root", "r"), ma.HeaderOnly)
    must("UserGrantRole", ma.AuthUserGrantRoleRequest("root", "root"), ma.HeaderOnly)
    for name, grants in GRANTS.items():
        must("UserAdd", ma.AuthUserAddRequest(name, "p"), ma.HeaderOnly)
        must("RoleAdd", ma.AuthRoleAddRequest(name), ma.HeaderOnly)
        must("UserGrantRole", ma.AuthUserGrantRoleRequest(name, name), ma.HeaderOnly)
        for kind, key, end in grants:
            grant = ma.AuthRoleGrantPermissionRequest(name, ma.Permission(kind, key, end))
            must("RoleGrantPermission", grant, ma.HeaderOnly)
    must("AuthEnable", ma.Nothing(), ma.HeaderOnly)
    return member


@pytest.fixture(scope="module")
def member() -> OneMember:
    return secured()


def may(user: str, kind: str, key: bytes, end: bytes) -> bool:
    """The plain definition, independent of the code: every key of the target is granted."""
    stop = {b"": key + b"\0", b"\0": b"\xff" * 9}.get(end, end)
    for granted, first, last in GRANTS[user]:
        if granted not in ({"read": 0, "write": 1}[kind], 2):
            continue
        limit = {b"": first + b"\0", b"\0": b"\xff" * 9}.get(last, last)
        if first <= key and stop <= limit:
            return True
    return False


def test_every_method_has_a_level() -> None:
    assert {n for n, method in METHODS.items() if method.level is Level.OPEN} == OPEN
    assert {n for n, method in METHODS.items() if method.level is Level.ROOT} == ROOT_ONLY
    assert {n for n, method in METHODS.items() if method.level is Level.USER} == ANY_USER


@pytest.mark.parametrize("name", sorted(METHODS))
def test_without_a_login(member: OneMember, name: str) -> None:
    method = METHODS[name]
    data = encode(method.request())
    answer = member.call_bytes(method, data, Caller())
    token = member.call_bytes(method, data, Caller("no such token"))
    stranger = member.call_bytes(method, data, Caller("", "stranger"))
    if name in OPEN:
        for found in (answer, token, stranger):
            assert found.error is None or found.error.code != Code.PERMISSION_DENIED
        return
    assert answer.error is not None
    assert answer.error.message == "etcdserver: user name is empty"
    assert token.error is not None
    assert token.error.code == Code.UNAUTHENTICATED
    assert stranger.error is not None
    assert stranger.error.code == Code.PERMISSION_DENIED


@pytest.mark.parametrize("name", sorted(ROOT_ONLY))
@pytest.mark.parametrize("user", sorted(GRANTS))
def test_without_the_root_role(member: OneMember, name: str, user: str) -> None:
    method = METHODS[name]
    answer = member.call_bytes(method, encode(method.request()), Caller("", user))
    assert answer.error is not None
    assert answer.error.code == Code.PERMISSION_DENIED


def operations(key: bytes, end: bytes) -> list[tuple[str, Message, set[str]]]:
    """(method, request, rights that it needs)."""
    found: list[tuple[str, Message, set[str]]] = [
        ("Range", m.RangeRequest(key, end), {"read"}),
        ("Range", m.RangeRequest(key, end, count_only=True, serializable=True), {"read"}),
        ("DeleteRange", m.DeleteRangeRequest(key, end), {"write"}),
        ("DeleteRange", m.DeleteRangeRequest(key, end, prev_kv=True), {"read", "write"}),
    ]
    if not end:
        found += [
            ("Put", m.PutRequest(key, b"v"), {"write"}),
            ("Put", m.PutRequest(key, b"v", prev_kv=True), {"read", "write"}),
        ]
    return found


def as_operation(request: Message) -> m.RequestOp:
    if isinstance(request, m.RangeRequest):
        return m.RequestOp(request_range=request)
    if isinstance(request, m.PutRequest):
        return m.RequestOp(request_put=request)
    assert isinstance(request, m.DeleteRangeRequest)
    return m.RequestOp(request_delete_range=request)


def nested(inner: m.RequestOp, depth: int, *, in_failure: bool) -> m.TxnRequest:
    txn = m.TxnRequest()
    (txn.failure if in_failure else txn.success).append(inner)
    for _ in range(depth - 1):
        txn = m.TxnRequest(success=[m.RequestOp(request_txn=txn)])
    return txn


@pytest.mark.parametrize("user", sorted(GRANTS))
@pytest.mark.parametrize("target", TARGETS)
def test_keys_plain_and_in_transactions(
    member: OneMember, user: str, target: tuple[bytes, bytes]
) -> None:
    caller = Caller("", user)
    for name, request, needed in operations(*target):
        allowed = all(may(user, kind, *target) for kind in needed)
        asked: list[tuple[str, Message]] = [(name, request)]
        asked += [
            ("Txn", nested(as_operation(request), depth, in_failure=branch))
            for depth in range(1, 6)
            for branch in (False, True)
        ]
        for method, message in asked:
            answer = member.call(method, message, caller)
            if allowed:
                assert answer.error is None, (method, message)
            else:
                assert answer.error is not None, (method, message)
                assert answer.error.code == Code.PERMISSION_DENIED


@pytest.mark.parametrize("user", sorted(GRANTS))
@pytest.mark.parametrize("target", TARGETS)
def test_guards_read(member: OneMember, user: str, target: tuple[bytes, bytes]) -> None:
    key, end = target
    guard = m.Compare(target=m.CompareTarget.VERSION, key=key, version=0, range_end=end)
    txn = m.TxnRequest(compare=[guard])
    for depth in range(5):
        outer = txn
        for _ in range(depth):
            outer = m.TxnRequest(failure=[m.RequestOp(request_txn=outer)])
        answer = member.call("Txn", outer, Caller("", user))
        assert (answer.error is None) == may(user, "read", key, end)


@pytest.mark.parametrize("user", sorted(GRANTS))
@pytest.mark.parametrize("target", TARGETS)
def test_watches(member: OneMember, user: str, target: tuple[bytes, bytes]) -> None:
    stream = Stream()
    watch = WatchStream(member, stream, Caller("", user))  # type: ignore[arg-type]
    key, end = target
    create = m.WatchCreateRequest(key, end, prev_kv=True)
    watch.receive(encode(m.WatchRequest(create_request=create)))
    (first,) = (decode(m.WatchResponse, body) for body in stream.sent)
    assert first.created
    assert first.canceled != may(user, "read", key, end)
    if first.canceled:
        assert first.cancel_reason == "etcdserver: permission denied"
    watch.close()


@pytest.mark.parametrize("user", sorted(GRANTS))
def test_compaction_takes_history_from_everybody(user: str) -> None:
    member = secured()
    for _ in range(3):
        member.must("Put", m.PutRequest(b"k", b"v"), m.PutResponse, Caller("", "root"))
    answer = member.call("Compact", m.CompactionRequest(2), Caller("", user))
    assert (answer.error is None) == (user == "everything")


@pytest.mark.parametrize("user", sorted(GRANTS))
def test_alarms_are_listed_by_users_and_changed_by_root(user: str) -> None:
    member = secured()
    assert member.call("Alarm", m.AlarmRequest(), Caller("", user)).error is None
    for action in (m.AlarmAction.ACTIVATE, m.AlarmAction.DEACTIVATE):
        request = m.AlarmRequest(action, 5, m.AlarmType.NOSPACE)
        answer = member.call("Alarm", request, Caller("", user))
        assert answer.error is not None
        assert answer.error.code == Code.PERMISSION_DENIED
        assert member.call("Alarm", request, Caller("", "root")).error is None


def test_users_see_themselves_only(member: OneMember) -> None:
    own = member.call("UserGet", ma.AuthUserNameRequest("range"), Caller("", "range"))
    other = member.call("UserGet", ma.AuthUserNameRequest("root"), Caller("", "range"))
    role = member.call("RoleGet", ma.AuthRoleRequest("range"), Caller("", "range"))
    other_role = member.call("RoleGet", ma.AuthRoleRequest("from-key"), Caller("", "range"))
    assert own.error is None
    assert role.error is None
    for refused in (other, other_role):
        assert refused.error is not None
        assert refused.error.code == Code.PERMISSION_DENIED


@pytest.mark.parametrize("user", sorted(GRANTS))
@pytest.mark.parametrize("key", [b"k", b"l", b"z"])
def test_leases_belong_to_who_may_write_their_keys(user: str, key: bytes) -> None:
    member = secured()
    root, caller = Caller("", "root"), Caller("", user)
    member.must("LeaseGrant", m.LeaseGrantRequest(100, 7), m.LeaseGrantResponse, caller)
    member.must("Put", m.PutRequest(key, b"v", 7), m.PutResponse, root)
    may_write, may_read = may(user, "write", key, b""), may(user, "read", key, b"")
    seen = member.call("LeaseTimeToLive", m.LeaseTimeToLiveRequest(7, True), caller)
    assert (seen.error is None) == may_read
    assert member.call("LeaseTimeToLive", m.LeaseTimeToLiveRequest(7), caller).error is None
    for target in (b"k", b"l"):  # tying an own key to it, alone or at any depth
        allowed = may_write and may(user, "write", target, b"")
        put = m.PutRequest(target, b"v", 7)
        asked: list[tuple[str, Message]] = [("Put", put)]
        asked += [
            ("Txn", nested(m.RequestOp(request_put=put), depth, in_failure=branch))
            for depth in range(1, 6)
            for branch in (False, True)
        ]
        for method, message in asked:
            assert (member.call(method, message, caller).error is None) == allowed
    revoked = member.call("LeaseRevoke", m.LeaseRevokeRequest(7), caller)
    others = member.machine.lessor.leases[7].keys if 7 in member.machine.lessor.leases else {}
    assert (revoked.error is None) == (not others)
    assert member.call("LeaseLeases", m.LeaseLeasesRequest(), caller).error is None


@pytest.mark.parametrize("user", sorted(GRANTS))
def test_locks_and_elections_need_the_rights_of_their_keys(user: str) -> None:
    member = secured()
    for name, allowed in ((b"k", may(user, "write", b"k/1", b"") and
                           may(user, "read", b"k/", b"k0")), (b"z", user == "everything"
                           or user == "from-key")):  # fmt: skip
        caller = Caller("", user)
        member.call("LeaseGrant", m.LeaseGrantRequest(100, 1), Caller("", "root"))
        for method, request in (
            ("Lock", ml.LockRequest(name, 1)),
            ("Campaign", ml.CampaignRequest(name, 1, b"v")),
            ("Unlock", ml.UnlockRequest(name + b"/1")),
        ):
            answer = member.call(method, request, caller)
            if method == "Unlock":
                assert (answer.error is None) == may(user, "write", name + b"/1", b"")
            else:
                assert (answer.error is None) == allowed, (user, method, name)
        seen = member.call("Leader", ml.LeaderRequest(name), caller)
        assert seen.error is not None
        denied = seen.error.code == Code.PERMISSION_DENIED
        assert denied != may(user, "read", name + b"/", name + b"0")
