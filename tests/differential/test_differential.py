"""Random sequences of v3 and v2 requests, to etcd and to raftkv: all answers are the same.

Longer: ``PYTHONPATH=src:. .venv/bin/python -m tests.differential --seeds 1000``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conformance.api.test_api import skip_if_other
from tests.differential.comparison import compare
from tests.differential.sequences import make_sequence
from tests.kit.servers import Cluster

SEEDS = range(1, 201 if os.environ.get("RAFTKV_LONG") else 13)
STEPS = 100


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    skip_if_other("etcd")
    with (
        Cluster("etcd", tmp_path_factory.mktemp("theirs")) as theirs,
        Cluster("raftkv", tmp_path_factory.mktemp("ours")) as ours,
    ):
        yield theirs.endpoints[0], ours.endpoints[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_same_answers(servers: tuple[str, str], seed: int) -> None:
    difference = compare(*servers, seed, STEPS)
    assert difference is None, str(difference)


def test_a_seed_always_gives_the_same_sequence() -> None:
    assert make_sequence(7, 50) == make_sequence(7, 50)
    kinds = {step.path for seed in range(20) for step in make_sequence(seed, 50)}
    assert {"kv/put", "kv/range", "kv/txn", "kv/deleterange", "lease/grant"} <= kinds
