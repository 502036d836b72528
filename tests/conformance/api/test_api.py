"""The same requests with the same expectations, on raftkv and on real etcd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.api import runner
from tests.kit.servers import Cluster, command_of

ENGINES = ["raftkv", "etcd"]
GRPC_ENGINES = ENGINES if os.environ.get("RAFTKV_LONG") else ["raftkv"]
"""The record is etcd's own; that it says the same over gRPC is looked at in the long tests."""
FLAGS = ("--bcrypt-cost", "4")
RECORDED_FROM = "3.4.23"
"""Another etcd differs in details: 3.4.30 says 400 where this one says 412."""


def version_of_etcd() -> str:
    command = command_of("etcd")
    if command is None:
        return ""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.partition("\n")[0].rpartition(" ")[2]


def skip_if_other(engine: str) -> None:
    if engine == "etcd" and version_of_etcd() != RECORDED_FROM:
        here = f"etcd {version_of_etcd()}" if version_of_etcd() else "no etcd"
        pytest.skip(f"{here} here: raftkv is compared with recorded answers of {RECORDED_FROM}")


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[runner.Server]:
    skip_if_other(request.param)
    with Cluster(request.param, tmp_path_factory.mktemp(request.param), flags=FLAGS) as cluster:
        cluster.settle_level()
        yield runner.Server(cluster.endpoints[0])


@pytest.fixture(scope="module", params=GRPC_ENGINES)
def grpc_server(
    request: pytest.FixtureRequest, tmp_path_factory: Any
) -> Iterator[runner.GrpcServer]:
    skip_if_other(request.param)
    directory = tmp_path_factory.mktemp(f"{request.param}-grpc")
    with Cluster(request.param, directory, flags=FLAGS) as cluster:
        cluster.settle_level()
        made = runner.GrpcServer(cluster.endpoints[0])
        yield made
        made.close()


@pytest.mark.parametrize("name", sorted(runner.load("v3")))
def test_v3_over_grpc(grpc_server: runner.GrpcServer, name: str) -> None:
    expected = runner.recorded()["v3"][name]
    assert grpc_server.run_v3(name, runner.load("v3")[name]) == expected


@pytest.mark.parametrize("name", sorted(runner.load("auth")))
def test_auth_over_grpc(grpc_server: runner.GrpcServer, name: str) -> None:
    expected = runner.recorded()["auth"][name]
    assert grpc_server.run_auth(name, runner.load("auth")[name]) == expected
    assert grpc_server.calls_count > 0


@pytest.mark.parametrize("name", sorted(runner.load("v2")))
def test_v2(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["v2"][name]
    assert server.run_v2(name, runner.load("v2")[name]) == expected


@pytest.mark.parametrize("name", sorted(runner.load("v3")))
def test_v3(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["v3"][name]
    assert server.run_v3(name, runner.load("v3")[name]) == expected


@pytest.mark.parametrize("name", sorted(runner.load("auth")))
def test_auth(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["auth"][name]
    assert server.run_auth(name, runner.load("auth")[name]) == expected


@pytest.mark.parametrize("name", sorted(runner.load("v2_auth")))
def test_v2_auth(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["v2_auth"][name]
    assert server.run_v2_auth(name, runner.load("v2_auth")[name]) == expected
