"""The Cluster service: members and their changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from etcdwire import errors
from etcdwire import messages as m
from etcdwire.errors import ApiError
from etcdwire.protobuf import Message, decode, encode
from raftkv.api.calls import Call, ReadToken
from raftkv.api.host import Host, error_of
from raftkv.member_ids import make_member_id
from raftkv.replica.effects import Rejected
from raftkv.replica.levels import WAITING_VOTERS
from raftkv.values import Member, MemberId, MembershipChange, MembershipChangeKind


def wire_members(host: Host) -> list[m.Member]:
    """All members as v3 clients see them."""
    return [_wire_member(host, member) for member in known_members(host)]


def known_members(host: Host) -> list[Member]:
    """All members by id; this one as it is, though it may not have told the cluster yet.

    It serves as soon as it can, and a client that asks it then must not read that nobody does.
    """
    members = [member for _, member in sorted(host.membership.members.items())]
    for number, member in enumerate(members):
        if member.member_id == host.member_id and not member.client_urls:
            members[number] = dataclasses.replace(
                member, name=host.name, client_urls=host.advertised_urls
            )
    return members


def _wire_member(host: Host, member: Member) -> m.Member:
    return m.Member(
        member.member_id,
        member.name,
        list(member.peer_urls),
        list(member.client_urls),
        member.is_learner,
        host.peer_trouble(member.member_id) if member.wants_vote else "",
    )


def header(host: Host) -> m.ResponseHeader:
    """Etcd gives no revision with membership answers."""
    return m.ResponseHeader(host.cluster_id, host.member_id, 0, host.term)


def member_list(host: Host, call: Call, data: bytes) -> None:
    """MemberList; behind a read round when the caller asks for it."""
    request = decode(m.MemberListRequest, data)

    def answer(call: Call) -> None:
        call.ok(encode(m.MemberListResponse(header(host), wire_members(host))))

    if request.linearizable:
        host.read(ReadToken(call, answer))
    else:
        answer(call)


def member_add(
    host: Host,
    call: Call,
    data: bytes,
) -> None:
    """MemberAdd, as voter or learner."""
    request = decode(m.MemberAddRequest, data)
    change = addition(host, check_urls(request.peerURLs), is_learner=request.isLearner)

    def response() -> Message:
        member = change.member
        added = m.Member(
            member.member_id, "", list(member.peer_urls), [], isLearner=member.is_learner
        )
        return m.MemberAddResponse(header(host), added, wire_members(host))

    host.change_membership(change, ChangeToken(call, response))


def member_promote(host: Host, call: Call, data: bytes) -> None:
    """MemberPromote."""
    request = decode(m.MemberPromoteRequest, data)
    _change(
        host,
        call,
        MembershipChangeKind.PROMOTE,
        Member(MemberId(request.ID)),
        lambda: m.MemberPromoteResponse(header(host), wire_members(host)),
    )


def member_remove(host: Host, call: Call, data: bytes) -> None:
    """MemberRemove."""
    request = decode(m.MemberRemoveRequest, data)
    check_quorum_after_remove(host, MemberId(request.ID))
    _change(
        host,
        call,
        MembershipChangeKind.REMOVE,
        Member(MemberId(request.ID)),
        lambda: m.MemberRemoveResponse(header(host), wire_members(host)),
    )


def member_update(host: Host, call: Call, data: bytes) -> None:
    """MemberUpdate: new peer URLs."""
    request = decode(m.MemberUpdateRequest, data)
    urls = check_urls(request.peerURLs)
    _change(
        host,
        call,
        MembershipChangeKind.UPDATE_PEER_URLS,
        Member(MemberId(request.ID), peer_urls=urls),
        lambda: m.MemberUpdateResponse(header(host), wire_members(host)),
    )


def _change(
    host: Host,
    call: Call,
    kind: MembershipChangeKind,
    member: Member,
    response: Callable[[], Message],
) -> None:
    host.change_membership(MembershipChange(kind, member), ChangeToken(call, response))


class ChangeToken:
    """A membership change under way."""

    __slots__ = ("_call", "_response")

    def __init__(self, call: Call, response: Callable[[], Message]) -> None:
        self._call = call
        self._response = response

    def applied(self, result: object) -> None:
        """Never called for a change."""

    def ready(self) -> None:
        """It took effect."""
        self._call.ok(encode(self._response()))

    def rejected(self, rejection: Rejected) -> None:
        """It did not."""
        self._call.fail(error_of(rejection))


def check_urls(urls: Collection[str]) -> tuple[str, ...]:
    """Refuse peer URLs that nobody could dial.

    Raises:
        RequestError: as etcd words it.
    """
    for url in urls:
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and parts.hostname and parts.port
        except ValueError:
            good = None
        if not good or parts.path not in ("", "/"):
            raise errors.BAD_MEMBER_URLS
    if not urls:
        raise errors.BAD_MEMBER_URLS
    return tuple(sorted(urls))


def addition(host: Host, urls: tuple[str, ...], *, is_learner: bool) -> MembershipChange:
    """The change that adds a member, with an id made as etcd makes it; never a removed one's.

    A new voter waits as a learner (``replica.newcomers``), if the cluster's members all know that.

    Raises:
        RequestError: a vote that counts at once could cost the quorum (strict check).
    """
    member_id = make_member_id(urls, host.cluster_id, host.now_ms)
    waits = not is_learner and host.new_voters_wait and host.membership.level >= WAITING_VOTERS
    if is_learner or waits:
        member = Member(member_id, "", urls, (), is_learner=True, wants_vote=waits)
        return MembershipChange(MembershipChangeKind.ADD_LEARNER, member)
    if host.strict_reconfig:
        check_quorum_after_add(host)
    return MembershipChange(MembershipChangeKind.ADD_VOTER, Member(member_id, "", urls))


def check_quorum_after_add(host: Host) -> None:
    """Refuse a new voter that the members reachable now could not outvote (strict check).

    Raises:
        RequestError: not enough started members.
    """
    members = host.membership.members
    voters = host.membership.voters
    started = sum(1 for i in voters if members[i].name)
    if len(voters) == 1 and started == 1:
        return  # growing from one member is always allowed, as in etcd
    if started < (len(voters) + 1) // 2 + 1:
        raise errors.MEMBER_NOT_ENOUGH_STARTED


def check_quorum_after_remove(host: Host, member_id: MemberId) -> None:
    """Refuse a removal after which the members that are alive would be no quorum.

    Raises:
        ApiError: not enough started members, or the cluster is unhealthy.
    """
    voters = host.membership.voters
    if not host.strict_reconfig or member_id not in voters:
        return
    rest = voters - {member_id}
    started = sum(1 for i in rest if host.membership.members[i].name)
    if rest and started < len(rest) // 2 + 1:
        raise errors.MEMBER_NOT_ENOUGH_STARTED
    progress = host.progress()
    if not progress:
        return  # not the leader: the leader's own check decides
    active = sum(
        1 for i in rest if i == host.member_id or (i in progress and progress[i].is_active)
    )
    if rest and active < len(rest) // 2 + 1:
        refused: ApiError = errors.UNHEALTHY_CLUSTER
        raise refused
