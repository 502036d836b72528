"""The rules for browsers hold on a real listener, over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.kit.servers import Cluster


def status(url: str, *arguments: str) -> str:
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *arguments, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout


def test_foreign_pages_and_rebound_names_are_refused(tmp_path: Path) -> None:
    flags = ("--host-whitelist", "127.0.0.1")
    with Cluster("raftkv", tmp_path, flags=flags) as cluster:
        url = f"{cluster.members[0].client_url}/v2/keys/k"
        put = ("-X", "PUT", "-d", "value=1")
        for version in ("--http1.1", "--http2-prior-knowledge"):
            assert status(url, version, *put) in {"200", "201"}
            assert status(url, version, *put, "-H", "Origin: http://evil.example") == "403"
            assert status(url, version, "-H", "Host: rebound.example:2379") == "421"
