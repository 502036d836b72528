"""The agent's end of the hook tools: a Unix socket in the unit's directory of its machine.

Frames in both directions: four bytes of length (big endian), then fields with NUL between them.

    client  run  NUL context id NUL tool NUL working directory NUL argument…
    server  read NUL path                    (``-`` is standard input)
    client  data NUL content   |  error NUL text
    server  exit NUL code NUL output file NUL length of stdout NUL stdout stderr

Tool calls of one context are served one at a time, even if a charm makes them in parallel.
"""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from localjuju.errors import JujuError
from localjuju.formats import go_quote
from localjuju.hook_context import HookContext
from localjuju.hook_tools import Answer, run_tool

FRAME_BYTES_MAX = 64 << 20  # a resource-sized databag is a defect, not a request


class Desk(Protocol):
    """What the server asks of the agent."""

    @property
    def context(self) -> HookContext | None:
        """Return the context of the run in progress."""

    def run_commands(self, words: list[str], folder: str) -> Answer:
        """Queue commands of juju-exec, wait, and return what came out."""

    def reboot_now(self, context: HookContext) -> None:
        """Kill the run in progress because the machine is about to be rebooted."""


class HookServer:
    """Listens for one unit."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self._desk = desk
        self._serial = threading.Lock()
        self._listener = _listen(folder, "agent.socket")
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, suppress(OSError, EOFError):
            fields = receive(link).split(b"\0")
            _, context_id, tool, folder, *words = [os.fsdecode(field) for field in fields]
            send_answer(link, self._answer(link, context_id, tool, folder, words))

    def _answer(
        self, link: socket.socket, context_id: str, tool: str, folder: str, words: list[str]
    ) -> Answer:
        if tool == "juju-exec":
            return self._desk.run_commands(words, folder)
        if not tool:
            return Answer(1, stderr=b"ERROR bad request: command not specified\n")
        if not os.path.isabs(folder):  # noqa: PTH117  # the caller's, not ours
            return Answer(1, stderr=b"ERROR bad request: Dir is not absolute\n")
        context = self._desk.context
        current = context.context_id if context is not None else ""
        if context is None or context_id != current:
            text = (
                f"ERROR bad request: expected context id {go_quote(current)}, "
                f"got {go_quote(context_id)}\n"
            )
            return Answer(1, stderr=text.encode())
        with self._serial:
            answer = run_tool(context, tool, words, reader(link), folder)
        if context.reboot == "now":
            self._desk.reboot_now(context)
        return answer


def _listen(folder: Path, name: str) -> socket.socket:
    """Bind through the directory's descriptor: paths of sockets may have 107 bytes only."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(f"/proc/self/fd/{handle}/{name}")
        (folder / name).chmod(0o700)
        listener.listen(64)
    except OSError:  # the directory has gone with its unit
        listener.close()
        raise
    finally:
        os.close(handle)
    return listener


def reader(link: socket.socket) -> Callable[[str], bytes]:
    """Return a function that reads a file on the caller's side."""

    def read(path: str) -> bytes:
        send(link, b"read", os.fsencode(path))
        kind, _, content = receive(link).partition(b"\0")
        if kind != b"data":
            raise JujuError(content.decode(errors="replace"))
        return content

    return read


def send(link: socket.socket, *fields: bytes) -> None:
    """Send one frame."""
    payload = b"\0".join(fields)
    link.sendall(len(payload).to_bytes(4, "big") + payload)


def receive(link: socket.socket) -> bytes:
    """Receive one frame."""
    size = int.from_bytes(_take(link, 4), "big")
    if size > FRAME_BYTES_MAX:
        raise EOFError
    return _take(link, size)


def _take(link: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        piece = link.recv(min(count, 1 << 20))
        if not piece:
            raise EOFError
        parts.append(piece)
        count -= len(piece)
    return b"".join(parts)


def send_answer(link: socket.socket, answer: Answer) -> None:
    """Send what a tool printed."""
    head = (b"exit", str(answer.code).encode(), os.fsencode(answer.output_file))
    body = answer.stdout + answer.stderr
    send(link, *head, str(len(answer.stdout)).encode(), body)
