"""``/v2/members`` and ``/v2/machines``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from etcdwire.errors import (
    BAD_MEMBER_URLS,
    MEMBER_EXISTS,
    MEMBER_NOT_FOUND,
    PEER_URL_EXISTS,
    ApiError,
)
from raftkv.api.host import Host, error_of
from raftkv.api.http import JSON, TEXT, HttpReply, HttpRequest, method_not_allowed
from raftkv.api.v3_cluster import (
    addition,
    check_quorum_after_remove,
    check_urls,
    known_members,
)
from raftkv.replica.effects import Rejected
from raftkv.values import Member, MemberId, MembershipChange, MembershipChangeKind

PREFIX: Final = "/v2/members"


def member_json(member: Member) -> dict[str, Any]:
    """One member in v2's form; learners are not known to v2, so nothing marks them."""
    return {
        "id": f"{member.member_id:x}",
        "name": member.name,
        "peerURLs": list(member.peer_urls),
        "clientURLs": list(member.client_urls),
    }


def encode_members(host: Host) -> bytes:
    """The list of all members."""
    members = [member_json(member) for member in known_members(host)]
    return _dump({"members": members})


def encode_peer_members(host: Host) -> bytes:
    """The list as the peer port gives it to joining members and proxies: ids are numbers.

    A leader adds how far each follower acknowledged its log: a disk that holds less is an old one.
    """
    progress = host.progress()
    rows: list[dict[str, Any]] = []
    for _, member in sorted(host.membership.members.items()):
        row: dict[str, Any] = {"id": member.member_id, "peerURLs": list(member.peer_urls)}
        if member.is_learner:
            row["isLearner"] = True
        if member.name:
            row["name"] = member.name
        if member.client_urls:
            row["clientURLs"] = list(member.client_urls)
        if member.member_id in progress:
            row["matchIndex"] = progress[member.member_id].match
        rows.append(row)
    return json.dumps(rows, separators=(",", ":")).encode() + b"\n"


def machines(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """All client URLs on one line."""
    if request.method not in ("GET", "HEAD"):
        method_not_allowed(reply, "GET,HEAD")
        return
    urls = [url for member in known_members(host) for url in member.client_urls]
    reply.respond(200, (TEXT,), ", ".join(urls).encode())


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one request under ``/v2/members``."""
    rest = request.path[len(PREFIX) :].strip("/")
    if request.method in ("GET", "HEAD"):
        _get(host, rest, reply)
    elif request.method == "POST" and not rest:
        _add(host, request, reply)
    elif request.method == "PUT" and rest:
        _update(host, rest, request, reply)
    elif request.method == "DELETE" and rest:
        _remove(host, rest, reply)
    else:
        method_not_allowed(reply, "HEAD,GET,POST,PUT,DELETE")


def _get(host: Host, rest: str, reply: HttpReply) -> None:
    if not rest:
        _respond(host, reply, 200, encode_members(host))
        return
    if rest == "leader":
        leader = next((m for m in known_members(host) if m.member_id == host.leader_id), None)
        if leader is None:
            _error(host, reply, 503, "During election")
        else:
            _respond(host, reply, 200, _dump(member_json(leader)))
        return
    _error(host, reply, 404, "Not found")


def _read_urls(request: HttpRequest) -> tuple[str, ...]:
    if not request.headers.get(b"content-type", b"").startswith(b"application/json"):
        raise ValueError("Bad Content-Type, accept application/json")
    data = json.loads(request.body)
    urls = data.get("peerURLs") if isinstance(data, dict) else None
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ValueError("peerURLs must be a list of URLs")
    return check_urls(urls)


def _add(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    try:
        change = addition(host, _read_urls(request), is_learner=False)
    except (ValueError, ApiError) as error:
        is_senders = isinstance(error, ValueError) or error is BAD_MEMBER_URLS
        _error(host, reply, 400 if is_senders else 500, str(error))
        return
    _change(
        host,
        reply,
        change,
        lambda: _respond(host, reply, 201, _dump(member_json(change.member))),
    )


def _update(host: Host, rest: str, request: HttpRequest, reply: HttpReply) -> None:
    member_id = _find(host, rest, reply)
    if member_id is None:
        return
    try:
        urls = _read_urls(request)
    except (ValueError, ApiError) as error:
        _error(host, reply, 400, str(error))
        return
    change = MembershipChange(
        MembershipChangeKind.UPDATE_PEER_URLS, Member(member_id, peer_urls=urls)
    )
    _change(host, reply, change, lambda: _respond(host, reply, 204, b""))


def _remove(host: Host, rest: str, reply: HttpReply) -> None:
    member_id = _find(host, rest, reply)
    if member_id is None:
        return
    try:
        check_quorum_after_remove(host, member_id)
    except ApiError as error:
        _error(host, reply, 500, str(error))
        return
    change = MembershipChange(MembershipChangeKind.REMOVE, Member(member_id))
    _change(host, reply, change, lambda: _respond(host, reply, 204, b""))


def _find(host: Host, text: str, reply: HttpReply) -> MemberId | None:
    try:
        member_id = MemberId(int(text, 16))
    except ValueError:
        _error(host, reply, 404, f"No such member: {text}")
        return None
    if member_id in host.membership.removed:
        _error(host, reply, 410, f"Member permanently removed: {text}")
        return None
    if member_id not in host.membership.members:
        _error(host, reply, 404, f"No such member: {text}")
        return None
    return member_id


def _change(
    host: Host,
    reply: HttpReply,
    change: MembershipChange,
    done: Callable[[], None],
) -> None:
    host.change_membership(change, _ChangeToken(host, reply, done))


class _ChangeToken:
    """A membership change under way."""

    __slots__ = ("_done", "_host", "_reply")

    def __init__(self, host: Host, reply: HttpReply, done: Callable[[], None]) -> None:
        self._host = host
        self._reply = reply
        self._done = done

    def applied(self, result: object) -> None:
        """Never called for a change."""

    def ready(self) -> None:
        """It took effect."""
        self._done()

    def rejected(self, rejection: Rejected) -> None:
        """It did not."""
        error = error_of(rejection)
        if error is PEER_URL_EXISTS or error is MEMBER_EXISTS:
            _error(self._host, self._reply, 409, "membership: peerURL exists")
        elif error is MEMBER_NOT_FOUND:
            _error(self._host, self._reply, 404, str(error))
        else:
            _error(self._host, self._reply, 500, str(error))


def _respond(host: Host, reply: HttpReply, status: int, body: bytes) -> None:
    headers = ((b"X-Etcd-Cluster-Id", b"%x" % host.cluster_id),)
    reply.respond(status, (JSON, *headers) if body else headers, body)


def _error(host: Host, reply: HttpReply, status: int, message: str) -> None:
    _respond(host, reply, status, _dump({"message": message})[:-1])


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
