"""Row 25: every mistake says what is wrong, at which endpoint, and what to try; in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvclient import Client
from tests.integration.daemon.test_certificates import Server
from tests.kit.servers import SOURCES, Cluster, is_healthy
from tests.kit.waiting import wait_for

NO_CERTIFICATE = "the server demands a client certificate: give --cert and --key"
REFUSED = "the server does not accept our client certificate"


@dataclass
class Setup:
    """One member with TLS and client certificates, a plain one with auth, a port that is mute."""

    tls: Server
    plain: Cluster
    silent: str

    @property
    def files(self) -> list[str]:
        certificate, key = self.tls.somebody
        return [*self.trust(self.tls.servers.path), "--cert", str(certificate), "--key", str(key)]

    @staticmethod
    def trust(authority: Path) -> list[str]:
        return ["--cacert", str(authority)]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    tls = Server(tmp_path_factory.mktemp("tls"))
    tls.process.start()
    try:
        wait_for(lambda: "ready to serve client requests" in tls.log(), 20, "TLS is served")
        directory = tmp_path_factory.mktemp("plain")
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            Cluster("raftkv", directory, flags=["--enable-v2=false"]) as plain,
        ):
            with Client(plain.endpoints) as client:
                for user in ("root", "reader"):
                    client.user_add(user, "right")
                client.user_grant_role("root", "root")
                client.auth_enable()
            yield Setup(tls, plain, f"http://127.0.0.1:{silent.getsockname()[1]}")
    finally:
        tls.process.kill()


def say(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "raftkvctl", "--command-timeout", "1s", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PYTHONPATH": SOURCES, "PATH": os.environ["PATH"]},
    )
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_row_25_wrong_ways_to_a_tls_member(setup: Setup) -> None:
    tls, url = setup.tls, setup.tls.process.client_url
    foreign = [str(path) for path in tls.others.issue("stranger")]
    trusted = setup.trust(tls.servers.path)
    elsewhere = url.replace("127.0.0.1", "localhost")
    mistakes = {
        ("--endpoints", url.replace("https", "http")): "does it speak TLS? Use https://",
        ("--endpoints", url, *setup.trust(tls.others.path)): "is --cacert its authority",
        ("--endpoints", elsewhere, *setup.files): "is --cacert its authority, and the address one",
        ("--endpoints", url, *trusted): NO_CERTIFICATE,
        ("--endpoints", url, *trusted, "--cert", foreign[0], "--key", foreign[1]): REFUSED,
        (
            "--endpoints", tls.process.peer_url, *setup.trust(tls.peers.path), *setup.files[2:]
        ): "clients use 2379",
        ("--endpoints", url, "--cacert", "/no/such/file"): "cannot read /no/such/file",
    }  # fmt: skip
    for arguments, text in mistakes.items():
        said = say(*arguments, "put", "a", "b")
        assert text in said
        if "cannot read" not in text:
            assert f"(asked {arguments[1]})" in said


def test_row_25_wrong_ways_to_a_plain_member(setup: Setup) -> None:
    plain = setup.plain.members[0]
    url = plain.client_url
    mistakes = {
        ("--endpoints", url.replace("http", "https"), *setup.files): "use http://",
        ("--endpoints", plain.peer_url): "clients use 2379",
        ("--endpoints", "http://127.0.0.1:1"): "nobody listens there",
        ("--endpoints", "http://no-such-host.invalid:2379"): "the host's name is not known",
        ("--endpoints", setup.silent): "no answer within",
        ("--endpoints", url, "--user", "reader:wrong"): "invalid user ID or password",
        ("--endpoints", url, "--user", "reader:right"): "permission denied",
        ("--endpoints", url): "user name is empty",
    }
    for arguments, text in mistakes.items():
        assert text in say(*arguments, "put", "a", "b")
    assert "does not serve the v2 API (--enable-v2)" in say(
        "--api", "2", "--endpoints", url, "get", "/a"
    )


def test_row_25_no_leader_is_said(tmp_path: Path) -> None:
    with Cluster("raftkv", tmp_path, size=3) as cluster:
        for member in cluster.members[1:]:
            member.kill()
        wait_for(lambda: not is_healthy(cluster.endpoints[0]), 20, "it knows no leader")
        said = say(
            "--endpoints", cluster.endpoints[0], "--command-timeout", "10s", "put", "a", "b"
        )
        assert "no leader" in said
        assert f"(asked {cluster.endpoints[0]})" in said
