"""Power cuts at every write, sync and rename: the member starts, with all that was acknowledged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from etcdwire.messages import KeyValue
from etcdwire.protobuf import decode
from kvclient import Client
from raftkv.raft.settings import RaftSettings
from raftkv.replica.effects import Effects
from raftkv.replica.inputs import Persisted, Tick
from raftkv.replica.step import Replica
from raftkv.server import data_dir, flags
from raftkv.server.config import check
from raftkv.server.notify import StartProgress
from tests.kit.power_cut import CALLS, DiskImage, read_trace
from tests.kit.servers import Process, free_ports, is_healthy
from tests.kit.waiting import wait_for

WAYS = ("nothing", "everything", "some", "torn")
pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")


def arguments_for(directory: Path, ports: list[int]) -> list[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    return [
        "--data-dir", str(directory), "--initial-cluster", f"default={peer}",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
    ]  # fmt: skip


class Recorded:
    """One run under strace: its calls, and when each write was acknowledged."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "data"
        self.ports = free_ports(2)
        self.trace = directory / "trace"
        self.acknowledged: list[tuple[float, bytes, bytes]] = []
        """(when, key, value)."""
        client_url = f"http://127.0.0.1:{self.ports[0]}"
        command = [
            "strace", "-f", "-ttt", "-xx", "-s", "300000", "-e", f"trace={CALLS}",
            "-o", str(self.trace), sys.executable, "-m", "raftkv",
        ]  # fmt: skip
        arguments = [*command, *arguments_for(self.root, self.ports)]
        process = Process("default", arguments, client_url, "", directory / "log")
        process.start()
        try:
            wait_for(lambda: is_healthy(client_url), 30, "the member serves")
            self._write(client_url, 0, 300)
            assert process.process is not None
            os.kill(member_of(process.process.pid), signal.SIGTERM)
            process.process.wait(20)  # a clean stop, and a second life on the same disk
            process.arguments[process.arguments.index("-o") + 1] = f"{self.trace}2"
            process.start()
            wait_for(lambda: is_healthy(client_url), 30, "the member serves again")
            self._write(client_url, 300, 600)
        finally:
            assert process.process is not None
            os.kill(member_of(process.process.pid), signal.SIGKILL)
            process.kill()

    def _write(self, url: str, first: int, end: int) -> None:
        chance = random.Random(first)
        with Client([url]) as client:
            for number in range(first, end):
                key, value = b"k%02d" % chance.randrange(40), b"%d" % number
                value += b"-" * chance.choice((0, 0, 0, 10, 100, 3000, 40_000))
                client.put(key, value)
                self.acknowledged.append((time.time(), key, value))


def member_of(tracer: int) -> int:
    """The process that strace runs."""
    children = Path(f"/proc/{tracer}/task/{tracer}/children").read_text().split()
    return int(children[0])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("recorded"))


def recover(directory: Path, ports: list[int]) -> dict[bytes, bytes]:
    """Start a member on these files, as ``main`` does, until it leads; all its keys."""
    config = check(flags.read(arguments_for(directory, ports), {}))
    if not data_dir.has_member(config):
        data_dir.found_cluster(config)
    opened = data_dir.open_files(config, StartProgress())
    try:
        replica = Replica(RaftSettings(), opened.boot, opened.machine, 1)
        effects = Effects()
        for _ in range(100):
            effects = replica.step(Tick())
            while effects.persist:
                effects = replica.step(Persisted(effects.persist[-1].sequence))
            if (
                replica.leader_id == opened.member_id
                and replica.applied_index == replica.last_index
            ):
                break
        else:
            raise AssertionError("a single member does not lead")
        kv = opened.machine.kv
        rows = (kv.row(row_id) for row_id in kv.row_ids(b"\0", b"\0", 0))
        return dict(map(read_row, rows))
    finally:
        opened.view.view.close()
        opened.environment.close()
        opened.wal.close()


def read_row(row: bytes) -> tuple[bytes, bytes]:
    found = decode(KeyValue, row)
    return found.key, found.value


def test_row_18_nothing_acknowledged_is_lost(recorded: Recorded, tmp_path: Path) -> None:
    image = DiskImage(str(recorded.root))
    calls = [*read_trace(recorded.trace), *read_trace(Path(f"{recorded.trace}2"))]
    stride = 1 if os.environ.get("RAFTKV_LONG") else 23
    chance = random.Random(18)
    pending = list(recorded.acknowledged)
    expected: dict[bytes, bytes] = {}
    cuts = changed = 0
    for position, call in enumerate(calls):
        has_changed = image.play(call)
        while pending and pending[0][0] <= call.time_s:
            _, key, value = pending.pop(0)
            expected[key] = value
        changed += has_changed
        if not has_changed or changed % stride:
            continue
        for way in WAYS:
            cuts += 1
            target = tmp_path / f"{position}-{way}"
            image.leave(target, chance, way)
            try:
                found = recover(target, recorded.ports)
            except Exception as error:
                raise AssertionError(
                    f"cut after call {position} ({call.name}), {way}: {error!r}"
                ) from error
            assert_not_older(found, expected, recorded, f"cut {position}, {way}")
            shutil.rmtree(target)
    assert cuts > 50
    print(f"{cuts} cuts of {changed} changing calls")


def assert_not_older(
    found: dict[bytes, bytes], expected: dict[bytes, bytes], recorded: Recorded, where: str
) -> None:
    """Each key holds what was acknowledged last, or something that was written after it."""
    for key, value in expected.items():
        written = [v for _, k, v in recorded.acknowledged if k == key]
        assert key in found, f"{where}: {key!r} is lost"
        assert found[key] in written[written.index(value) :], f"{where}: {key!r} is older"
