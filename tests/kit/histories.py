"""Clients of a real cluster that write down what they did, and what they saw."""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections.abc import Sequence

from etcdwire import messages as m
from kvclient import Client, KvClientError, RequestError, Unavailable
from tests.kit.linearizability import Kind, Operation

TIMEOUT_S = 1.5
_VALUES = itertools.count(1)


class HistoryClient(threading.Thread):
    """Reads, writes and swaps a few keys, at whichever endpoint answers."""

    def __init__(self, endpoints: Sequence[str], seed: int, keys: int, pause_s: float) -> None:
        super().__init__(daemon=True)
        self._endpoints = list(endpoints)
        self._chance = random.Random(seed)
        self._keys = keys
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._last_seen: dict[str, str | None] = {}
        self.history: list[Operation] = []

    def stop(self) -> None:
        """Finish the operation under way."""
        self._stopping.set()
        self.join(20)

    def run(self) -> None:
        client: Client | None = None
        while not self._stopping.wait(self._pause_s):
            if client is None:
                self._chance.shuffle(self._endpoints)
                client = Client(self._endpoints, timeout_s=TIMEOUT_S)
            if not self._one(client):
                client.close()
                client = None
        if client is not None:
            client.close()

    def _one(self, client: Client) -> bool:
        """One operation; whether this client is still of use."""
        key = f"h{self._chance.randrange(self._keys)}"
        kind = self._chance.choice((Kind.READ, Kind.WRITE, Kind.SWAP))
        began = time.monotonic()
        try:
            if kind is Kind.READ:
                raw = client.get(key.encode())
                found = None if raw is None else raw.decode()
                self._note(Operation(key, kind, began, time.monotonic(), found))
                self._last_seen[key] = found
                return True
            value = f"{next(_VALUES)}"
            if kind is Kind.WRITE:
                self._write(client, key, value, began)
            else:
                self._swap(client, key, value, began)
        except KvClientError:
            return False
        return True

    def _note(self, operation: Operation) -> None:
        self.history.append(operation)

    def _write(self, client: Client, key: str, value: str, began: float) -> None:
        try:
            client.put(key.encode(), value.encode())
        except (Unavailable, RequestError) as error:
            if may_have_happened(error):
                self._note(Operation(key, Kind.WRITE, began, math.inf, value))
            raise
        self._note(Operation(key, Kind.WRITE, began, time.monotonic(), value))

    def _swap(self, client: Client, key: str, value: str, began: float) -> None:
        expected = self._last_seen.get(key)
        guard = m.Compare(m.CompareResult.EQUAL, m.CompareTarget.VERSION, key.encode(), version=0)
        if expected is not None:
            guard = m.Compare(
                m.CompareResult.EQUAL,
                m.CompareTarget.VALUE,
                key.encode(),
                value=expected.encode(),
            )
        put = m.RequestOp(request_put=m.PutRequest(key.encode(), value.encode()))
        request = m.TxnRequest([guard], [put], [])
        try:
            answer = client.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse, is_write=True)
        except (Unavailable, RequestError) as error:
            if may_have_happened(error):
                self._note(Operation(key, Kind.SWAP, began, math.inf, value, expected))
            raise
        ended = time.monotonic()
        self._note(Operation(key, Kind.SWAP, began, ended, value, expected, answer.succeeded))
        if answer.succeeded:
            self._last_seen[key] = value


def may_have_happened(error: KvClientError) -> bool:
    """Whether a write that ended in this error can have taken effect, now or later."""
    if isinstance(error, Unavailable):
        return error.is_ambiguous
    return "leader" not in error.message or "changed" in error.message


class EventCollector(threading.Thread):
    """Watches everything from the beginning, and resumes behind the last revision it saw."""

    def __init__(self, endpoints: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True)
        self._endpoints = list(endpoints)
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self._client: Client | None = None
        self.events: list[tuple[int, bytes, bytes]] = []
        """(revision, key, value)."""
        self.problems: list[str] = []

    @property
    def revision(self) -> int:
        """Of the newest event."""
        return self.events[-1][0] if self.events else 1

    def stop(self) -> None:
        """No more."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._chance.shuffle(self._endpoints)
            try:
                with Client(self._endpoints, timeout_s=TIMEOUT_S) as client:
                    answers = client.watch(b"\0", b"\0", start_revision=self.revision + 1)
                    for answer in answers:
                        self._take(answer)
                        if self._stopping.is_set():
                            return
            except KvClientError:
                continue

    def _take(self, answer: m.WatchResponse) -> None:
        if answer.canceled:
            self.problems.append(f"canceled: {answer.cancel_reason}")
        newest = self.revision
        for event in answer.events:
            kv = event.kv
            assert kv is not None
            if kv.mod_revision <= newest:
                self.problems.append(f"revision {kv.mod_revision} after {newest}")
            self.events.append((kv.mod_revision, kv.key, kv.value))
