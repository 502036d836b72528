"""Take the expectations anew from real etcd: ``python -m tests.conformance.api.record``."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.conformance.api import runner
from tests.conformance.api.test_api import FLAGS
from tests.conformance.api.test_hashes import SEEDS, story
from tests.kit.servers import Cluster


def record_hashes(seed: int) -> list[Any]:
    with (
        tempfile.TemporaryDirectory() as directory,
        Cluster("etcd", Path(directory)) as cluster,
    ):
        return story(runner.Server(cluster.endpoints[0]), seed)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        Cluster("etcd", Path(directory), flags=FLAGS) as cluster,
    ):
        server = runner.Server(cluster.endpoints[0])
        answers = {
            "v2": {n: server.run_v2(n, steps) for n, steps in runner.load("v2").items()},
            "v2_auth": {
                n: server.run_v2_auth(n, steps) for n, steps in runner.load("v2_auth").items()
            },
            "auth": {n: server.run_auth(n, steps) for n, steps in runner.load("auth").items()},
            "v3": {n: server.run_v3(n, steps) for n, steps in runner.load("v3").items()},
        }
    answers["hashes"] = {str(seed): record_hashes(seed) for seed in SEEDS}
    text = json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=False)
    runner.RECORDED.write_text(text + "\n")


if __name__ == "__main__":
    main()
