"""Locks and elections by our client, by etcdctl, and by the services: they exclude each other."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client, Election, Lock, LockLostError
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

STOPS = 10 if os.environ.get("RAFTKV_LONG") else 2
HOLDER = """
import contextlib, sys, time
from etcdwire import messages as m
from kvclient import Client, KvClientError, Lock, LockLostError

endpoints, name = sys.argv[1].split(","), sys.argv[2]
number = 0
with Client(endpoints, timeout_s=10) as client:
    while True:
        lock = Lock(client, b"set-lock", 2)
        item = f"{name}-{number}"
        number += 1
        print("trying", item, flush=True)
        try:
            lock.acquire()
            held = client.get(b"set") or b""
            time.sleep(0.02)  # where a stop does harm
            put = m.PutRequest(b"set", held + item.encode() + b" ")
            lock.guarded_txn([m.RequestOp(request_put=put)])
            print("added", item, flush=True)
        except LockLostError:
            print("lost", item, flush=True)
        except KvClientError:
            print("unknown", item, flush=True)
        finally:
            with contextlib.suppress(KvClientError):
                lock.close()
"""
SOURCE = str(Path(__file__).resolve().parents[3] / "src")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster("raftkv", tmp_path_factory.mktemp("locks"), 3) as made:
        yield made


def command(cluster: Cluster, program: str, *words: str) -> subprocess.Popen[str]:
    start = [program] if program == "etcdctl" else [sys.executable, "-m", program]
    return subprocess.Popen(
        [*start, "--endpoints", ",".join(cluster.endpoints), *words],
        env={**os.environ, "ETCDCTL_API": "3", "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        text=True,
    )


def put(key: bytes, value: bytes) -> m.RequestOp:
    return m.RequestOp(request_put=m.PutRequest(key, value))


def test_row_29_a_lost_lock_writes_nothing(cluster: Cluster) -> None:
    with Client(cluster.endpoints) as client:
        first, second = Lock(client, b"one", 5), Lock(client, b"one", 5)
        assert first.acquire(5)
        assert not second.acquire(0.3)
        first.guarded_txn([put(b"protected", b"first")])
        client.lease_revoke(int(first.key.rpartition(b"/")[2], 16))
        assert second.acquire(5)
        assert second.fencing_token > first.fencing_token
        second.guarded_txn([put(b"protected", b"second")])
        with pytest.raises(LockLostError):
            first.guarded_txn([put(b"protected", b"too late")])
        assert client.get(b"protected") == b"second"
        wait_for(lambda: first.is_lost, 10, "the holder learns of it")
        for lock in (first, second):
            lock.close()
        with pytest.raises(LockLostError):
            first.guarded_txn([])


def test_row_29_holders_that_are_stopped_lose_no_update(cluster: Cluster, tmp_path: Path) -> None:
    """Jepsen's lock test: a set is read and written under a lock whose holder sleeps too long."""
    outputs = [tmp_path / f"holder-{number}" for number in range(3)]
    holders = []
    for number, output in enumerate(outputs):
        with output.open("wb") as log:
            command_line = [sys.executable, "-c", HOLDER, ",".join(cluster.endpoints), str(number)]
            environment = {**os.environ, "PYTHONPATH": SOURCE}
            holders.append(subprocess.Popen(command_line, stdout=log, env=environment))

    def told(word: str) -> list[str]:
        lines = [line for output in outputs for line in output.read_text().splitlines()]
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{word} ")]

    chance = random.Random(29)
    try:
        wait_for(lambda: len(told("added")) > 3, 30, "additions")
        deadline = time.monotonic() + 90
        while len(told("lost")) < STOPS or len(told("added")) < 10 * STOPS:
            assert time.monotonic() < deadline, "no holder was stopped while it held"
            holder = chance.choice(holders)
            added = len(told("added"))
            holder.send_signal(signal.SIGSTOP)
            try:  # others get the lock: the stopped one has lost it, if it had it
                wait_for(lambda: len(told("added")) > added + 3, 30, "others go on")  # noqa: B023
            finally:
                holder.send_signal(signal.SIGCONT)
            wait_for(lambda: len(told("added")) > added + 6, 30, "it goes on")  # noqa: B023
    finally:
        for holder in holders:
            holder.send_signal(signal.SIGCONT)
            holder.kill()
            holder.wait()
    with Client(cluster.endpoints) as client:
        found = (client.get(b"set") or b"").decode().split()
    assert len(found) == len(set(found))
    assert set(told("added")) <= set(found), "an acknowledged addition is gone"
    assert set(found) <= set(told("trying"))


def test_counting_under_a_lock_loses_nothing(cluster: Cluster) -> None:
    def count(times: int) -> None:
        with Client(cluster.endpoints) as client:
            lock = Lock(client, b"counter", 5)
            for _ in range(times):
                lock.acquire()
                value = int(client.get(b"count") or b"0")
                lock.guarded_txn([put(b"count", b"%d" % (value + 1))])
                lock.release()
            lock.close()

    threads = [threading.Thread(target=count, args=(8,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Client(cluster.endpoints) as client:
        assert client.get(b"count") == b"24"


@pytest.mark.parametrize("program", ["raftkvctl", "etcdctl"])
def test_command_lines_hold_locks_and_lead(cluster: Cluster, program: str) -> None:
    if shutil.which(program) is None and program == "etcdctl":
        pytest.skip("Debian's etcdctl is not here")
    name = f"by-{program}"
    holder = command(cluster, program, "lock", name)
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith(f"{name}/")
    with Client(cluster.endpoints) as client:
        lock = Lock(client, name.encode())
        assert not lock.acquire(0.3)
        holder.send_signal(signal.SIGINT)
        assert lock.acquire(10)
        lock.close()
        holder.communicate(timeout=10)
        done = command(cluster, program, "lock", name, "printenv", "ETCD_LOCK_KEY")
        assert done.communicate(timeout=10)[0].startswith(f"{name}/")
        leader = command(cluster, program, "elect", name, "me")
        assert leader.stdout is not None
        assert leader.stdout.readline().startswith(f"{name}/")
        assert leader.stdout.readline() == "me\n"
        election = Election(client, name.encode())
        found = election.leader()
        assert found is not None
        assert found.value == b"me"
        leader.send_signal(signal.SIGINT)
        leader.communicate(timeout=10)
        assert election.campaign(b"we", 10)
        election.proclaim(b"us")
        assert next(election.observe()).value == b"us"
        election.close()
