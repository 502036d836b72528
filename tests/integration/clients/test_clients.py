"""Client libraries of others, unmodified, against three members with TLS and users switched on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.tls_cluster import TlsCluster
from tests.kit.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / ".cache/clients/bin/python"
NODE_MODULES = ROOT / ".cache/clients-node/node_modules"
needs_clients = pytest.mark.skipif(
    not PYTHON.exists(), reason="no clients here: ./run test installs them"
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    made = TlsCluster(tmp_path_factory.mktemp("clients"), "--bcrypt-cost", "4", has_plain=True)
    for member in made.members:
        member.start()
    control = "raftkvctl"
    try:
        up = lambda: made.run("3", "put", "r", "1", check=False, program=control).returncode == 0  # noqa: E731
        wait_for(up, 20, "the cluster serves")
        for words in (
            "user add root:rootpw", "role add root", "user grant-role root root", "auth enable",
        ):  # fmt: skip
            made.run("3", *words.split(" "), program=control)
        cert, key = made.files_of("root")
        yield {
            "ENDPOINTS": made.endpoints.replace("https://", ""),
            "PLAIN_ENDPOINT": made.plain_endpoints[0].removeprefix("http://"),
            "CA_FILE": str(made.ca),
            "CERT_FILE": str(cert),
            "KEY_FILE": str(key),
            "NAME": "root",
            "PASSWORD": "rootpw",
            "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
            "GRPC_ENABLE_FORK_SUPPORT": "0",
        }
    finally:
        for member in made.members:
            member.kill()


def run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("ok")


@needs_clients
@pytest.mark.parametrize(
    "script",
    [
        "use_etcd3",
        "use_aetcd",
        "use_etcd3gw",
        "use_python_etcd",
        "use_patroni etcd3",
        "use_patroni etcd",
    ],
)
def test_python_client(script: str, environment: dict[str, str]) -> None:
    name, *arguments = script.split()
    run([str(PYTHON), str(ROOT / f"tests/clients/{name}.py"), *arguments], environment)


@pytest.mark.skipif(
    shutil.which("node") is None or not NODE_MODULES.exists(), reason="no node with etcd3 here"
)
def test_node_client(environment: dict[str, str]) -> None:
    script = str(ROOT / "tests/clients/use_etcd3.mjs")
    run(["node", script], {**environment, "NODE_MODULES": str(NODE_MODULES)})
