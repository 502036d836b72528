"""One command line being carried out: its words, its model, its output."""

import json
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

from localjuju.book import Book
from localjuju.controller import DEFAULT_MODEL, Controller
from localjuju.errors import JujuError
from localjuju.model_host import ModelHost

POLL_SECONDS = 0.5  # how soon a waiting command notices that its user has given up


class Gone(Exception):  # noqa: N818
    """The client has gone away; nobody waits for an answer."""


class Session:
    """What a command needs of its caller and of the controller."""

    def __init__(
        self, controller: Controller, request: dict[str, Any], stream: Any, link: socket.socket
    ) -> None:
        self.controller = controller
        self.words: list[str] = list(request["words"])
        self.folder = Path(request["folder"])
        self.model_name = str(request.get("model", ""))
        self.tty = bool(request.get("tty"))
        self._stream = cast(BinaryIO, stream)
        self._link = link
        self._finished = False

    def out(self, text: str) -> None:
        """Show text on standard output."""
        self._send({"out": text})

    def err(self, text: str) -> None:
        """Show text on standard error."""
        self._send({"err": text})

    def ask_stdin(self) -> str:
        """Return the caller's standard input."""
        self._send({"ask": "stdin"})
        line = self._stream.readline()
        return str(json.loads(line)["stdin"]) if line else ""

    def become(self, command: list[str]) -> int:
        """Let the client become another program."""
        self._send({"exec": command})
        self._finished = True
        return 0

    def pipe(self, source: list[str], sink: list[str]) -> int:
        """Let the client run two programs, one feeding the other."""
        self._send({"pipe": [source, sink]})
        self._finished = True
        return 0

    def finish(self, code: int) -> None:
        """Send the exit status."""
        if not self._finished:
            self._send({"exit": code})

    def _send(self, message: dict[str, Any]) -> None:
        self._stream.write(json.dumps(message).encode() + b"\n")
        self._stream.flush()

    def check_caller(self) -> None:
        """Raise when the caller has gone away."""
        readable, _, _ = select.select([self._link], [], [], 0)
        if readable and not self._link.recv(1, socket.MSG_PEEK):
            raise Gone

    def rest(self, seconds: float) -> None:
        """Wait for a time, or until the caller leaves."""
        readable, _, _ = select.select([self._link], [], [], seconds)
        if readable:
            self.check_caller()

    def path(self, text: str) -> Path:
        """Return a path as the caller means it."""
        return Path(os.path.normpath(self.folder / Path(text).expanduser()))

    def selected_model(self) -> str:
        """Return the name of the model that commands are about, or nothing."""
        if self.model_name:
            return self.model_name
        file = self.controller.data / "current-model"
        if file.exists():
            name = file.read_text().strip()
            if name in self.controller.hosts:
                return name
        if len(self.controller.hosts) == 1:
            return next(iter(self.controller.hosts))
        return DEFAULT_MODEL if DEFAULT_MODEL in self.controller.hosts else ""

    def select_model(self, name: str) -> None:
        """Make a model the one that commands are about."""
        (self.controller.data / "current-model").write_text(name + "\n")

    def host(self) -> ModelHost:
        """Return the model that the command is about."""
        name = self.selected_model()
        if not name:
            raise JujuError(
                'No selected model.\n\nRun "juju add-model" to make one, or deploy a charm: '
                'that makes the model "default".'
            )
        return self.controller.find(name)

    def host_or_default(self) -> ModelHost:
        """Return the model, making ``default`` for a newcomer who has none."""
        if not self.model_name and not self.controller.hosts:
            self.controller.add_model(DEFAULT_MODEL, {})
            self.select_model(DEFAULT_MODEL)
        return self.host()

    def book(self) -> Book:
        """Return the book of the model that the command is about."""
        return self.host().book

    def wait(self, book: Book, condition: Callable[[], bool], seconds: float | None) -> bool:
        """Wait for a condition on the model, a deadline or the caller's leaving."""
        deadline = None if seconds is None else book.now() + seconds
        while True:
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - book.now())
            if book.wait_for(condition, max(left, 0.0)):
                return True
            if deadline is not None and book.now() >= deadline:
                return False
            self.check_caller()
