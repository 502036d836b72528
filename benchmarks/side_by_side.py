"""``./run bench``: raftkvd and real etcd side by side, alternating, on this machine.

Both run with the settings that the charm renders (heartbeat 100 ms, election 1000 ms, the same
quota and snapshot count, every write synced to disk). Only the cluster being measured is running:
the other is stopped with SIGSTOP, because idle members cost some percent of a core. Every load is
bounded in count or time and stays on loopback. Writes ``benchmarks/results/side-by-side.md``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.keyed_load import make_request  # noqa: E402 - after the path
from etcdwire import grpc  # noqa: E402 - after the path
from etcdwire import messages as m  # noqa: E402
from etcdwire import messages_auth as ma  # noqa: E402
from etcdwire.protobuf import encode  # noqa: E402
from kvclient import Client, KvClientError  # noqa: E402
from tests.kit.authority import Authority  # noqa: E402
from tests.kit.servers import Cluster  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
KEY, VALUE = b"bench/k000001", b"v" * 256
FLAGS = ["--heartbeat-interval=100", "--election-timeout=1000", "--log-level=error"]
SECONDS = 2
KEYED = ("put", "txn", "keyed-range")
"""Loads of v3 with random keys, by ``keyed_load``; the others repeat one body, by h2load."""
LOADS = [
    *(
        f"v3 {kind} {shape}"
        for kind in ("put", "txn", "range")
        for shape in ("1x1", "8x8", "16x16")
    ),
    "v3 keyed-range 8x8",
    "v3 serializable 8x8",
    "v3 range1000 4x1",
    *(f"v2 {kind} {count}" for kind in ("put", "get") for count in (1, 64, 256)),
    "v2 quorum 64",
    "watch 100x10",
    "watch 1000x10",
    "tls put 8x8",
    "tls range 8x8",
    "auth put 8x8",  # last: from here on every request needs a token
    "auth range 8x8",
]
ALONE = (
    *(f"v3 put {shape}" for shape in ("1x1", "8x8", "16x16")),
    "v3 range 8x8",
    "v2 put 1",
    "v2 put 64",
    "v2 get 64",
    "tls put 8x8",
)
"""What is measured with one member, unless loads are named: the rest says little more there."""
REQUESTS = {"1x1": 3000, "4x1": 1000, "8x8": 20000, "16x16": 40000}
USER = "root"
PASSWORD = "benchmark"


class Side:
    """One engine's cluster under test."""

    def __init__(self, engine: str, size: int, directory: Path) -> None:
        certificate = Authority(directory, "servers").issue("server")
        self.cluster = Cluster(engine, directory, size, FLAGS, certificate=certificate)
        self.cluster.__enter__()
        self.token = ""
        self.leader = self.find_leader()
        with Client([self.leader]) as client:
            for number in range(1000):
                client.put(b"many/%06d" % number, VALUE)
        self.pids = [p.process.pid for p in self.cluster.members if p.process is not None]

    def find_leader(self) -> str:
        """The client URL of the member that leads."""
        for url in self.cluster.endpoints:
            with Client([url], timeout_s=5) as client:
                status = client.status()
                if status.leader_id == status.member_id:
                    return url
        raise KvClientError("no member leads")

    @property
    def secure_leader(self) -> str:
        """The leader's URL with TLS."""
        return next(x.secure_url for x in self.cluster.members if x.client_url == self.leader)

    def enable_auth(self) -> None:
        """From now on every request needs the token of a user."""
        if self.token:
            return
        with Client([self.leader]) as client:
            client.user_add(USER, PASSWORD)
            client.role_add("root")
            client.user_grant_role(USER, "root")
            client.auth_enable()
            answer = client.call(
                b"/etcdserverpb.Auth/Authenticate",
                ma.AuthenticateRequest(USER, PASSWORD),
                ma.AuthenticateResponse,
            )
            self.token = answer.token

    def client(self) -> Client:
        """One that may do everything."""
        user = {"username": USER, "password": PASSWORD} if self.token else {}
        return Client(self.cluster.endpoints, timeout_s=5, **user)

    def signal(self, number: int) -> None:
        for pid in self.pids:
            os.kill(pid, number)

    def cpu_s(self) -> float:
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def rss_mib(self) -> int:
        return sum(member.resident_bytes() >> 20 for member in self.cluster.members)

    def syncs(self) -> int:
        with urllib.request.urlopen(f"{self.leader}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        found = re.search(r"^etcd_disk_wal_fsync_duration_seconds_count (\S+)", text, re.MULTILINE)
        return int(float(found.group(1))) if found else 0


def run_load(load: str, side: Side, work: Path) -> dict[str, Any]:
    """One measurement."""
    api, kind, *rest = load.split()
    address = side.leader.removeprefix("http://")
    if api == "v3" and kind in KEYED:
        connections, streams = rest[0].split("x")
        command = [
            sys.executable, str(ROOT / "benchmarks" / "keyed_load.py"), address,
            kind.removeprefix("keyed-"), f"--connections={connections}", f"--streams={streams}",
            f"--requests={REQUESTS[rest[0]]}",
        ]  # fmt: skip
    elif api in ("v3", "tls", "auth"):
        url = side.secure_leader if api == "tls" else side.leader
        return run_h2load(kind, rest[0], url, work, side.token)
    elif api == "watch":
        watchers, connections = kind.split("x")
        command = [
            sys.executable, str(ROOT / "benchmarks" / "watch_load.py"), address,
            f"--watchers={watchers}", f"--connections={connections}",
        ]  # fmt: skip
    else:
        script = str(ROOT / "benchmarks" / "put_v2.lua")
        command = [
            "wrk", "-t1", f"-c{rest[0]}", f"-d{SECONDS}s", "--latency", "-s", script, side.leader,
            "--", kind,
        ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            result: dict[str, Any] = json.loads(line[7:])
            return result
    raise RuntimeError(f"{load}: {done.stdout[-500:]}{done.stderr[-500:]}")


def run_h2load(kind: str, shape: str, url: str, work: Path, token: str) -> dict[str, Any]:
    connections, streams = shape.split("x")
    if kind == "range1000":
        method, message = "Range", m.RangeRequest(b"many/", b"many0")
    else:
        method, message = make_request(kind, KEY, VALUE)
    body, log = work / "body", work / "log"
    body.write_bytes(grpc.frame(encode(message)))
    done = subprocess.run(
        [
            "h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-n{REQUESTS[shape]}",
            f"--log-file={log}", "-d", str(body), "-H", "content-type: application/grpc",
            "-H", "te: trailers", *(["-H", f"token: {token}"] if token else []), f"{url}/etcdserverpb.KV/{method}",
        ],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    log.unlink()
    times = sorted(int(row[2]) for row in rows)
    match = re.search(r"([\d.]+) req/s", done.stdout)
    assert match is not None, done.stdout
    return {
        "n": len(times),
        "rps": float(match.group(1)),
        "p50_us": times[len(times) // 2],
        "p99_us": times[int(len(times) * 0.99)],
        "errors": sum(row[1] != "200" for row in rows),
    }


def measure(load: str, side: Side, work: Path) -> dict[str, Any]:
    cpu, syncs = side.cpu_s(), side.syncs()
    with Client([side.leader]) as client:
        before = client.status()
        result = run_load(load, side, work)
        after = client.status()
        assert after.raft_term == before.raft_term, "the leader changed under load"
        if load.split()[1] in ("put", "txn") and not load.startswith("v2"):
            assert after.revision - before.revision == result["n"], "a write for each answer"
    result["cpu_us"] = (side.cpu_s() - cpu) / result["n"] * 1e6
    writes = result.get("writes", result["n"])
    result["syncs"] = (side.syncs() - syncs) / writes
    result["rss"] = side.rss_mib()
    return result


def compare(size: int, loads: list[str], rounds: int) -> list[dict[str, Any]]:
    """All loads on clusters of one size, alternating between the two."""
    with tempfile.TemporaryDirectory(prefix="raftkv-bench-") as temporary:
        work = Path(temporary)
        sides: dict[str, Side] = {}
        try:
            for engine in ("etcd", "raftkv"):
                (work / engine).mkdir()
                sides[engine] = Side(engine, size, work / engine)
                sides[engine].signal(signal.SIGSTOP)
            rows = [compare_one(load, size, sides, rounds, work) for load in loads]
        finally:
            for side in sides.values():
                side.signal(signal.SIGCONT)
                side.cluster.kill()
    return rows


def compare_one(
    load: str, size: int, sides: dict[str, Side], rounds: int, work: Path
) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in sides}
    for number in range(rounds):
        order = list(sides.items())
        for engine, side in order if number % 2 == 0 else reversed(order):
            side.signal(signal.SIGCONT)
            wait_settled(side)
            if load.startswith("auth"):
                side.enable_auth()
            found[engine].append(measure(load, side, work))
            side.signal(signal.SIGSTOP)
    row: dict[str, Any] = {"load": load, "members": size}
    for engine, results in found.items():
        for key in ("rps", "p50_us", "p99_us", "cpu_us", "syncs", "rss"):
            row[f"{engine}_{key}"] = statistics.median(r[key] for r in results)
        row[f"{engine}_errors"] = sum(r.get("errors", 0) for r in results)
    row["ratio"] = row["raftkv_rps"] / row["etcd_rps"]
    print(
        f"{size} member(s)  {load:16} etcd {row['etcd_rps']:9.0f}/s  raftkv "
        f"{row['raftkv_rps']:9.0f}/s  ratio {row['ratio']:5.2f}  p99 "
        f"{row['etcd_p99_us']:.0f} / {row['raftkv_p99_us']:.0f} us",
        flush=True,
    )
    return row


def wait_settled(side: Side) -> None:
    """After SIGCONT: a leader stands, and it is known which member it is."""
    deadline = time.monotonic() + 20
    while True:
        with side.client() as client:
            try:
                client.put(b"bench/settled", b"")
                leader = client.status().leader_id
                urls = {x.member_id: x.client_urls[0] for x in client.member_list()}
                side.leader = urls[leader]
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
    time.sleep(0.3)  # let elections and catching up end: this is a benchmark, not a test


def describe_run() -> str:
    """When, what, and on which machine."""
    etcd = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True).stdout
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    processor = model.group(1) if model else "unknown"
    return (
        f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d}, {etcd.splitlines()[0]}, raftkvd interpreted "
        f"on {platform.python_implementation()} {platform.python_version()} "
        f"({sys.base_prefix}), {os.cpu_count()} cores ({processor}) shared by all members and the "
        "load client, loopback, plain http but for the loads with TLS"
    )


def write_table(rows: list[dict[str, Any]], rounds: int) -> Path:
    where = f"{describe_run()}, values of 256 bytes, medians of {rounds} alternated rounds."
    how = (
        "`CxM` is connections x gRPC streams in a closed loop; v3 put, txn and keyed-range take "
        "random ones of 10,000 keys (a client in Python), other v3, TLS and auth loads repeat one "
        "request (h2load); v2 (wrk, 1,000 random keys) counts connections; watch is "
        "watchers x connections, in events. CPU is of all members together, per request; syncs "
        "are the leader's log syncs per write. Pairs are etcd / raftkv."
    )
    columns = "members|load|etcd /s|raftkv /s|**ratio**|p50 us|p99 us|CPU us|syncs|RSS MiB|errors"
    head = f"| {columns.replace('|', ' | ')} |"
    lines = ["# Side by side with etcd", "", where, "", how, "", head, "| --- " * 11 + "|"]
    for row in rows:
        pair = {
            key: f"{row[f'etcd_{key}']:.{d}f} / {row[f'raftkv_{key}']:.{d}f}"
            for key, d in (("p50_us", 0), ("p99_us", 0), ("cpu_us", 0), ("syncs", 3), ("rss", 0))
        }
        lines.append(
            f"| {row['members']} | {row['load']} | {row['etcd_rps']:.0f} | {row['raftkv_rps']:.0f} "
            f"| **{row['ratio']:.2f}** | {pair['p50_us']} | {pair['p99_us']} | {pair['cpu_us']} "
            f"| {pair['syncs']} | {pair['rss']} | {row['etcd_errors']} / {row['raftkv_errors']} |"
        )
    ratios = [row["ratio"] for row in rows]
    lines += ["", f"Geometric mean of the ratios: **{statistics.geometric_mean(ratios):.2f}**."]
    path = ROOT / "benchmarks" / "results" / "side-by-side.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--members", default="3,1")
    parser.add_argument("--loads", help=f"of {', '.join(LOADS)}; separated by commas")
    parser.add_argument("--no-table", action="store_true")
    a = parser.parse_args()
    for program in ("etcd", "h2load", "wrk"):
        if shutil.which(program) is None:
            sys.exit(f"bench: {program} is not installed")
    rows = []
    for size in (int(text) for text in a.members.split(",")):
        usual = ALONE if size == 1 else LOADS
        rows += compare(size, a.loads.split(",") if a.loads else list(usual), a.rounds)
    if not a.no_table:
        print(f"wrote {write_table(rows, a.rounds)}")


if __name__ == "__main__":
    main()
