"""Three members with TLS on both planes, and certificates for whoever calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.authority import Authority
from tests.kit.servers import Process, free_ports


class TlsCluster:
    def __init__(self, directory: Path, *flags: str, has_plain: bool = False) -> None:
        """``has_plain``: each member also listens without TLS, at ``plain_endpoints``."""
        servers, peers, clients = (
            Authority(directory, title) for title in ("servers", "peers", "clients")
        )
        ports = free_ports(9)
        self.plain_endpoints = [f"http://127.0.0.1:{port}" for port in ports[6:]]
        cluster = ",".join(f"m{i}=https://127.0.0.1:{ports[2 * i + 1]}" for i in range(3))
        self.ca = servers.path
        self.client_cert, self.client_key = clients.issue("somebody")
        self._clients = clients
        self._users: dict[str, tuple[Path, Path]] = {}
        self.wrong_cert, self.wrong_key = servers.issue("stranger")
        self.peer_ca = peers.path
        self.peer_files: list[tuple[Path, Path]] = []
        self.members = []
        for i in range(3):
            client, peer = (f"https://127.0.0.1:{ports[2 * i + j]}" for j in (0, 1))
            listen = f"{client},{self.plain_endpoints[i]}" if has_plain else client
            cert, key = servers.issue(f"m{i}")
            peer_cert, peer_key = peers.issue(f"m{i}")
            self.peer_files.append((peer_cert, peer_key))
            arguments = [
                sys.executable, "-m", "raftkv", "--name", f"m{i}",
                "--data-dir", str(directory / f"m{i}"),
                "--listen-client-urls", listen, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", cluster, "--enable-v2",
                "--cert-file", str(cert), "--key-file", str(key),
                "--trusted-ca-file", str(clients.path), "--client-cert-auth",
                "--peer-cert-file", str(peer_cert), "--peer-key-file", str(peer_key),
                "--peer-trusted-ca-file", str(peers.path), "--peer-client-cert-auth",
                *flags,
            ]  # fmt: skip
            self.members.append(Process(f"m{i}", arguments, client, peer, directory / f"m{i}.log"))
        self.endpoints = ",".join(member.client_url for member in self.members)

    def files_of(self, user: str) -> tuple[Path, Path]:
        """Certificate and key of a client, by its common name."""
        if not user:
            return self.client_cert, self.client_key
        if user not in self._users:
            self._users[user] = self._clients.issue(user)
        return self._users[user]

    def run(
        self,
        api: str,
        *arguments: str,
        check: bool = True,
        program: str = "etcdctl",
        endpoints: str = "",
        user: str = "",
    ) -> subprocess.CompletedProcess[str]:
        files = ("--cacert", "--cert", "--key")
        if api == "2" and program == "etcdctl":
            files = ("--ca-file", "--cert-file", "--key-file")
        values = (self.ca, *self.files_of(user))
        flags = [f"{f}={v}" for f, v in zip(files, values, strict=True)]
        command = [program] if program == "etcdctl" else [sys.executable, "-m", program]
        done = subprocess.run(
            [*command, *flags, "--endpoints", endpoints or self.endpoints, *arguments],
            env={
                **os.environ,
                "ETCDCTL_API": api,
                "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src"),
            },
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done
