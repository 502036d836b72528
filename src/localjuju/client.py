"""The command line's process: hands its words to the daemon and shows what comes back.

It imports next to nothing. Lines of JSON in both directions: the request first, then ``out`` and
``err`` (text to show), ``ask`` (send standard input), ``exec`` (become that program, for ssh)
and ``exit``.
"""

import json
import os
import socket
import sys

from localjuju.paths import data_directory

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs milliseconds
    from typing import Any

SOCKET = "daemon.sock"
START_SECONDS = 20.0


def run(words: list[str]) -> int:
    """Carry out one command line."""
    request = {
        "words": words,
        "folder": os.getcwd(),  # noqa: PTH109
        "model": os.environ.get("JUJU_MODEL", ""),
        "tty": sys.stdout.isatty(),
        "columns": 0,
    }
    try:
        link = _connect()
    except PermissionError:
        sys.stderr.write("ERROR the local model needs root: run this as root (sudo)\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"ERROR cannot reach the daemon of the local model: {error}\n")
        return 1
    with link:
        stream = link.makefile("rwb")
        stream.write(json.dumps(request).encode() + b"\n")
        stream.flush()
        try:
            return _show(stream)
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return 130
        except BrokenPipeError:
            return 1


def _show(stream: "Any") -> int:
    for line in stream:
        answer = json.loads(line)
        if "out" in answer:
            sys.stdout.write(answer["out"])
            sys.stdout.flush()
        elif "err" in answer:
            sys.stderr.write(answer["err"])
            sys.stderr.flush()
        elif "ask" in answer:
            text = sys.stdin.read()
            stream.write(json.dumps({"stdin": text}).encode() + b"\n")
            stream.flush()
        elif "exec" in answer:
            sys.stdout.flush()
            os.execvp(answer["exec"][0], answer["exec"])  # noqa: S606
        elif "pipe" in answer:
            return _pipe(answer["pipe"])
        else:
            return int(answer["exit"])
    sys.stderr.write("ERROR the daemon of the local model has gone away\n")
    return 1


def _pipe(commands: list[list[str]]) -> int:
    """Run two programs, the first one's output going into the second."""
    import subprocess  # noqa: PLC0415

    with subprocess.Popen(commands[0], stdout=subprocess.PIPE) as source:
        sink = subprocess.run(commands[1], stdin=source.stdout, check=False)
    if source.returncode or sink.returncode:
        sys.stderr.write(f"ERROR exit status {source.returncode or sink.returncode}\n")
        return 1
    return 0


def _connect() -> socket.socket:
    data = data_directory()
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            return _dial(folder)
        except (FileNotFoundError, ConnectionRefusedError):
            return _start_and_dial(folder)
    finally:
        os.close(folder)


def _dial(folder: int) -> socket.socket:
    """Connect by the directory's descriptor: paths of sockets may have 107 bytes only."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    except BaseException:
        link.close()
        raise
    return link


def _start_and_dial(folder: int) -> socket.socket:
    """Start the daemon unless somebody else is doing so; return when it listens."""
    import fcntl  # noqa: PLC0415
    import subprocess  # noqa: PLC0415

    if os.geteuid() != 0:
        raise PermissionError
    lock = os.open("start.lock", os.O_RDWR | os.O_CREAT, 0o600, dir_fd=folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            return _dial(folder)
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        read_end, write_end = os.pipe()
        log = os.open("daemon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600, dir_fd=folder)
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        environment["LOCALJUJU_DATA"] = str(data_directory())
        subprocess.Popen(
            [sys.executable, "-m", "localjuju", "--daemon", str(write_end)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env=environment,
            pass_fds=(write_end,),
        )
        os.close(log)
        os.close(write_end)
        ready = os.read(read_end, 4096)
        os.close(read_end)
        if ready != b"ready":
            raise OSError(f"it did not start; see {data_directory() / 'daemon.log'}")
        return _dial(folder)
    finally:
        os.close(lock)
