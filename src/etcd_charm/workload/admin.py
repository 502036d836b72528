"""The charm's own calls to the cluster, through the client library, as user `root`.

Every call has a deadline. Failures of the wire become `Retry`: the hook ends well and a timer
brings the unit back. Refusals of the cluster keep their text.
"""

import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from urllib.parse import urlsplit

from etcd_charm.cluster.access import ALL_KEYS, ROOT
from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import Access, ClusterView, MemberId, MemberView, UserSpec
from etcd_charm.workload.paths import Paths
from etcdwire import messages
from kvclient import Client, ClientTLS, KvClientError, Member, MemberStatus, RequestError

CALL_TIMEOUT_S = 1.0
"""Two rounds of calls (the list, then every member) stay within the two seconds of a hook."""
CHANGE_TIMEOUT_S = 5.0
"""A membership change passes through Raft, maybe behind an election."""
SNAPSHOT_TIMEOUT_S = 600.0
EVERY_KEY = b"\0"
"""As beginning and as end: from the first key on, without an end."""
QUORUM_KEY = b"\0"
"""Read only to learn whether a quorum answers; it never exists."""
PROBES_MAX = 32
"""Threads for asking members in parallel; a cluster has at most seven voters or so."""

_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")


class Admin:
    """Asks and changes the cluster."""

    def __init__(self, paths: Paths) -> None:
        self.tls = ClientTLS(
            ca_file=str(paths.admin / "servers.crt"),
            cert_file=str(paths.admin / "root.crt"),
            key_file=str(paths.admin / "root.key"),
        )
        self._certificate = paths.admin / "root.crt"

    def _connect(self, url: str, timeout_s: float) -> Client:
        return Client([url], tls=self.tls, timeout_s=timeout_s)

    def look(self, own_url: str, peer_urls: Sequence[str]) -> ClusterView | None:
        """Return the cluster as seen now, or `None` if nobody answers."""
        if not self._certificate.is_file():
            return None
        urls = list(dict.fromkeys(url for url in (own_url, *peer_urls) if url))
        questions = [(url, is_current) for url in urls for is_current in (True, False)]
        answers = _ask_all(questions, self._list)
        current = next((answers[url, True] for url in urls if answers[url, True]), None)
        local = next((answers[url, False] for url in urls if answers[url, False]), None)
        members = current or local
        if members is None:
            return None
        return self._probe(members, has_quorum=current is not None)

    def _probe(self, members: tuple[Member, ...], *, has_quorum: bool) -> ClusterView:
        urls = [member.client_urls[0] for member in members if member.client_urls]
        statuses = _ask_all(urls, self._read_status)
        views: list[MemberView] = []
        for member in members:
            status = statuses.get(member.client_urls[0]) if member.client_urls else None
            views.append(_view_member(member, status))
        answers = [status for status in statuses.values() if status is not None]
        leader = next((status.leader_id for status in answers if status.leader_id), 0)
        return ClusterView(
            cluster_id=answers[0].cluster_id if answers else 0,
            members=tuple(views),
            leader_id=MemberId(leader),
            has_quorum=has_quorum and bool(leader),
            version=min((status.version for status in answers), default=""),
            alarms=self._read_alarms(urls, members) if leader else (),
            round_trip_ms=max(_ask_all(urls, _measure).values(), default=0),
        )

    def _read_alarms(self, urls: Sequence[str], members: Sequence[Member]) -> tuple[str, ...]:
        """Return the raised alarms as any member knows them."""
        names = {member.member_id: member.name for member in members}
        for url in urls:
            try:
                with self._connect(url, CALL_TIMEOUT_S) as client:
                    answer = client.call(
                        b"/etcdserverpb.Maintenance/Alarm",
                        messages.AlarmRequest(),
                        messages.AlarmResponse,
                    )
            except (KvClientError, OSError):
                continue
            return tuple(
                f"{messages.AlarmType(alarm.alarm).name} at "
                f"{names.get(alarm.memberID) or f'{alarm.memberID:x}'}"
                for alarm in answer.alarms
            )
        return ()

    def _list(self, question: tuple[str, bool]) -> tuple[Member, ...] | None:
        """Ask one member for the list: the current one through a quorum, or as it knows it.

        etcd 3.4 always answers the list as it knows it. A read through the quorum before it makes
        that current, and fails where there is no quorum.
        """
        url, is_current = question
        try:
            with self._connect(url, CALL_TIMEOUT_S) as client:
                if is_current:
                    client.get(QUORUM_KEY)
                return client.member_list(linearizable=is_current)
        except (KvClientError, OSError):
            return None

    def _read_status(self, url: str) -> MemberStatus | None:
        try:
            with self._connect(url, CALL_TIMEOUT_S) as client:
                return client.status()
        except (KvClientError, OSError):
            return None

    def add_learner(self, urls: Sequence[str], peer_url: str) -> None:
        """Enter a member without a vote; being entered already is success."""

        def add(client: Client) -> None:
            listed = client.member_list()
            if not any(peer_url in member.peer_urls for member in listed):
                client.member_add([peer_url], is_learner=True)

        self._change(urls, add)

    def promote(self, urls: Sequence[str], member_id: MemberId) -> None:
        """Give a learner its vote; having one already is success."""

        def promote(client: Client) -> None:
            listed = {member.member_id: member for member in client.member_list()}
            if member_id in listed and listed[member_id].is_learner:
                client.member_promote(member_id)

        self._change(urls, promote)

    def remove(self, urls: Sequence[str], member_id: MemberId) -> None:
        """Take a member off the list; being off already is success."""

        def remove(client: Client) -> None:
            if any(member.member_id == member_id for member in client.member_list()):
                client.member_remove(member_id)

        self._change(urls, remove)

    def update(self, urls: Sequence[str], member_id: MemberId, peer_url: str) -> None:
        """Replace the peer address of a member."""
        self._change(urls, lambda client: client.member_update(member_id, [peer_url]))

    def list_members(self, urls: Sequence[str]) -> tuple[Member, ...]:
        """Return the current member list from whichever member answers.

        Raises:
            Retry: if none does.
        """
        for url in urls:
            members = self._list((url, True))
            if members is not None:
                return members
        raise Retry("no member answers")

    def move_leader(self, url: str, heir: MemberId) -> None:
        """Ask the Raft leader to hand over."""
        self._change([url], lambda client: client.move_leader(heir))

    def read_lists(self, urls: Sequence[str]) -> Mapping[str, frozenset[MemberId] | None]:
        """Return the ids that each member lists by itself, `None` for a silent one."""
        answers = _ask_all([(url, False) for url in urls], self._list)
        return {
            url: None if members is None else frozenset(MemberId(m.member_id) for m in members)
            for (url, _), members in answers.items()
        }

    def read_revision(self, urls: Sequence[str]) -> int:
        """Return the revision of the key space, 0 if no member answers."""
        for url in urls:
            try:
                with self._connect(url, CALL_TIMEOUT_S) as client:
                    return ask_revision(client)
            except (KvClientError, OSError):
                continue
        return 0

    def read_committed(self, url: str) -> int:
        """Return the index up to which a member knows the log to be committed, 0 if silent."""
        status = self._read_status(url)
        return max(status.raft_index, status.raft_applied_index) if status else 0

    def keep_access(self, urls: Sequence[str], access: Access) -> None:
        """Make users, roles and the switch what they should be. Safe to repeat.

        Raises:
            Retry: not done, or not wholly.
        """
        if not access.is_enabled:
            self._change(urls, lambda client: client.auth_disable())
            return
        self._change(urls, lambda client: _keep_users(client, access))

    def save_snapshot(self, url: str, write: Callable[[bytes], object]) -> int:
        """Stream a snapshot of this member; return its size in bytes."""
        try:
            with self._connect(url, SNAPSHOT_TIMEOUT_S) as client:
                return client.snapshot(write)
        except KvClientError as error:
            raise Retry(f"no snapshot: {error}") from error

    def _change(self, urls: Sequence[str], change: Callable[[Client], object]) -> None:
        """Try a change at one member after the other until one carries it out.

        Raises:
            Retry: with the last refusal or failure.
        """
        problem = "no member answers"
        for url in urls:
            try:
                with self._connect(url, CHANGE_TIMEOUT_S) as client:
                    change(client)
                    return
            except RequestError as error:
                problem = error.message
            except KvClientError as error:
                problem = str(error)
        raise Retry(problem)


