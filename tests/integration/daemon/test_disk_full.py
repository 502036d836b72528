"""A full disk: writes are refused and say why, reads go on, nothing is lost, space is noticed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvclient import Client, KvClientError
from tests.kit.servers import Cluster, is_healthy
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("mkfs.ext4") is None,
    reason="a disk of its own needs root and mkfs.ext4",
)
DISK_MIB = 220


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of its own, so small that it can be filled."""
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(DISK_MIB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True, timeout=30)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True, timeout=30)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, timeout=30)
        image.unlink()


def fill(disk: Path) -> Path:
    """Take all space that is left."""
    filler = disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        for piece in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file.fileno(), bytes(piece))
    return filler


def write_until_refused(client: Client, acknowledged: dict[bytes, bytes]) -> str:
    for number in range(len(acknowledged), 100_000):
        key, value = b"k%05d" % number, b"%d-" % number * 2000
        try:
            client.put(key, value)
        except KvClientError as error:
            return error.message
        acknowledged[key] = value
    raise AssertionError("never refused")


def check_all(client: Client, acknowledged: dict[bytes, bytes]) -> None:
    for key, value in acknowledged.items():
        assert client.get(key) == value, key


def is_written(client: Client) -> bool:
    try:
        client.put(b"probe", b"x")
    except KvClientError:
        return False
    return True


def test_row_24_a_single_member_waits_for_space_and_goes_on(tmp_path: Path) -> None:
    acknowledged: dict[bytes, bytes] = {}
    with small_disk(tmp_path / "m0") as disk, Cluster("raftkv", tmp_path) as cluster:
        member = cluster.members[0]
        with Client(cluster.endpoints) as client:
            for number in range(50):
                client.put(b"k%05d" % number, b"before")
                acknowledged[b"k%05d" % number] = b"before"
            filler = fill(disk)
            message = write_until_refused(client, acknowledged)
            assert "space" in message
            assert member.process is not None
            assert member.process.poll() is None, "a full disk does not end the member"
            check_all(client, acknowledged)
            client.delete(b"k00000")
            del acknowledged[b"k00000"]
            filler.unlink()
            wait_for(lambda: is_written(client), 20, "writes are served again, without a restart")
            check_all(client, acknowledged)
            filler = fill(disk)
            write_until_refused(client, acknowledged)
            fill(disk)
        member.kill()
        member.start()
        wait_for(lambda: is_healthy(member.client_url), 20, "it starts on a full disk")
        with Client(cluster.endpoints) as client:
            check_all(client, acknowledged)
            filler.unlink()
            wait_for(lambda: is_written(client), 20, "and serves writes once there is space")


def test_row_24_a_full_leader_hands_over_and_the_cluster_goes_on(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "m0") as disk,
        Cluster("raftkv", tmp_path, size=3) as cluster,
        Client(cluster.endpoints[:1]) as first,
        Client(cluster.endpoints[1:]) as others,
    ):
        full = first.status().member_id
        move_leadership(cluster, full)
        filler = fill(disk)
        acknowledged: dict[bytes, bytes] = {}

        def write(value: bytes) -> None:
            key = b"k%05d" % len(acknowledged)
            with contextlib.suppress(KvClientError):  # leadership moves under way
                others.put(key, value)
                acknowledged[key] = value

        while first.status().leader_id == full:
            write(b"large-" * 20_000)
            assert len(acknowledged) < 10_000, "the full member still leads"
        for number in range(100):
            write(b"%d-" % number * 2000)
        filler.unlink()
        wait_for(lambda: is_written(first), 20, "the member with space again takes writes")
        check_all(first, acknowledged)


def move_leadership(cluster: Cluster, target: int) -> None:
    for url in cluster.endpoints:
        with Client([url]) as client:
            status = client.status()
            if status.member_id == status.leader_id != target:
                client.move_leader(target)
