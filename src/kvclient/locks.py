"""Locks with fencing tokens, and elections: etcd's recipes, made of transactions, leases and watches.

They work with etcd too, and with locks that ``etcdctl lock`` or its Go library take: a candidate's
key is ``name/lease id``, and the one that was created first holds the lock.

A lock alone protects nothing: its holder may be stopped for a minute and wake up after somebody
else has got it. What it protects is written with ``guarded_txn``, or elsewhere together with
``fencing_token``, which only grows from holder to holder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final

from etcdwire import messages as m
from kvclient.errors import KvClientError, Unavailable
from kvclient.kept_lease import KeptLease

if TYPE_CHECKING:
    from kvclient.client import Client

WATCH_S: Final = 5.0
"""So long a wait goes without a look at whether it is still worth waiting."""


class LockLostError(KvClientError):
    """The lease under a lock has ended, or may have: somebody else may hold it by now."""


class _Candidate:
    """A place in the queue below a name."""

    def __init__(self, client: Client, name: bytes, ttl_s: int) -> None:
        self._client = client.clone()
        self._prefix = name + b"/"
        self._ttl_s = ttl_s
        self._lease: KeptLease | None = None
        self.key = b""
        self.fencing_token = 0
        """The revision that made the key: greater for each holder; 0 while it is not held."""
        self._revision = 0

    @property
    def is_lost(self) -> bool:
        """Whether the lease under it has, or may have, ended."""
        return self._lease is None or self._lease.is_lost

    def _win(self, value: bytes, timeout_s: float | None) -> bool:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if self._lease is None or self._lease.is_lost:
            self._lease = KeptLease(self._client, self._ttl_s)
        self.key = self._prefix + b"%x" % self._lease.lease_id
        self._enter(value)
        while not self._is_first(deadline):
            if self.is_lost:
                raise LockLostError("the lease ended while waiting")
            if deadline is not None and time.monotonic() >= deadline:
                self._leave()
                return False
        if self.is_lost:
            raise LockLostError("the lease ended while waiting")
        self.fencing_token = self._revision
        return True

    def _enter(self, value: bytes) -> None:
        assert self._lease is not None
        put = m.RequestOp(request_put=m.PutRequest(self.key, value, self._lease.lease_id))
        get = m.RequestOp(request_range=m.RangeRequest(self.key))
        guard = m.Compare(target=m.CompareTarget.CREATE, key=self.key, create_revision=0)
        # Not as a write: done twice it is the same, so another endpoint may be asked.
        request = m.TxnRequest([guard], [put], [get])
        answer = self._client.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse)
        if answer.succeeded:
            self._revision = answer.header.revision if answer.header is not None else 0
            return
        found = answer.responses[0].response_range
        assert found is not None
        self._revision = found.kvs[0].create_revision
        if found.kvs[0].value != value:
            self._client.put(self.key, value, lease=self._lease.lease_id)

    def _is_first(self, deadline: float | None) -> bool:
        """Whether nobody is before us; waits for a while until the one before is gone."""
        request = ask_who_is_before(self._prefix, self._revision)
        answer = self._client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
        if not answer.kvs:
            return True
        revision = answer.header.revision if answer.header is not None else 0
        left = WATCH_S
        if deadline is not None:
            left = max(min(left, deadline - time.monotonic()), 0.001)
        wait_for_deletion(self._client, answer.kvs[0].key, revision + 1, left)
        return False

    def _leave(self) -> None:
        lease, self._lease = self._lease, None
        self.fencing_token = 0
        if lease is not None:
            lease.close()

    def guarded_txn(
        self, operations: Sequence[m.RequestOp], guards: Sequence[m.Compare] = ()
    ) -> m.TxnResponse:
        """Write, but only while this lock is held: checked by the server in the same step.

        Raises:
            LockLostError: it is not held any more; nothing was written.
        """
        held = m.Compare(
            target=m.CompareTarget.CREATE, key=self.key, create_revision=self.fencing_token
        )
        if not self.fencing_token:
            raise LockLostError("the lock is not held")
        check = m.RequestOp(request_range=m.RangeRequest(self.key, count_only=True))
        inner = m.RequestOp(request_txn=m.TxnRequest(list(guards), list(operations)))
        answer = self._client.txn(m.TxnRequest([held], [inner], [check]))
        if not answer.succeeded:
            raise LockLostError("the lock is not held any more")
        done = answer.responses[0].response_txn
        assert done is not None
        return done

    def close(self) -> None:
        """Let go, whether it was held or waited for."""
        self._leave()
        self._client.close()


def ask_who_is_before(prefix: bytes, revision: int) -> m.RangeRequest:
    """For the candidate that came last before the one created at this revision."""
    return m.RangeRequest(
        prefix,
        prefix[:-1] + b"0",
        1,
        sort_order=m.SortOrder.DESCEND,
        sort_target=m.SortTarget.CREATE,
        keys_only=True,
        max_create_revision=revision - 1,
    )


def wait_for_deletion(client: Client, key: bytes, start_revision: int, timeout_s: float) -> None:
    """Return when a key is deleted, at the latest after the time limit, or when asking fails."""
    deadline = time.monotonic() + timeout_s
    try:
        for answer in client.watch(key, start_revision=start_revision, timeout_s=timeout_s):
            is_gone = any(event.type == m.EventType.DELETE for event in answer.events)
            if is_gone or answer.canceled or time.monotonic() >= deadline:
                return
    except Unavailable:
        return


class Lock(_Candidate):
    """``with Lock(client, b"name") as lock: lock.guarded_txn([...])``."""

    def __init__(self, client: Client, name: bytes, ttl_s: int = 10) -> None:
        """``ttl_s``: after so long without a sign of life the lock is somebody else's."""
        super().__init__(client, name, ttl_s)

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for the lock; False when the time is over.

        Raises:
            LockLostError: the lease ended while waiting.
            KvClientError: the cluster does not answer.
        """
        return self._win(b"", timeout_s)

    def release(self) -> None:
        """Let go: the next one gets it."""
        self._leave()

    def __enter__(self) -> Lock:  # noqa: PYI034 - Self needs Python 3.11
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads."""

    key: bytes
    value: bytes
    revision: int
    """That made its key."""


