"""A model on plain machines, driven by the real command line in this process."""

import io
import json
import queue
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localjuju import cli
from localjuju.entities import Records, Unit
from localjuju.model_host import ModelHost
from tests.kit.plain_machine import PlainController

WAIT_SECONDS = 30.0


class Lab:
    """One state directory; ``with Lab() as lab``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lab")
        self.folder = Path(self._folder.name)
        (self.folder / "state").mkdir()
        self.controller = PlainController(self.folder / "state")

    def __enter__(self) -> "Lab":  # noqa: PYI034 - Python 3.10 has no Self
        self.controller.load()
        self("add-model", "lab", "--config", "localjuju-retry-seconds=0.05")
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.controller.hosts):
            self.controller.remove_model(name)
        self._folder.cleanup()

    def run(self, *words: str, stdin: str = "", tty: bool = False) -> tuple[int, str, str]:
        """Carry out a command; return its exit status, stdout and stderr."""
        here, there = socket.socketpair()
        with here, there:
            request: dict[str, Any] = {"words": list(words), "folder": str(self.folder),
                                       "model": "", "tty": tty}  # fmt: skip
            stream = _Stream(stdin)
            code = cli.run(cli.Session(self.controller, request, stream, here))
        told: dict[str, list[str]] = {"out": [], "err": []}
        for line in stream.getvalue().decode().splitlines():
            for name, text in json.loads(line).items():
                told.setdefault(name, []).append(text)
        return code, "".join(told["out"]), "".join(told["err"])

    @contextmanager
    def reading(self, *words: str, tty: bool = False) -> Iterator[Iterator[str]]:
        """Carry out a command that goes on until its reader leaves; the texts it prints."""
        here, there = socket.socketpair()
        told: queue.Queue[str] = queue.Queue()
        request: dict[str, Any] = {"words": list(words), "folder": str(self.folder),
                                   "model": "", "tty": tty}  # fmt: skip
        session = cli.Session(self.controller, request, _Printed(told), here)
        thread = threading.Thread(target=cli.run, args=(session,), name="reader")
        with here:
            thread.start()
            try:
                yield iter(lambda: told.get(timeout=WAIT_SECONDS), None)
            finally:
                there.close()
                thread.join(WAIT_SECONDS)
                assert not thread.is_alive()

    def __call__(self, *words: str) -> str:
        """Carry out a command that has to succeed; return its stdout."""
        code, out, err = self.run(*words)
        assert code == 0, err
        return out

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--format", "json"))

    def refused(self, *words: str) -> str:
        """Carry out a command that has to fail; return its stderr."""
        code, out, err = self.run(*words)
        assert code in {1, 2}
        assert out == ""
        return err

    def host(self, model: str = "lab") -> ModelHost:
        return self.controller.find(model)

    @property
    def records(self) -> Records:
        return self.host().book.records

    def unit(self, name: str) -> Unit:
        return self.records.units[name]

    def wait(self, condition: Callable[[Records], Any], model: str = "lab") -> None:
        """Wait until a condition on the records holds."""
        book = self.host(model).book
        done = book.wait_for(lambda: bool(condition(book.records)), WAIT_SECONDS)
        units = {u.name: (u.local.hook, u.workload) for u in book.records.units.values()}
        assert done, units

    def settle(self, model: str = "lab") -> None:
        """Wait until all units are started and idle."""
        self.wait(
            lambda records: (
                records.units
                and all(
                    u.local.started and u.agent.current == "idle" for u in records.units.values()
                )
            ),
            model,
        )

    def pack(self, source: Path, **more: str) -> str:
        """Pack a charm's folder, with more files or other contents; return the file."""
        target = self.folder / f"{source.name}-{len(list(self.folder.glob('*.charm')))}.charm"
        with zipfile.ZipFile(target, "w") as archive:
            for file in sorted(source.rglob("*")):
                if file.is_file() and file.name not in more:
                    archive.write(file, str(file.relative_to(source)))
            for name, text in more.items():
                archive.writestr(name, text)
        return str(target)

    def inside(self, unit: str, path: str = "") -> Path:
        """Return a path of the unit's agent directory."""
        number = self.unit(unit).machine
        root = self.host().keepers[number].container.root
        return root / "var/lib/juju/agents" / f"unit-{unit.replace('/', '-')}" / path

    def told(self, unit: str) -> list[str]:
        """Return the lines that the unit's charm has written down."""
        file = self.inside(unit, "events")
        return file.read_text().splitlines() if file.exists() else []

    def hooks(self, unit: str) -> list[str]:
        return [line.split()[0] for line in self.told(unit)]


class _Printed(io.BytesIO):
    """Hands on what a command prints."""

    def __init__(self, told: "queue.Queue[str]") -> None:
        super().__init__()
        self._told = told

    def write(self, line: Any, /) -> int:
        self._told.put(json.loads(line).get("out", ""))
        return len(line)


class _Stream(io.BytesIO):
    """What a command says to its client, and the client's standard input."""

    def __init__(self, stdin: str) -> None:
        super().__init__()
        self._stdin = stdin

    def readline(self, size: int | None = -1, /) -> bytes:
        del size
        return json.dumps({"stdin": self._stdin}).encode() + b"\n"
