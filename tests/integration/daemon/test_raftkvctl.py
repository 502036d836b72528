"""raftkvctl's commands that go on or take long: watches, mirrors, checks, copies of a directory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kvclient import Client
from raftkvctl import checks, options
from tests.kit.servers import SOURCES, Cluster, command_of, free_ports
from tests.kit.waiting import wait_for

ENGINES = [
    pytest.param("raftkv"),
    pytest.param(
        "etcd", marks=pytest.mark.skipif(command_of("etcd") is None, reason="etcd is not here")
    ),
]


@pytest.fixture(scope="module", params=ENGINES)
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    with Cluster(request.param, tmp_path_factory.mktemp("ctl")) as made:
        yield made


def environment(endpoint: str, mode: str = "3", **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    own = {"ETCDCTL_API": mode, "ETCDCTL_ENDPOINTS": endpoint, "PYTHONPATH": SOURCES}
    return {**kept, **own, **more}


@dataclass
class Running:
    """A raftkvctl that goes on, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def shows(self, *wanted: str) -> None:
        wait_for(lambda: all(w in self.lines for w in wanted), 15, f"{wanted} in {self.lines}")

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(10)
        assert self.reader is not None
        self.reader.join()
        return code


@pytest.fixture
def running() -> Iterator[list[Running]]:
    started: list[Running] = []
    yield started
    for one in started:
        one.process.kill()
        one.process.wait(10)
        if one.reader is not None:
            one.reader.join()
        for pipe in (one.process.stdin, one.process.stdout):
            assert pipe is not None
            pipe.close()


