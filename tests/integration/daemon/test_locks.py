"""Locks and elections by our client, by etcdctl, and by the services: they exclude each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdwire import messages as m
from kvclient import Client, Election, Lock, LockLostError
from tests.kit.servers import Cluster
from tests.kit.waiting import wait_for

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
