"""The model's log: one file for ``juju debug-log``, and each unit's own inside its machine."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ROTATE_BYTES = 32 << 20


class ModelLog:
    """Appends lines ``<iso time> TAB entity TAB level TAB module TAB text``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._grown = threading.Condition(self._lock)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="replace")
        self.closed = False

    def write(self, entity: str, level: str, module: str, text: str) -> None:
        """Append an entry for each line of the text."""
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        with self._lock:
            if self.closed:
                return
            with suppress(OSError):  # a full disk costs lines of the log, nothing else
                for line in text.splitlines() or [""]:
                    self._file.write(f"{now}\t{entity}\t{level}\t{module}\t{line}\n")
                self._file.flush()
                self._rotate_when_large()
            self._grown.notify_all()

    def _rotate_when_large(self) -> None:
        """Keep the log to two files of bounded size, however much a charm writes."""
        if self._file.tell() > ROTATE_BYTES:
            self._file.close()
            self.path.replace(self.path.with_suffix(".1"))
            self._file = self.path.open("a", encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Stop; later writes are dropped."""
        with self._lock:
            self.closed = True
            with suppress(OSError):
                self._file.close()
            self._grown.notify_all()

    def tail(self, count: int | None) -> list[str]:
        """Return the last entries, or all."""
        if not self.path.exists():
            return []
        with self.path.open(encoding="utf-8", errors="replace") as file:
            return list(deque(file, maxlen=count))

    def follow(self, seconds: float) -> Iterator[str]:
        """Yield new entries; ends when none has come for a while (call it again)."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            file.seek(0, 2)
            while not self.closed:
                line = file.readline()
                if line:
                    yield line
                    continue
                with self._grown:
                    if not self._grown.wait(seconds):
                        yield ""


def show(line: str, *, date: bool = False, ms: bool = False) -> str:
    """Return an entry as ``juju debug-log`` prints it, with ``--date`` and ``--ms``."""
    moment, entity, level, module, text = (line.rstrip("\n").split("\t", 4) + [""] * 4)[:5]
    end = 23 if ms else 19
    clock = moment[:end].replace("T", " ") if date else moment[11:end]
    return f"{entity}: {clock} {level} {module} {text}\n"
