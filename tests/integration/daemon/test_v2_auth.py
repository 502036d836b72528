"""v2's own users on three members: replicated, kept over restarts, and ends of what they allowed."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.kit.servers import Cluster, command_of
from tests.kit.waiting import wait_for

FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("v2-auth")
    with Cluster("raftkv", directory, 3, ("--bcrypt-cost", "4")) as made:
        for path, body in (
            ("users/root", {"user": "root", "password": "r"}),
            ("roles/guest", {"role": "guest", "permissions": {"kv": {"read": ["/open/*"]}}}),
            ("roles/app", {"role": "app", "permissions": {"kv": {"write": ["/app/*"]}}}),
            ("users/app", {"user": "app", "password": "a", "roles": ["app"]}),
        ):
            assert change(made, "PUT", f"/v2/auth/{path}", body)[0] in (200, 201)
        assert change(made, "PUT", "/v2/auth/enable")[0] == 200
        yield made


def ask(
    url: str, method: str, path: str, body: bytes = b"", user: str = "", kind: str = FORM
) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    headers = {"Content-Type": kind}
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def change(cluster: Cluster, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    data = b"" if body is None else json.dumps(body).encode()
    return ask(cluster.endpoints[0], method, path, data, "root:r", "application/json")


def put(url: str, user: str = "") -> int:
    return ask(url, "PUT", "/v2/keys/app/x", b"value=1", user)[0]


def test_every_member_asks_for_users(cluster: Cluster) -> None:
    for url in cluster.endpoints:
        wait_for(lambda url=url: put(url) == 401, 5, "the member to know")
        assert put(url, "app:a") in (200, 201)
        assert put(url, "app:wrong") == 401
        assert ask(url, "GET", "/v2/keys/app/x", user="app:a")[0] == 401
        assert ask(url, "GET", "/v2/keys/open/x")[0] == 404


def test_a_wait_ends_with_its_right(cluster: Cluster) -> None:
    got: list[tuple[int, bytes]] = []
    url = cluster.endpoints[1]
    waiting = threading.Thread(
        target=lambda: got.append(ask(url, "GET", "/v2/keys/open/x?wait=true"))
    )
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    revoke = {"role": "guest", "revoke": {"kv": {"read": ["/open/*"]}}}
    assert change(cluster, "PUT", "/v2/auth/roles/guest", revoke)[0] == 200
    waiting.join(5)
    assert got == [(200, b"")]
    assert ask(url, "GET", "/v2/keys/open/x?wait=true")[0] == 401


def test_changes_reach_writes_on_any_member_at_once(cluster: Cluster) -> None:
    other = cluster.endpoints[2]
    for _ in range(5):
        password = {"user": "app", "password": "b"}
        assert change(cluster, "PUT", "/v2/auth/users/app", password)[0] == 200
        wait_for(lambda: put(other, "app:b") == 200, 5, "the new password")
        assert put(other, "app:a") == 401
        password["password"] = "a"
        assert change(cluster, "PUT", "/v2/auth/users/app", password)[0] == 200
        wait_for(lambda: put(other, "app:a") == 200, 5, "the old password")


def test_users_survive_a_restart(cluster: Cluster) -> None:
    for member in cluster.members:
        member.kill()
    for member in cluster.members:
        member.start()
    url = cluster.endpoints[0]
    wait_for(lambda: _quietly(url) == 200, 20, "a leader")
    assert put(url) == 401
    users = json.loads(ask(url, "GET", "/v2/auth/users", user="root:r")[1])["users"]
    assert [user["user"] for user in users] == ["app", "root"]


def _quietly(url: str) -> int:
    try:
        return put(url, "app:a")
    except OSError:
        return 0


ETCDCTL = """
user add root:r|user list|role add app|role grant app -path /app/* -readwrite|role get app|user add a:p
user grant a -roles app|user get a|auth enable|auth enable|-u root:r role revoke guest -path /* -readwrite
-u root:r role list|set /app/x 1|-u a:p set /app/x 1|-u a:p get /app/x|-u a:p ls /app/ --recursive
-u a:p set /x 1|-u a:q get /app/x|-u a:p user list|-u root:r user revoke a -roles app|-u a:p get /app/x
-u root:r user remove a|-u root:r role remove app|-u root:r auth disable|get /app/x
"""


@pytest.mark.skipif(
    shutil.which("etcdctl") is None or command_of("etcd") is None, reason="no etcd here"
)
def test_etcdctl_cannot_tell_us_from_etcd(tmp_path: Path) -> None:
    told = {}
    for engine in ("etcd", "raftkv"):
        (tmp_path / engine).mkdir()
        with Cluster(engine, tmp_path / engine, flags=("--bcrypt-cost", "4")) as cluster:
            url = cluster.endpoints[0]
            wait_for(lambda url=url: ask(url, "GET", "/v2/machines")[1] != b"", 10, "its URL")
            told[engine] = [
                _etcdctl(url, words) for words in ETCDCTL.strip().replace("\n", "|").split("|")
            ]
    assert told["raftkv"] == told["etcd"]


def _etcdctl(url: str, words: str) -> tuple[str, int, str, str]:
    done = subprocess.run(
        ["etcdctl", "--endpoints", url, *words.split()],
        env={**os.environ, "ETCDCTL_API": "2"}, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    return words, done.returncode, done.stdout.replace(url, "URL"), done.stderr.replace(url, "URL")
