"""Running a charm's process in its machine, and what became of it."""

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from localjuju.errors import MachineGone
from localjuju.machines.nspawn import Container

DRAIN_SECONDS = 0.2  # for output of processes that a hook left behind with its pipes
KILL_AGAIN_SECONDS = 0.1
OUTPUT_BYTES_MAX = 16 << 20


@dataclass(frozen=True)
class Outcome:
    """How a process ended."""

    code: int
    stdout: bytes = b""
    stderr: bytes = b""
    lost: bool = False
    """The machine went away under it."""
    timed_out: bool = False


LineSink = Callable[[str, str], None]
"""Takes ``stdout`` or ``stderr`` and one line."""


class Run:
    """One process as a transient unit of the machine."""

    def __init__(self, container: Container, unit: str) -> None:
        self._container = container
        self._unit = unit
        self._killed = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Kill it and what it started, also when it has not begun yet.

        What runs already is dead when this returns: who called may be that very process.
        """
        self._killed.set()
        if self._process is not None:
            self._kill_once()
            self._insist(self._process)

    def _kill_once(self) -> None:
        with suppress(MachineGone, OSError):
            self._container.kill_unit(self._unit)

    def _insist(self, process: subprocess.Popen[bytes]) -> None:
        """Kill until it is gone: systemd may not know of the unit yet that was just asked for."""

        def insist() -> None:
            while process.returncode is None and not _has_ended(process.pid):
                self._kill_once()
                time.sleep(KILL_AGAIN_SECONDS)

        threading.Thread(target=insist, daemon=True, name=f"kill-{self._unit}").start()

    def execute(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: str,
        sink: LineSink,
        timeout: float | None = None,
    ) -> Outcome:
        """Run to the end; each line of output goes to the sink as it comes."""
        try:
            process = self._container.spawn(self._unit, command, environment, folder)
        except MachineGone:
            return Outcome(255, lost=True)
        self._process = process
        if self._killed.is_set():
            self._insist(process)
        timer = threading.Timer(timeout, self.kill) if timeout else None
        if timer is not None:
            timer.start()
        collected = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            _pump(process, collected, sink)
        finally:
            if timer is not None:
                timer.cancel()
        code = process.wait()
        lost = code != 0 and not self._container.is_up()
        return Outcome(
            code if code >= 0 else 128 - code,
            bytes(collected["stdout"]),
            bytes(collected["stderr"]),
            lost=lost,
            timed_out=timer is not None and self._killed.is_set(),
        )


def _has_ended(pid: int) -> bool:
    """Say whether a child has ended, and leave it to the one who waits for it."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _pump(
    process: subprocess.Popen[bytes], collected: Mapping[str, bytearray], sink: LineSink
) -> None:
    """Read both pipes until they end, or the process has ended and nothing more comes."""
    assert process.stdout is not None
    assert process.stderr is not None
    partial = {"stdout": b"", "stderr": b""}
    ended = 0.0
    with selectors.DefaultSelector() as selector:
        streams: dict[str, IO[bytes]] = {"stdout": process.stdout, "stderr": process.stderr}
        for name, stream in streams.items():
            selector.register(stream, selectors.EVENT_READ, name)
        exit_handle = os.pidfd_open(process.pid)
        selector.register(exit_handle, selectors.EVENT_READ, "exit")
        try:
            while len(selector.get_map()) > 1 or not ended:
                for key, _ in selector.select(DRAIN_SECONDS if ended else None):
                    if key.data == "exit":
                        ended = time.monotonic()
                        selector.unregister(exit_handle)
                        continue
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fileobj)
                    _deliver(key.data, data, collected, partial, sink)
                if ended and (time.monotonic() - ended > DRAIN_SECONDS or not selector.get_map()):
                    break
        finally:
            os.close(exit_handle)
            process.stdout.close()
            process.stderr.close()
    for name, rest in partial.items():
        if rest:
            sink(name, rest.decode(errors="replace"))


def _deliver(
    name: str,
    data: bytes,
    collected: Mapping[str, bytearray],
    partial: dict[str, bytes],
    sink: LineSink,
) -> None:
    if len(collected[name]) < OUTPUT_BYTES_MAX:
        collected[name].extend(data)
    *lines, partial[name] = (partial[name] + data).split(b"\n")
    for line in lines:
        sink(name, line.decode(errors="replace"))
