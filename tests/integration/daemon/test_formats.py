"""Directories of earlier formats are read and served; those of later ones are refused, untouched.

``tests/fixtures/data-directory-N.tar.gz`` is what format N left behind when it was killed: v3 keys with
history, a v2 directory, and one write that only the log holds. These files are never made anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kvclient import Client
from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.schema import Table
from tests.integration.daemon.test_restore import read_v2
from tests.kit.servers import SOURCES, Process, free_ports, is_healthy
from tests.kit.waiting import wait_for

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FORMATS = sorted(FIXTURES.glob("data-directory-*.tar.gz"))


def unpack(path: Path, directory: Path) -> Path:
    with tarfile.open(path) as archive:
        archive.extractall(directory)
    return directory / "m0"


def member_on(data: Path) -> Process:
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    arguments = [
        sys.executable, "-m", "raftkv", "--name", "m0", "--data-dir", str(data), "--enable-v2",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer,
    ]  # fmt: skip
    return Process("m0", arguments, client, peer, data.with_suffix(".log"))


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
def test_a_directory_of_an_earlier_format_is_served(path: Path, tmp_path: Path) -> None:
    member = member_on(unpack(path, tmp_path))
    for _ in range(2):  # as it was found, and as we left it
        member.start()
        try:
            wait_for(lambda: is_healthy(member.client_url), 20, "the member serves")
            with Client([member.client_url]) as client:
                expected = {b"k1": b"again", b"k2": b"value2", b"k4": b"value4", b"k5": b"value5"}
                assert dict(client.get_prefix(b"k")) == expected
                assert client.get(b"logged") == b"only"
                assert client.put(b"new", b"x") >= 10
            assert json.loads(read_v2(member, "dir/a"))["node"]["value"] == "one"
        finally:
            member.kill()


def test_a_directory_of_a_later_format_is_refused(tmp_path: Path) -> None:
    data = unpack(FORMATS[0], tmp_path)
    environment = Environment(data / "member" / "store")
    later = schema.encode_number(schema.FORMAT_VERSION + 1)
    environment.write_rows([(Table.META, schema.META_FORMAT, later)])
    environment.commit()
    environment.close()
    before = {p: p.read_bytes() for p in data.rglob("*.mdb") if p.name == "data.mdb"}
    done = subprocess.run(
        member_on(data).arguments,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={"PYTHONPATH": SOURCES},
    )
    assert done.returncode == 1
    assert f"has format {schema.FORMAT_VERSION + 1}" in done.stderr
    assert before == {p: p.read_bytes() for p in before}
