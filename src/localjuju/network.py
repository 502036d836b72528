"""The bridge of one state directory: one private subnet, reachable from this host only.

An ``unreachable`` route of a worse metric lies under the subnet: when the bridge is down, or a
unit is, no packet for it leaves through another interface.
"""

import ipaddress
import json
import shutil
import socket
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

from localjuju.errors import Refused

UNREACHABLE_METRIC = 4278198272  # the kernel's own "last resort" metric; any real route wins
FIRST_HOST = 10
LAST_HOST = 250


def ip(*arguments: str, check: bool = True) -> str:
    """Run iproute2 and return what it printed."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise Refused(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _tc(interface: str, pid: int, verb: str) -> None:
    """Put the queue without room in its place, or take it away; of a machine, or of the host."""
    queue = ["pfifo", "limit", "0"] if verb == "replace" else []
    command = ["tc", "qdisc", verb, "dev", interface, "root", *queue]
    if pid:
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if queue and done.returncode != 0:
        raise Refused(f"tc: {done.stderr.strip()}")


def _has_interface(name: str) -> bool:
    """Ask the kernel, not `/sys`, which may show another network namespace in a container."""
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False


class Network:
    """The subnet and the bridge; addresses are handed out once and never again."""

    def __init__(self, data: Path, tag: str) -> None:
        self.bridge = f"ljj{tag}"
        self._file = data / "network.json"
        self._lock = threading.Lock()
        self._tag = tag
        state = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.subnet = ipaddress.IPv4Network(state["subnet"]) if state else None
        self._next = int(state.get("next", FIRST_HOST))

    @property
    def gateway(self) -> str:
        """Return the host's own address on the bridge."""
        assert self.subnet is not None
        return str(self.subnet[1])

    @property
    def prefix_length(self) -> int:
        """Return the length of the subnet's prefix."""
        return 24

    def up(self) -> None:
        """Make the bridge, its address and the route below it; harmless when they are there."""
        with self._lock:
            if self.subnet is None:
                self.subnet = self._free_subnet()
                self._save()
            if not _has_interface(self.bridge):
                ip("link", "add", self.bridge, "type", "bridge")
            with suppress(OSError):  # read-only in a container; an address of IPv6 does no harm
                Path(f"/proc/sys/net/ipv6/conf/{self.bridge}/disable_ipv6").write_text("1\n")
            ip("addr", "replace", f"{self.gateway}/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            self._let_pass("-C", "-I")
            metric = str(UNREACHABLE_METRIC)
            ip("route", "replace", "unreachable", str(self.subnet), "metric", metric)

    def down(self) -> None:
        """Remove all of it."""
        with self._lock:
            if self.subnet is not None:
                ip("route", "del", "unreachable", str(self.subnet), check=False)
            self._let_pass("-C", "-D", present=True)
            ip("link", "del", self.bridge, check=False)
            self._file.unlink(missing_ok=True)
            self.subnet = None
            self._next = FIRST_HOST

    def _let_pass(self, check: str, act: str, *, present: bool = False) -> None:
        """Where bridged frames go through a firewall that drops (Docker's), allow our own.

        Machines on one bridge then still reach each other; nothing is forwarded elsewhere.
        """
        switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        program = shutil.which("iptables")
        if program is None or not switch.exists() or switch.read_text().strip() != "1":
            return
        rule = ["FORWARD", "-i", self.bridge, "-o", self.bridge, "-j", "ACCEPT"]
        found = subprocess.run([program, "-w", check, *rule], capture_output=True, check=False)
        if (found.returncode == 0) == present:
            subprocess.run([program, "-w", act, *rule], capture_output=True, check=False)

    def take_address(self) -> str:
        """Return a fresh host address; when all were given out, one whose machine is gone."""
        with self._lock:
            assert self.subnet is not None
            for _ in range(LAST_HOST):
                if not self._is_plugged(self._next):
                    break
                self._next = self._next + 1 if self._next < LAST_HOST else FIRST_HOST
            address = str(self.subnet[self._next])
            self._next = self._next + 1 if self._next < LAST_HOST else FIRST_HOST
            self._save()
            return address

    def _is_plugged(self, host: int) -> bool:
        return _has_interface(f"ljj{self._tag}v{host}")

    def connect(self, port: str, pid: int, address: str, mac: str) -> None:
        """Give a network namespace its ``eth0`` on the bridge."""
        ip("link", "del", port, check=False)
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        ip("link", "set", port, "master", self.bridge, "up")
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"]
        batch = (
            f"link set eth0 address {mac}\naddr add {address}/24 dev eth0\n"
            "link set eth0 up\nlink set lo up\n"
        )
        done = subprocess.run(inside, input=batch, text=True, check=False, capture_output=True)
        if done.returncode != 0:
            raise Refused(f"cannot give a machine its {address}: {done.stderr.strip()}")

    def cut(self, port: str, pid: int, way: str) -> None:
        """Cut a machine off: ``both`` pulls the plug, ``in`` and ``out`` lose packets one way.

        What is lost is lost in silence: a queue without any room stands where packets leave,
        the bridge towards the machine, or the machine towards the bridge.
        """
        if way == "both":
            ip("link", "set", port, "down")
        else:
            _tc(port if way == "in" else "eth0", pid if way == "out" else 0, "replace")

    def heal(self, port: str, pid: int) -> None:
        """Undo each cut of a machine."""
        ip("link", "set", port, "up")
        _tc(port, 0, "del")
        _tc("eth0", pid, "del")

    def port_of(self, address: str) -> str:
        """Return the name of a machine's interface on the host side."""
        return f"ljj{self._tag}v{address.rpartition('.')[2]}"

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"subnet": str(self.subnet), "next": self._next}))

    def _free_subnet(self) -> ipaddress.IPv4Network:
        taken = _networks_in_use()
        start = int(self._tag, 16)
        for step in range(1 << 14):
            number = (start + step * 7) % (1 << 14)
            candidate = ipaddress.IPv4Network(f"10.{64 + (number >> 8)}.{number & 255}.0/24")
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
        raise Refused("no private 10.x subnet is free on this machine")


def _networks_in_use() -> list[ipaddress.IPv4Network]:
    """Return each network with a route of ours, the default route excepted."""
    networks = []
    for route in json.loads(ip("-4", "-j", "route", "show", "table", "all") or "[]"):
        destination = route.get("dst", "default")
        if destination != "default":
            network = ipaddress.IPv4Network(destination, strict=False)
            if network.prefixlen > 1:
                networks.append(network)
    return networks


def mac_for(address: str) -> str:
    """Return a locally administered hardware address made of an IPv4 address."""
    return "52:54:" + ":".join(f"{byte:02x}" for byte in socket.inet_aton(address))