class Election(_Candidate):
    """Campaign for leadership below a name, or watch who leads."""

    def __init__(self, client: Client, name: bytes, ttl_s: int = 10) -> None:
        """``ttl_s``: after so long without a sign of life somebody else leads."""
        super().__init__(client, name, ttl_s)

    def campaign(self, value: bytes, timeout_s: float | None = None) -> bool:
        """Wait until elected; False when the time is over.

        Raises:
            LockLostError: the lease ended while waiting.
        """
        return self._win(value, timeout_s)

    def proclaim(self, value: bytes) -> None:
        """Tell another value as leader.

        Raises:
            LockLostError: somebody else leads.
        """
        assert self._lease is not None
        put = m.PutRequest(self.key, value, self._lease.lease_id)
        self.guarded_txn([m.RequestOp(request_put=put)])

    def resign(self) -> None:
        """Give leadership, or the candidacy, up."""
        self._leave()

    def leader(self) -> Leader | None:
        """Who leads now; None when nobody does."""
        return self._look()[0]

    def _look(self) -> tuple[Leader | None, int]:
        request = m.RangeRequest(
            self._prefix,
            self._prefix[:-1] + b"0",
            1,
            sort_order=m.SortOrder.ASCEND,
            sort_target=m.SortTarget.CREATE,
        )
        answer = self._client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
        revision = answer.header.revision if answer.header is not None else 0
        if not answer.kvs:
            return None, revision
        kv = answer.kvs[0]
        return Leader(kv.key, kv.value, kv.create_revision), revision

    def observe(self) -> Iterator[Leader]:
        """Every leader and every value from now on, without end; a break of the line is bridged."""
        shown: Leader | None = None
        while True:
            leader, revision = self._look()
            if leader is not None and leader != shown:
                shown = leader
                yield leader
            try:
                for answer in self._client.watch(
                    self._prefix, self._prefix[:-1] + b"0", revision + 1, timeout_s=WATCH_S
                ):
                    if answer.events or answer.canceled:
                        break
            except Unavailable:
                continue
