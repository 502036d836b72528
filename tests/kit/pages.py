"""The commands of a document, taken from its fenced blocks, and a shell that runs them in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXECUTED = (
    "README.md",
    "docs/how-to/back-up-and-restore.md",
    "docs/how-to/operate.md",
    "docs/how-to/run-raftkvd-without-juju.md",
    "docs/how-to/scale.md",
    "docs/how-to/storage.md",
    "docs/how-to/tls-and-client-certificates.md",
    "docs/tutorial/first-cluster.md",
)
"""Pages whose every command is run by `tests/integration/etcd/test_pages.py`."""
_FAILED_ACTION = re.compile(r"^Action id \d+ failed: ", re.MULTILINE)
_BLOCK = re.compile(r"```shell\n(.*?)```", re.DOTALL)


def list_pages() -> tuple[str, ...]:
    """Return the pages for operators that have commands in them."""
    pages = [
        ROOT / "README.md",
        *sorted((ROOT / "docs/how-to").glob("*.md")),
        *sorted((ROOT / "docs/tutorial").glob("*.md")),
    ]
    return tuple(str(page.relative_to(ROOT)) for page in pages if _BLOCK.search(page.read_text()))


def read_commands(page: str) -> list[str]:
    """Return a page's commands; a line that ends in a backslash goes on in the next."""
    text = (ROOT / page).read_text()
    lines = "\n".join(_BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip()]


class Shell:
    """One shell over many commands: variables, exports and the folder stay as they are."""

    def __init__(self, folder: Path, environment: Mapping[str, str], network: str = "") -> None:
        """Start in a folder; in a network namespace, if one is named."""
        self._folder, self._state = folder, folder / f".shell-{network or 'host'}"
        self._prefix = ["ip", "netns", "exec", network] if network else []
        self._state.write_text(f"cd {shlex.quote(str(folder))}\n")
        self._environment = {**os.environ, **environment}

    def run(self, command: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run one command; return what it printed on both streams in `stdout`."""
        script = (
            f". {self._state}\n{command}\n"
            f'code=$?; {{ export -p; echo cd $(printf %q "$PWD"); }} >{self._state}; exit $code'
        )
        return subprocess.run(
            [*self._prefix, "bash", "-c", script],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment,
            cwd=self._folder,
            timeout=timeout_s,
        )


class Page:
    """A document that is worked through from its first command to its last."""

    def __init__(self, page: str, shell: Shell) -> None:
        self._page, self._shell = page, shell
        self._commands = read_commands(page)
        self._fills: dict[str, str] = {}

    def replace(self, placeholder: str, value: str) -> None:
        """From now on, read a placeholder of the page, such as `<cluster id>`, as this value."""
        self._fills[placeholder] = value

    def _take(self, word: str) -> str:
        assert self._commands, f"{self._page} has no command left, {word!r} was expected"
        command = self._commands.pop(0)
        assert word in command, f"{self._page}: {word!r} was expected, the next is: {command}"
        return command

    def use(self, shell: Shell) -> None:
        """Run what follows in another shell."""
        self._shell = shell

    def skip(self, word: str, reason: str) -> None:
        """Leave out the next command, which contains a word; the reason is printed."""
        print(f"{self._page}: not run, {reason}: {self._take(word)}")

    def prepare(self, word: str) -> str:
        """Return the next command, filled in, for a test that runs it in its own way."""
        command = self._take(word)
        if not self._fills:
            return command
        # In one pass: the value of one placeholder may be another's name.
        pattern = "|".join(map(re.escape, sorted(self._fills, key=len, reverse=True)))
        return re.sub(pattern, lambda found: self._fills[found[0]], command)

    def run(self, word: str, *, fails: bool = False, instead: tuple[str, str] = ("", "")) -> str:
        """Run the next command, which contains a word; return its output.

        `instead` replaces a part that never ends, such as `--watch 2s`.
        """
        command = self.prepare(word)
        if instead[0]:
            assert instead[0] in command, command
            command = command.replace(*instead)
        done = self._shell.run(command)
        print(f"$ {command}\n{done.stdout}", flush=True)
        # Of an action that says itself that it has failed Juju's client says so too, and exits with 0.
        has_failed = done.returncode != 0 or _FAILED_ACTION.search(done.stdout) is not None
        is_as_expected = has_failed is fails
        assert is_as_expected, f"{self._page}: {command}: {done.returncode}: {done.stdout}"
        return done.stdout

    def end(self) -> None:
        """Assert that nothing was left over."""
        assert not self._commands, f"{self._page}: never run: {self._commands}"
