"""The same requests with the same expectations, on raftkv and on real etcd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.api import runner
from tests.kit.servers import Cluster, command_of

ENGINES = ["raftkv", "etcd"]


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[runner.Server]:
    if command_of(request.param) is None:
        pytest.skip("no etcd here: its recorded answers are what raftkv is compared with")
    with Cluster(request.param, tmp_path_factory.mktemp(request.param)) as cluster:
        yield runner.Server(cluster.endpoints[0])


@pytest.mark.parametrize("name", sorted(runner.load("v2")))
def test_v2(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["v2"][name]
    assert server.run_v2(name, runner.load("v2")[name]) == expected


@pytest.mark.parametrize("name", sorted(runner.load("v3")))
def test_v3(server: runner.Server, name: str) -> None:
    expected = runner.recorded()["v3"][name]
    assert server.run_v3(name, runner.load("v3")[name]) == expected
