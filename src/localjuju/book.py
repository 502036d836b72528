"""The committed state of one model, shared by its agents, its hook tools and the command line.

One lock guards everything; whoever changes something holds it through ``change()``, which
journals the difference and wakes all that wait. Nobody may run a process or touch a machine
while holding it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from localjuju.entities import Records
from localjuju.journal import Journal


class Book:
    """Records, their journal and the condition on which agents sleep."""

    def __init__(self, journal: Journal | None) -> None:
        self._journal = journal
        self.records = journal.load() if journal else Records()
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._depth = 0
        self.closed = False

    @contextmanager
    def read(self) -> Iterator[Records]:
        """Hold the lock without writing."""
        with self.lock:
            yield self.records

    @contextmanager
    def change(self) -> Iterator[Records]:
        """Hold the lock; on leaving the outermost block write and wake the others.

        All or nothing: an exception, or a disk that takes no more, leaves the records as they
        were before the outermost block.
        """
        with self.lock:
            self._depth += 1
            try:
                yield self.records
                if self._depth == 1:
                    self._save()
            except BaseException:
                if self._depth == 1:
                    self._restore()
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.changed.notify_all()

    def _save(self) -> None:
        if self._journal is not None and not self.closed:
            self._journal.save(self.records)

    def _restore(self) -> None:
        if self._journal is not None and not self.closed:
            self._journal.restore(self.records)

    def wait_for(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Sleep until the condition holds; it is called with the lock held."""
        with self.lock:
            return self.changed.wait_for(condition, timeout)

    def now(self) -> float:
        """Return the time of this model; the only clock that its records see."""
        return time.time()

    def close(self) -> None:
        """Stop journalling; the model is gone or the daemon is leaving."""
        with self.lock:
            self.closed = True
            if self._journal is not None:
                self._journal.close()
            self.changed.notify_all()
