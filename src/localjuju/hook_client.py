#!/usr/bin/python3 -IS
# The program behind every hook tool in a machine; the name it is called by says which one.
# It must start in milliseconds: nothing but built-in modules, and no site directory.
# Frames: four bytes of length, then fields with NUL between them (see hook_server.py).
import os
import sys

import _socket


def fail(text):
    sys.stderr.write("ERROR " + text + "\n")
    sys.exit(1)


def send(link, *fields):
    payload = b"\0".join(os.fsencode(field) for field in fields)
    link.sendall(len(payload).to_bytes(4, "big") + payload)


def receive(link):
    def take(count):
        data = b""
        while len(data) < count:
            piece = link.recv(min(1 << 20, count - len(data)))
            if not piece:
                fail("connection to the unit agent lost")
            data += piece
        return data

    return take(int.from_bytes(take(4), "big"))


def read_file(path):
    if path == b"-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()


def unit_of(words):
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
    units = [name for name in os.listdir("/var/lib/juju/agents") if name.startswith("unit-")]
    if len(units) != 1:
        fail("unit name not specified")
    return units[0][5:]


def main():
    tool = os.path.basename(sys.argv[0])
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
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        link.connect(address)
    except OSError as error:
        fail("cannot reach the unit agent: " + str(error))
    send(link, "run", context, tool, os.getcwd(), *words)
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
            with open(output, "wb") as file:
                file.write(stdout)
        else:
            try:
                sys.stdout.buffer.write(stdout)
                sys.stdout.flush()
            except BrokenPipeError:
                os._exit(int(code))
        sys.exit(int(code))


main()
