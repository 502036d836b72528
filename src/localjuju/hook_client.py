#!/usr/bin/python3 -IS
"""The program behind every hook tool in a machine; the name it is called by says which one.

It must start in milliseconds: built-in modules only (``_socket``, not ``socket``), and no site
directory. Frames: four bytes of length, then fields with NUL between them (``hook_server``).
"""

import _socket
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def fail(text: str) -> "NoReturn":
    """Complain and end."""
    sys.stderr.write("ERROR " + text + "\n")
    sys.exit(1)


def send(link: _socket.socket, *fields: "str | bytes") -> None:
    """Send one frame."""
    payload = b"\0".join(os.fsencode(field) for field in fields)
    link.sendall(len(payload).to_bytes(4, "big") + payload)


def receive(link: _socket.socket) -> bytes:
    """Receive one frame."""

    def take(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = link.recv(min(1 << 20, count - len(data)))
            if not piece:
                fail("connection to the unit agent lost")
            data += piece
        return data

    return take(int.from_bytes(take(4), "big"))


def read_file(path: bytes) -> bytes:
    """Read a file of the caller's side; ``-`` is standard input."""
    if path == b"-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib costs 10 ms
        return file.read()


def unit_of(words: "list[str]") -> str:
    """Find the unit that juju-exec is meant for: -u NAME, NAME, or the only one here."""
    for position, word in enumerate(words):
        if word in ("-u", "--unit"):
            return words[position + 1]
        if word.startswith("--unit="):
            return word[7:]
        if not word.startswith("-"):
            break
    first = next((word for word in words if not word.startswith("-")), "")
    if "/" in first and " " not in first:
        return first
    if os.environ.get("JUJU_UNIT_NAME"):
        return os.environ["JUJU_UNIT_NAME"]
    names = os.listdir("/var/lib/juju/agents")  # noqa: PTH208  # pathlib costs 10 ms
    units = [name for name in names if name.startswith("unit-")]
    if len(units) != 1:
        fail("unit name not specified")
    return units[0][5:]


def main() -> None:
    """Carry out one tool call."""
    tool = sys.argv[0].rpartition("/")[2]
    words = sys.argv[1:]
    context = os.environ.get("JUJU_CONTEXT_ID", "")
    if tool in ("juju-exec", "juju-run"):
        if not words or words[0] in ("-h", "--help"):
            sys.stdout.write("Usage: juju-exec [options] [unit-name] <commands>\n")
            sys.exit(0 if words else 2)
        unit = unit_of(words)
        tag = "unit-" + unit.replace("/", "-")
        address = "/var/lib/juju/agents/" + tag + "/agent.socket"
        tool = "juju-exec"
    else:
        if not context:
            fail("JUJU_CONTEXT_ID not set")
        address = os.environ.get("JUJU_AGENT_SOCKET_ADDRESS", "")
        if not address:
            fail("JUJU_AGENT_SOCKET_ADDRESS not set")
        if not os.environ.get("JUJU_AGENT_SOCKET_NETWORK"):
            fail("JUJU_AGENT_SOCKET_NETWORK not set")
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        link.connect(address)
    except OSError as error:
        fail("cannot reach the unit agent: " + str(error))
    send(link, "run", context, tool, os.getcwd(), *words)  # noqa: PTH109
    while True:
        kind, _, rest = receive(link).partition(b"\0")
        if kind == b"read":
            try:
                send(link, b"data", read_file(rest))
            except OSError as error:
                send(
                    link,
                    b"error",
                    "open " + os.fsdecode(rest) + ": " + str(error.strerror).lower(),
                )
            continue
        code, output, size, body = rest.split(b"\0", 3)
        stdout, stderr = body[: int(size)], body[int(size) :]
        sys.stderr.buffer.write(stderr)
        sys.stderr.flush()
        if output:
            try:
                with open(output, "wb") as file:  # noqa: PTH123  # pathlib costs 10 ms
                    file.write(stdout)
            except OSError as error:
                fail("open " + os.fsdecode(output) + ": " + str(error.strerror).lower())
        else:
            try:
                sys.stdout.buffer.write(stdout)
                sys.stdout.flush()
            except BrokenPipeError:
                os._exit(int(code))
        sys.exit(int(code))


if __name__ == "__main__":
    try:
        main()
    except OSError as error:  # the unit was removed by force: its directory, its agent
        fail("connection to the unit agent lost: " + str(error))
