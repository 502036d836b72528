"""The background process of one state directory.

Started by the first command that needs it. It survives the command and goes when the last model
is gone. It keeps no connection open and wakes up for deadlines only.
"""

import fcntl
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

from localjuju import cli
from localjuju.client import SOCKET
from localjuju.controller import Controller
from localjuju.paths import data_directory

LINGER_SECONDS = 2.0  # for the next command of a script that has no model yet


class Daemon:
    """Accepts command lines."""

    def __init__(self, data: Path) -> None:
        self.controller = Controller(data)
        self._data = data
        self._busy = 0
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()

    def run(self, ready: int) -> None:
        """Serve until there is nothing left to serve."""
        self.controller.load()
        folder = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        (self._data / SOCKET).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        (self._data / SOCKET).chmod(0o600)
        listener.listen(128)
        os.write(ready, b"ready")
        os.close(ready)
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        poller.register(self._wake_read, select.POLLIN)
        while True:
            needed = self._busy or self.controller.hosts
            events = poller.poll(None if needed else LINGER_SECONDS * 1000)
            if not events and not self._busy and not self.controller.hosts:
                break
            for handle, _ in events:
                if handle == self._wake_read:
                    if os.read(self._wake_read, 64).startswith(b"q"):
                        self._quit(listener)
                        return
                    continue
                link, _ = listener.accept()
                with self._lock:
                    self._busy += 1
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()
        (self._data / SOCKET).unlink(missing_ok=True)
        listener.close()
        self.controller.clean_up()
        _remove_if_empty(self._data)

    def _quit(self, listener: socket.socket) -> None:
        """Leave in order and let the machines run (SIGTERM)."""
        (self._data / SOCKET).unlink(missing_ok=True)
        listener.close()
        self.controller.leave()

    def stop(self) -> None:
        """Ask the loop to end."""
        os.write(self._wake_write, b"q")

    def _serve(self, link: socket.socket) -> None:
        try:
            with link, link.makefile("rwb") as stream:
                line = stream.readline()
                if line:
                    session = cli.Session(self.controller, json.loads(line), stream, link)
                    try:
                        code = cli.run(session)
                    except (BrokenPipeError, ConnectionResetError):
                        raise
                    except Exception as error:  # noqa: BLE001  # a defect in one command only
                        traceback.print_exc()
                        session.err(f"ERROR {type(error).__name__}: {error}\n")
                        code = 1
                    session.finish(code)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with self._lock:
                self._busy -= 1
            os.write(self._wake_write, b"w")


def _remove_if_empty(data: Path) -> None:
    """Take away what is only about the daemon itself."""
    (data / "start.lock").unlink(missing_ok=True)
    (data / "daemon.log").unlink(missing_ok=True)
    try:
        data.rmdir()
    except OSError:
        return


def serve(ready: int) -> int:
    """Run the daemon of this environment's state directory."""
    data = data_directory()
    lock = os.open(data / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(ready, b"another daemon is running")
        return 1
    os.umask(0o022)
    daemon = Daemon(data)
    signal.signal(signal.SIGTERM, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    (data / "daemon.lock").write_text(f"{os.getpid()}\n")
    try:
        daemon.run(ready)
    finally:
        sys.stderr.flush()
    (data / "daemon.lock").unlink(missing_ok=True)
    _remove_if_empty(data)
    os._exit(0)
