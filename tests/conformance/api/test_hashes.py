"""The same history gives the same ``HashKV`` here and in etcd: at revisions, around compactions."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest

from kvclient import Client, RequestError
from tests.conformance.api import runner
from tests.conformance.api.test_api import ENGINES, RECORDED_FROM, version_of_etcd
from tests.kit.servers import Cluster

SEEDS = [1, 2, 3]


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def story(server: runner.Server, seed: int) -> list[Any]:
    """Writes, deletions and transactions; compactions; hashes asked for in between."""
    chance = random.Random(seed)
    found: list[Any] = []
    client = Client([server.url])

    def ask(path: str, body: dict[str, Any]) -> Any:
        return server._post(path, body)[1]

    def key() -> str:
        return encode(f"{chance.choice('abcdefgh')}{chance.randrange(4)}")

    for _ in range(120):
        roll = chance.random()
        if roll < 0.55:
            put = {"key": key(), "value": encode("v" * chance.randrange(200))}
            answer = ask("kv/put", put)
        elif roll < 0.7:
            answer = ask("kv/deleterange", {"key": key()})
        elif roll < 0.8:
            answer = ask("kv/deleterange", {"key": encode("c"), "range_end": encode("e")})
        elif roll < 0.92:
            puts = [
                {"request_put": {"key": encode(f"{c}0"), "value": encode(c)}}
                for c in chance.sample("abcdefgh", 3)
            ]
            answer = ask("kv/txn", {"success": puts})
        else:
            revision = server.revision()
            target = chance.randrange(max(revision - 20, 1), revision + 1)
            ask("kv/compaction", {"revision": str(target), "physical": chance.random() < 0.5})
            found.append(look(client, revision))
            continue
        assert "header" in answer
    revision = server.revision()
    found += [look(client, at) for at in [0, *range(revision - 12, revision + 2)]]
    client.close()
    return found


def look(client: Client, revision: int) -> Any:
    try:
        found = client.hash_kv(revision)
    except RequestError as error:
        return [revision, error.message, 0]
    return [revision, found.hash, found.compact_revision]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("engine", ENGINES)
def test_hashes(engine: str, seed: int, tmp_path: Path) -> None:
    if engine == "etcd" and version_of_etcd() != RECORDED_FROM:
        pytest.skip(f"no etcd {RECORDED_FROM} here: raftkv is compared with its recorded answers")
    with Cluster(engine, tmp_path) as cluster:
        found = story(runner.Server(cluster.endpoints[0]), seed)
    assert found == runner.recorded()["hashes"][str(seed)]