def start(started: list[Running], env: dict[str, str], *words: str) -> Running:
    process = subprocess.Popen(
        [sys.executable, "-m", "raftkvctl", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
    )  # fmt: skip
    one = Running(process)
    one.reader = threading.Thread(target=one.read)
    one.reader.start()
    started.append(one)
    return one


def test_watch_runs_a_command_for_each_event(cluster: Cluster, running: list[Running]) -> None:
    with Client(cluster.endpoints) as client:
        revision = client.put(b"exec/a", b'x"y')
        client.put(b"exec/a", b"2")
        client.delete(b"exec/a")
    script = 'echo "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
    one = start(
        running, environment(cluster.endpoints[0]), "watch", f"--rev={revision}", "exec/a", "--",
        "sh", "-c", script,
    )  # fmt: skip
    one.shows(r'"PUT" "exec/a" "x\"y"', '"PUT" "exec/a" "2"', '"DELETE" "exec/a" ""')


def test_watch_ends_when_its_command_fails(cluster: Cluster, running: list[Running]) -> None:
    with Client(cluster.endpoints) as client:
        revision = client.put(b"fail/a", b"1")
    one = start(
        running, environment(cluster.endpoints[0], ETCDCTL_WATCH_KEY="fail/a"), "watch",
        f"--rev={revision}", "--", "sh", "-c", "exit 3",
    )  # fmt: skip
    assert one.process.wait(15) == 1
    one.shows('command ["sh" "-c" "exit 3"] error (exit status 3)')


def test_watches_are_typed_and_progress_is_asked_for(
    cluster: Cluster, running: list[Running]
) -> None:
    with Client(cluster.endpoints) as client:
        first = client.put(b"typed/a", b"1")
        one = start(running, environment(cluster.endpoints[0]), "watch", "-i")
        one.type(f"watch typed/a --rev={first} --prev-kv")
        one.shows("typed/a", "1")
        one.type("nonsense")
        one.shows("Invalid command nonsense (only support watch)")
        one.type("progress")
        one.shows(f"progress notify: {first}")
        one.type(f"watch --prefix typed/b --rev={first} -- echo seen")
        client.put(b"typed/bb", b"2")
        client.put(b"typed/a", b"3")
        one.shows("typed/bb", "2", "seen", "3")
    assert one.process.stdin is not None
    one.process.stdin.close()
    assert one.process.wait(10) == 3


def test_watch_of_what_is_compacted_ends_with_code_5(
    cluster: Cluster, running: list[Running]
) -> None:
    with Client(cluster.endpoints) as client:
        revision = client.put(b"old/a", b"1")
        client.put(b"old/a", b"2")
        client.compact(revision + 1)
    one = start(
        running, environment(cluster.endpoints[0]), "watch", "old/a", f"--rev={revision}", "-w",
        "json",
    )  # fmt: skip
    assert one.process.wait(15) == 5
    one.shows(
        "watch was canceled (etcdserver: mvcc: required revision has been compacted)",
        "Error: watch is canceled by the server",
    )
    assert any(f'"CompactRevision":{revision + 1},"Canceled":true' in line for line in one.lines)


def test_make_mirror_copies_and_follows(
    cluster: Cluster, running: list[Running], tmp_path: Path
) -> None:
    with Cluster("raftkv", tmp_path) as other, Client(cluster.endpoints) as source:
        for number in range(1100):  # more than one page
            source.put(b"mirrored/%04d" % number, b"%d" % number)
        source.put(b"elsewhere", b"x")
        start(
            running, environment(cluster.endpoints[0]), "make-mirror", "--prefix=mirrored/",
            "--dest-prefix=copy/", other.endpoints[0],
        )  # fmt: skip
        with Client(other.endpoints) as target:
            wait_for(lambda: len(target.get_prefix(b"copy/")) == 1100, 30, "the copy")
            source.delete(b"mirrored/0000")
            source.put(b"mirrored/new", b"1")
            source.put(b"mirrored/new", b"2")
            wait_for(lambda: target.get(b"copy/new") == b"2", 10, "what followed")
            assert target.get(b"copy/0000") is None
            assert target.get(b"elsewhere") is None


def test_check_perf_writes_judges_and_cleans_up(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks._PERF, "s", checks.PerfLoad(20, 3, 1))
    arguments = options.argparse.Namespace(
        load="small", prefix="/perf/", auto_compact=True, auto_defrag=True
    )
    chosen = options.Options((cluster.endpoints[0],), options.ClientTLS(), 5.0, "simple", False)
    code = checks._perf(chosen, arguments)
    text = capsys.readouterr().out
    assert code == (0 if text.endswith("PASS\n") else 1)
    assert "Throughput" in text
    assert "Slowest request" in text
    assert "Compacted with revision" in text
    assert "Defragmented" in text
    with Client(cluster.endpoints) as client:
        assert client.get_prefix(b"/perf/") == []
        client.put(b"/perf/left", b"x")
        assert checks._perf(chosen, arguments) == 3
        client.delete(b"/perf/left")


def test_check_datascale_tells_the_memory_used(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checks._SCALE, "s", checks.ScaleLoad(50, 3))
    arguments = options.argparse.Namespace(
        load="s", prefix="/scale/", auto_compact=False, auto_defrag=False
    )
    chosen = options.Options((cluster.endpoints[0],), options.ClientTLS(), 5.0, "simple", False)
    assert checks._datascale(chosen, arguments) == 0
    assert "PASS: Approximate system memory used" in capsys.readouterr().out


def test_marks_of_a_slow_cluster() -> None:
    load = checks.PerfLoad(10, 1, 1)
    slow = checks.Report([0.6] * 5, elapsed_s=1.0)
    slow.errors["no leader"] += 1
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", output)
        assert checks.judge(slow, load) == 1
    assert output.getvalue().splitlines() == [
        "FAIL: too many errors",
        "FAIL: ERROR(no leader) -> 1",
        "FAIL: Throughput too low: 6 writes/s",
        "Slowest request took too long: 0.600000s",
        "PASS: Stddev is 0.000000s",
        "FAIL",
    ]


def test_exec_watch_of_v2(cluster: Cluster, running: list[Running]) -> None:
    env = environment(cluster.endpoints[0], "2")

    def run(*words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "raftkvctl", *words],
            capture_output=True, text=True, env=env, check=True,
        ).stdout  # fmt: skip

    before = json.loads(run("-o", "json", "set", "/ew/before", "0"))["node"]["modifiedIndex"]
    run("set", "/ew/a", "1")
    run("set", "/ew/b", "2")
    script = 'echo "$ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE"'
    one = start(
        running, env, "exec-watch", "--recursive", "--after-index", str(before), "/ew", "--", "sh", "-c",
        script,
    )  # fmt: skip
    one.shows("set /ew/a 1", "set /ew/b 2")
    run("rm", "/ew/a")
    one.shows("delete /ew/a ")


def test_a_copied_directory_starts_on_its_own(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with Cluster("raftkv", tmp_path) as cluster, Client(cluster.endpoints) as client:
        client.put(b"kept", b"yes")
        words = ["backup", "--data-dir", str(tmp_path / "m0"), "--backup-dir", str(copy)]
        command = [sys.executable, "-m", "raftkvctl", *words]
        env = environment(cluster.endpoints[0], "2")
        assert subprocess.run(command, env=env, check=False).returncode == 0
        again = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert again.returncode != 0
        assert "exists" in again.stderr
        (member,) = cluster.members
        member.kill()
        ports = free_ports(2)
        member.client_url = f"http://127.0.0.1:{ports[0]}"
        member.arguments += [
            "--data-dir", str(copy), "--force-new-cluster",
            "--listen-client-urls", member.client_url, "--advertise-client-urls", member.client_url,
        ]  # fmt: skip
        member.start()
        cluster.wait_healthy()
        with Client([member.client_url]) as restored:
            assert restored.get(b"kept") == b"yes"
