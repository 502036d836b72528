"""Real servers for tests: raftkvd, and real etcd where there is one."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kvclient import Client
from raftkv.replica.levels import LEVEL
from tests.kit.waiting import wait_for

START_TIMEOUT_S = 20.0
_TRACEBACK = "Traceback (most recent call last)"
SOURCES = str(Path(__file__).resolve().parents[2] / "src")


_ports = itertools.cycle(range(20001, 32001))
_FIRST_STEPS = (os.getpid() * 37) % 9000
next(itertools.islice(_ports, _FIRST_STEPS, None))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, below the range that clients get theirs from.

    Each call goes on where the last one ended: who got a port may not have bound it yet.
    """
    found: list[int] = []
    for port in _ports:
        if len(found) == count:
            break
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found


def command_of(engine: str) -> list[str] | None:
    """How to start an engine; None where it is not to be had."""
    if engine == "raftkv":
        return [sys.executable, "-m", "raftkv"]
    path = shutil.which("etcd")
    return [path] if path else None


@dataclass
class Process:
    """One member's process."""

    name: str
    arguments: list[str]
    client_url: str
    peer_url: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    sources: str = SOURCES
    """Where raftkv's code lies."""
    secure_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    """What is set for it beside ours."""

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        environment["PYTHONPATH"] = self.sources
        environment |= self.environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    def cluster_level(self) -> int:
        """What all members understand, as this one (of raftkv) knows it."""
        return self.read_metric("raftkv_cluster_level")

    def read_metric(self, name: str) -> int:
        """A whole number that this member (of raftkv) shows."""
        return int(self._shown(name, rb"\d+", timeout_s=5))

    def read_number(self, name: str) -> float:
        """Any number that it shows, also while it is busy."""
        return float(self._shown(name, rb"\S+", timeout_s=10))

    def _shown(self, name: str, pattern: bytes, *, timeout_s: float) -> bytes:
        with urllib.request.urlopen(f"{self.client_url}/metrics", timeout=timeout_s) as answer:
            line = rb"^%s (%s)$" % (name.encode(), pattern)
            found = re.search(line, answer.read(), re.MULTILINE)
        assert found is not None
        return found[1]

    def resident_bytes(self, *, own: bool = False) -> int:
        """Memory that this process has now; ``own``: without pages of files."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{'RssAnon' if own else 'VmRSS'}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM and wait; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=15)
        self.process = None
        return code


@dataclass
class Cluster:
    """Members on loopback; a context manager."""

    engine: str
    directory: Path
    size: int = 1
    flags: Sequence[str] = ()
    sources: str = SOURCES
    certificate: tuple[Path, Path] | None = None
    """(certificate, key): each member also serves clients with TLS, see ``secure_url``."""
    members: list[Process] = field(default_factory=list)
    may_fail: bool = False
    """Whether a member may log an error of its own code."""

    def __enter__(self) -> Cluster:  # noqa: PYI034 - Self needs Python 3.11
        self.make_members([f"m{i}" for i in range(self.size)])
        try:
            self.start_members()
        except BaseException:
            self.kill()  # nobody else will: the block is never entered
            raise
        return self

    def make_members(self, names: list[str]) -> None:
        """Those who will be started."""
        ports = free_ports(3 * self.size)
        peers = {n: f"http://127.0.0.1:{ports[2 * i + 1]}" for i, n in enumerate(names)}
        for i, name in enumerate(names):
            client = f"http://127.0.0.1:{ports[2 * i]}"
            member = self.add_member(name, client, peers[name], peers)
            if self.certificate is not None:
                member.secure_url = f"https://127.0.0.1:{ports[2 * self.size + i]}"
                member.arguments[member.arguments.index("--listen-client-urls") + 1] += (
                    f",{member.secure_url}"
                )
                cert, key = map(str, self.certificate)
                member.arguments += ["--cert-file", cert, "--key-file", key]

    def add_member(self, name: str, client: str, peer: str, advertised: dict[str, str]) -> Process:
        """One that listens at these URLs, while its peers reach each by what is advertised."""
        command = command_of(self.engine)
        assert command is not None, f"{self.engine} is not installed"
        arguments = [
            *command, "--name", name, "--data-dir", str(self.directory / name),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", advertised[name],
            "--initial-cluster", ",".join(f"{n}={u}" for n, u in advertised.items()),
            "--enable-v2=true", *self.flags,
        ]  # fmt: skip
        log = self.directory / f"{name}.log"
        member = Process(name, arguments, client, peer, log, sources=self.sources)
        self.members.append(member)
        return member

    def start_members(self) -> None:
        """All at once, until they serve."""
        for member in self.members:
            member.start()
        self.wait_healthy()

    def kill(self) -> None:
        """All members."""
        for member in self.members:
            member.kill()

    def __exit__(self, kind: object, *_: object) -> None:
        self.kill()
        if kind is None and not self.may_fail:
            for member in self.members:
                text = member.log.read_text(errors="replace") if member.log.exists() else ""
                assert _TRACEBACK not in text, f"{member.name}: {text[-4000:]}"

    @property
    def endpoints(self) -> list[str]:
        return [member.client_url for member in self.members]

    def settle_level(self) -> None:
        """Wait until members of raftkv use all they understand: the founding entries never do."""
        if self.engine == "raftkv":
            wait_for(
                lambda: all(member.cluster_level() == LEVEL for member in self.members),
                START_TIMEOUT_S,
                f"all members use level {LEVEL}",
            )

    def lead(self, member: Process) -> None:
        """Hand leadership to this member, and wait until it leads."""
        with Client([member.client_url]) as there:
            wait_for(
                lambda: all(one.client_urls for one in there.member_list()),
                START_TIMEOUT_S,
                "each member said where it serves",
            )
            members = {one.member_id: one for one in there.member_list()}
            target = next(i for i, one in members.items() if one.name == member.name)
            leader = there.status().leader_id
            if leader != target:
                with Client(members[leader].client_urls) as client:
                    client.move_leader(target)
            wait_for(
                lambda: there.status().leader_id == target, START_TIMEOUT_S, f"{member.name} leads"
            )

    def wait_healthy(self) -> None:
        for member in self.members:
            if member.process is None:
                continue
            try:
                wait_for(partial(is_healthy, member.client_url), START_TIMEOUT_S, member.name)
            except TimeoutError as error:
                raise TimeoutError(f"{error}: {member.log.read_text()[-2000:]}") from None


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return b'"true"' in answer.read()
    except OSError:
        return False