def _keep_users(client: Client, access: Access) -> None:
    roles, users = set(client.role_list()), set(client.user_list())
    if ROOT not in users:
        client.user_add(ROOT)
    if ROOT not in client.user_get(ROOT):
        if ROOT not in roles:
            client.role_add(ROOT)
        client.user_grant_role(ROOT, ROOT)
    if ALL_KEYS not in roles:
        client.role_add(ALL_KEYS)
    client.role_grant_permission(ALL_KEYS, EVERY_KEY, EVERY_KEY, "readwrite")
    for user in access.users:
        add_user(client, users, user)
    for name in sorted(set(access.gone) & users - {ROOT}):
        client.user_delete(name)
    client.auth_enable()


def add_user(client: Client, present: Collection[str], user: UserSpec) -> None:
    """Add a user who comes by certificate, unless it is there, and give it its role."""
    if user.name not in present:
        client.user_add(user.name)
    if user.role not in client.user_get(user.name):
        client.user_grant_role(user.name, user.role)


def ask_revision(client: Client) -> int:
    """Return the revision that a member has applied, 0 if it wants to know first who asks."""
    request = messages.RangeRequest(key=QUORUM_KEY, serializable=True, count_only=True)
    try:
        answer = client.call(b"/etcdserverpb.KV/Range", request, messages.RangeResponse)
    except RequestError:
        return 0
    return answer.header.revision if answer.header else 0


def _ask_all(
    questions: Sequence[_Question], ask: Callable[[_Question], _Answer]
) -> dict[_Question, _Answer]:
    """Ask members in parallel; each call has its own deadline, so the whole has one too."""
    if not questions:
        return {}
    with ThreadPoolExecutor(max_workers=min(len(questions), PROBES_MAX)) as pool:
        return dict(zip(questions, pool.map(ask, questions), strict=True))


def _measure(url: str) -> int:
    """Return how long a connection to a member takes, in milliseconds rounded up; 0 for none."""
    parts = urlsplit(url)
    began_s = time.monotonic()
    try:
        address = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(address, timeout=CALL_TIMEOUT_S):
            return int((time.monotonic() - began_s) * 1000) + 1
    except OSError:
        return 0


def _view_member(member: Member, status: MemberStatus | None) -> MemberView:
    is_itself = status is not None and status.member_id == member.member_id
    return MemberView(
        member_id=MemberId(member.member_id),
        name=member.name,
        peer_urls=tuple(member.peer_urls),
        client_urls=tuple(member.client_urls),
        is_learner=member.is_learner,
        is_reachable=is_itself,
        applied_index=status.raft_applied_index if status is not None and is_itself else 0,
    )
