"""What an operator asks of the members now and then: compaction, space, alarms, equal data.

Every call goes through the client API and has a deadline. What an engine does not serve is said
with the engine's own words.
"""

from collections.abc import Callable, Sequence

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import UserSpec
from etcd_charm.workload.admin import Admin, add_user, ask_revision
from etcd_charm.workload.engine import Fingerprint
from etcdwire import messages
from kvclient import Client, KvClientError, RequestError

CALL_TIMEOUT_S = 10.0
SLOW_TIMEOUT_S = 1800.0
"""Defragmenting or hashing gigabytes."""


class Upkeep:
    """Asks the members, as user `root`."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def _ask(
        self, urls: Sequence[str], ask: Callable[[Client], object], timeout_s: float
    ) -> object:
        problem = "no member answers"
        for url in urls:
            try:
                with Client([url], tls=self._admin.tls, timeout_s=timeout_s) as client:
                    return ask(client)
            except RequestError as error:
                raise Retry(error.message) from error
            except (KvClientError, OSError) as error:
                problem = str(error)
        raise Retry(problem)

    def compact(self, urls: Sequence[str], revision: int, *, physical: bool) -> int:
        """Forget history below a revision (0: the present one) and return it.

        Raises:
            Retry: with the engine's words, or nobody answers.
        """

        def ask(client: Client) -> int:
            wanted = revision or ask_revision(client)
            request = messages.CompactionRequest(wanted, physical)
            path = b"/etcdserverpb.KV/Compact"
            client.call(path, request, messages.CompactionResponse, is_write=True)
            return wanted

        done = self._ask(urls, ask, SLOW_TIMEOUT_S)
        assert isinstance(done, int)
        return done

    def defragment(self, url: str) -> tuple[int, int]:
        """Give free space of one member back to the disk; return its size before and after.

        Raises:
            Retry: with the engine's words, or it does not answer.
        """

        def ask(client: Client) -> tuple[int, int]:
            before = client.status().db_size_bytes
            path = b"/etcdserverpb.Maintenance/Defragment"
            request = messages.DefragmentRequest()
            client.call(path, request, messages.DefragmentResponse, is_write=True)
            return before, client.status().db_size_bytes

        done = self._ask([url], ask, SLOW_TIMEOUT_S)
        assert isinstance(done, tuple)
        return done

    def disarm_alarms(self, urls: Sequence[str]) -> int:
        """Take back all alarms; return how many there were.

        Raises:
            Retry: with the engine's words, or nobody answers.
        """

        def ask(client: Client) -> int:
            path = b"/etcdserverpb.Maintenance/Alarm"
            raised = client.call(path, messages.AlarmRequest(), messages.AlarmResponse).alarms
            for alarm in raised:
                request = messages.AlarmRequest(
                    messages.AlarmAction.DEACTIVATE, alarm.memberID, alarm.alarm
                )
                client.call(path, request, messages.AlarmResponse, is_write=True)
            return len(raised)

        done = self._ask(urls, ask, CALL_TIMEOUT_S)
        assert isinstance(done, int)
        return done

    def add_user(self, urls: Sequence[str], name: str, role: str) -> None:
        """Add a user who comes by certificate, and give it a role that exists.

        Raises:
            Retry: with the engine's words, or nobody answers.
        """
        user = UserSpec(name, role)
        self._ask(urls, lambda client: add_user(client, client.user_list(), user), CALL_TIMEOUT_S)

    def read_revision(self, url: str) -> int:
        """Return the revision that one member has applied.

        Raises:
            Retry: it does not answer.
        """
        done = self._ask([url], ask_revision, CALL_TIMEOUT_S)
        assert isinstance(done, int)
        return done

    def hash_data(self, url: str, revision: int) -> Fingerprint:
        """Return a hash over one member's data at a revision, 0 for the present one.

        Raises:
            Retry: with the engine's words, or it does not answer.
        """

        def ask(client: Client) -> Fingerprint:
            answer = client.hash_kv(revision)
            return Fingerprint(answer.hash, answer.compact_revision, answer.revision)

        done = self._ask([url], ask, SLOW_TIMEOUT_S)
        assert isinstance(done, Fingerprint)
        return done
