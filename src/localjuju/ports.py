"""Port ranges as Juju writes them: ``80/tcp``, ``9000-9010/udp``, ``icmp``."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from localjuju.errors import UsageError
from localjuju.formats import go_quote

PORT_MAX = 65535


class PortRange(NamedTuple):
    """A range of ports of one protocol; sorts by protocol, then port."""

    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        if self.protocol == "icmp":
            return "icmp"
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{ports}/{self.protocol}"

    def overlaps(self, other: "PortRange") -> bool:
        """Say whether some port is in both."""
        same = self.protocol == other.protocol
        return same and self.first <= other.last and other.first <= self.last


def parse_range(text: str) -> PortRange:
    """Parse what ``open-port`` takes."""
    text = text.lower()
    if text == "icmp":
        return PortRange("icmp", -1, -1)
    ports, slash, protocol = text.partition("/")
    protocol = protocol if slash else "tcp"
    bounds = ports.split("-")
    if len(bounds) > 2:
        raise UsageError(f"invalid port range {go_quote(ports)}")
    numbers = [_parse_port(bound) for bound in bounds]
    parsed = PortRange(protocol, numbers[0], numbers[-1])
    if protocol == "icmp":
        raise UsageError(f'protocol "icmp" doesn\'t support any ports; got "{ports}"')
    if protocol not in {"tcp", "udp"}:
        raise UsageError(
            f'invalid protocol {go_quote(protocol)}, expected "tcp", "udp", or "icmp"'
        )
    if parsed.first > parsed.last:
        raise UsageError(f"invalid port range {parsed}")
    if parsed.first <= 0 or parsed.last > PORT_MAX:
        raise UsageError(
            f"port range bounds must be between 1 and {PORT_MAX}, got {parsed.first}-{parsed.last}"
        )
    return parsed


def _parse_port(text: str) -> int:
    if not re.fullmatch(r"[-+]?\d+", text):
        raise UsageError(
            f"invalid port {go_quote(text)}: strconv.Atoi: parsing {go_quote(text)}: invalid syntax"
        )
    return int(text)


def summarise(ranges: Iterable[str]) -> list[str]:
    """Return ranges sorted and without repetition, as in a unit's ``open-ports``."""
    return [str(item) for item in sorted({parse_range(text) for text in ranges})]


def tabular(ranges: Iterable[str]) -> str:
    """Return the Ports column of ``juju status``: ``80,8000-8010/tcp 53/udp``."""
    by_protocol: dict[str, list[PortRange]] = {}
    for item in sorted({parse_range(text) for text in ranges}):
        merged = by_protocol.setdefault(item.protocol, [])
        if merged and item.first <= merged[-1].last + 1:
            last = merged.pop()
            item = PortRange(item.protocol, last.first, max(last.last, item.last))
        merged.append(item)
    words = []
    for protocol, items in by_protocol.items():
        if protocol == "icmp":
            words.append("icmp")
            continue
        words.append(",".join(str(item).partition("/")[0] for item in items) + "/" + protocol)
    return " ".join(words)
