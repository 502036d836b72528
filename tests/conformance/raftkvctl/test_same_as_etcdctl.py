"""raftkvctl beside Debian's etcdctl: the same command lines, each against a fresh etcd of its own.

Compared are exit codes and standard output; what goes to standard error is for people. The servers
have the same address and name one after the other, so ids, revisions and indexes are the same.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from raftkvctl.__main__ import run
from tests.kit.servers import START_TIMEOUT_S, Process, free_ports, is_healthy
from tests.kit.waiting import wait_for

if shutil.which("etcdctl") is None or shutil.which("etcd") is None:
    pytest.skip("Debian's etcd and etcdctl are not here", allow_module_level=True)

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Line:
    """One command line and its standard input."""

    words: tuple[str, ...]
    given: bytes
    text: str


def read_lines(path: Path) -> list[Line]:
    found = []
    for text in path.read_text().splitlines():
        if not text or text.startswith("#"):
            continue
        command, _, given = text.partition(" << ")
        data = given.encode().decode("unicode_escape").encode()
        found.append(Line(tuple(shlex.split(command)), data, text))
    return found


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    output: str


class Normal:
    """What differs from run to run gets the number of its first appearance."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def text(self, data: bytes) -> str:
        text = data.decode("utf-8", "backslashreplace")
        text = re.sub(r"\b([0-9a-f]{13,16}|[0-9]{17,20})\b", self._number, text)
        text = re.sub(r"[0-9.]+(µs|ms)\b", "TOOK", text)
        text = re.sub(r"[0-9T:.-]{19,}Z", "TIME", text)
        text = re.sub(r"(InUse\": ?|raft(Applied)?Index\": ?)[0-9]+", r"\1N", text)
        text = re.sub(r"(dbSize\": ?|DBSize\" ?: ?)[0-9]+|\b[0-9.]+ [kM]?B\b", r"\1SIZE", text)
        return re.sub(r" +", " ", re.sub(r"-+", "-", text))

    def outcome(self, line: Line, code: int, data: bytes) -> Outcome:
        text = self.text(data)
        if "member" in line.words:  # whose order is that of chance-made ids
            text = " ".join(sorted(re.split(r"[,\s{}\[\]=\"]+", text)))
        elif "ls" in line.words and "--sort" not in line.words:  # etcd walks a Go map
            text = "\n".join(sorted(text.splitlines()))
        return Outcome(code, text)

    def _number(self, match: re.Match[str]) -> str:
        # A lease is shown in hexadecimal here and in decimal there.
        word = match.group(0)
        value = word if len(word) > 16 else str(int(word, 16))
        return f"ID{self.numbers.setdefault(value, len(self.numbers))}"


@contextlib.contextmanager
def etcd(directory: Path, ports: list[int]) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{port}" for port in ports)
    path = shutil.which("etcd")
    assert path is not None
    arguments = [
        path, "--name", "m0", "--data-dir", str(directory / "m0"),
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", f"m0={peer}", "--enable-v2=true",
    ]  # fmt: skip
    process = Process("m0", arguments, client, peer, directory / "log")
    process.start()
    try:
        wait_for(partial(is_healthy, client), START_TIMEOUT_S, "etcd")
        yield client
    finally:
        process.kill()


def run_theirs(line: Line, environment: dict[str, str]) -> tuple[int, bytes]:
    done = subprocess.run(
        ["etcdctl", *line.words], input=line.given, capture_output=True, timeout=20,
        env=environment, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def run_ours(line: Line, environment: dict[str, str]) -> tuple[int, bytes]:
    raw = io.BytesIO()
    output = io.TextIOWrapper(raw, "utf-8", write_through=True)
    given = io.TextIOWrapper(io.BytesIO(line.given), "utf-8")
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            code = run(line.words)
        except SystemExit as end:
            code = int(end.code or 0)
    output.flush()
    return code, raw.getvalue()


@pytest.mark.parametrize("mode", ["3", "2"])
def test_same_output_and_code(mode: str, tmp_path: Path) -> None:
    lines = read_lines(HERE / f"commands_v{mode}.txt")
    ports = free_ports(2)
    outcomes: list[list[Outcome]] = []
    for name, runner in (("theirs", run_theirs), ("ours", run_ours)):
        directory = tmp_path / name
        directory.mkdir()
        normal = Normal()
        with etcd(directory, ports) as client:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
            environment |= {"ETCDCTL_API": mode, "ETCDCTL_ENDPOINTS": client}
            outcomes.append([normal.outcome(line, *runner(line, environment)) for line in lines])
    different = [
        f"{line.text}\n  etcdctl   {theirs}\n  raftkvctl {ours}"
        for line, theirs, ours in zip(lines, *outcomes, strict=True)
        if theirs != ours
    ]
    assert not different, f"{len(different)} of {len(lines)}:\n" + "\n".join(different)
