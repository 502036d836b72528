"""``./run bench failover``: how long writes stand still when the leader is killed, beside etcd.

Three members of each engine with the settings that the charm renders (heartbeat 100 ms, election
1000 ms). The leader gets SIGKILL; from then on a new put starts every 20 ms at each survivor, and
the first that is acknowledged ends the measurement. A new put each time, because one that was on
its way to the dead leader may have to wait for its own timeout, in both engines. The two take
turns, five kills at a time. Writes ``benchmarks/results/failover.md``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.side_by_side import FLAGS, describe_run  # noqa: E402
from tests.kit.servers import Cluster, Process  # noqa: E402

PROBE_EVERY_S = 0.02
GIVE_UP_S = 30.0
TURN = 5
PUT = json.dumps({"key": "cHJvYmU=", "value": "dg=="}).encode()


def call(url: str, path: str, body: bytes, timeout_s: float) -> dict[str, object]:
    """One request of the JSON gateway."""
    request = urllib.request.Request(url + path, body)
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        parsed: dict[str, object] = json.loads(answer.read())
        return parsed


def find_leader(cluster: Cluster) -> Process:
    """The member that all agree on; waits until they do."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        try:
            states = [call(url, "/v3/maintenance/status", b"{}", 2) for url in cluster.endpoints]
        except OSError:
            time.sleep(PROBE_EVERY_S)
            continue
        leaders = {state.get("leader") for state in states}
        headers = [state["header"] for state in states]
        for member, header in zip(cluster.members, headers, strict=True):
            assert isinstance(header, dict)
            if leaders == {header["member_id"]}:
                return member
        time.sleep(PROBE_EVERY_S)
    raise TimeoutError("the members agree on no leader")


def measure_kill(cluster: Cluster) -> float:
    """Seconds from the kill of the leader to the next acknowledged write."""
    leader = find_leader(cluster)
    survivors = [member for member in cluster.members if member is not leader]
    for member in survivors:
        call(member.client_url, "/v3/kv/put", PUT, 5)
    acknowledged = threading.Event()
    ended = [0.0]

    def probe(url: str) -> None:
        try:
            call(url, "/v3/kv/put", PUT, GIVE_UP_S)
        except OSError:
            return
        if not acknowledged.is_set():
            ended[0] = time.monotonic()
            acknowledged.set()

    with ThreadPoolExecutor(256) as pool:
        leader.kill()
        began = time.monotonic()
        while not acknowledged.wait(PROBE_EVERY_S):
            if time.monotonic() - began > GIVE_UP_S:
                raise TimeoutError("no write was acknowledged")
            for member in survivors:
                pool.submit(probe, member.client_url)
        pool.shutdown(cancel_futures=True)
    leader.start()
    cluster.wait_healthy()
    return ended[0] - began


def run(kills: int) -> dict[str, list[float]]:
    """Seconds of each kill, by engine."""
    seconds: dict[str, list[float]] = {"raftkv": [], "etcd": []}
    with tempfile.TemporaryDirectory() as directory:
        while len(seconds["etcd"]) < kills:
            for engine, measured in seconds.items():
                place = Path(directory) / f"{engine}{len(measured)}"
                place.mkdir()
                with Cluster(engine, place, 3, FLAGS) as cluster:
                    for _ in range(min(TURN, kills - len(measured))):
                        measured.append(measure_kill(cluster))
                        print(f"{engine}: {measured[-1]:.3f} s", file=sys.stderr)
    return seconds


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/failover.md")
    options = parser.parse_args()
    seconds = run(options.kills)
    medians = {engine: statistics.median(all_) for engine, all_ in seconds.items()}
    rows = [
        f"| {engine} | {medians[engine]:.2f} s | {min(all_):.2f} s | {max(all_):.2f} s |"
        for engine, all_ in seconds.items()
    ]
    ratio = medians["raftkv"] / medians["etcd"]
    options.out.write_text(
        "# From the kill of the leader to the next acknowledged write\n\n"
        f"Three members, {options.kills} kills of each engine, five at a time in turns "
        f"(`./run bench failover`). {describe_run()}.\n\n"
        "| engine | median | minimum | maximum |\n|---|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nMedian of raftkv / median of etcd: {ratio:.2f}.\n"
    )
    print(options.out.read_text())


if __name__ == "__main__":
    main()
