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
    """Parse what ``open-port`` takes (juju: core/network/portrange.go)."""
    ports, slash, protocol = text.lower().partition("/")
    bounds = ports.split("-")
    if len(bounds) > 2:
        raise UsageError(f"invalid port range {go_quote(ports)}")
    if ports == "icmp":
        return PortRange("icmp", -1, -1)
    numbers = [_parse_port(bound) for bound in bounds]
    parsed = PortRange(protocol if slash else "tcp", numbers[0], numbers[-1])
    if parsed.protocol not in {"tcp", "udp", "icmp"}:
        raise UsageError(
            f'invalid protocol {go_quote(parsed.protocol)}, expected "tcp", "udp", or "icmp"'
        )
    if parsed.protocol == "icmp":
        raise UsageError(f'protocol "icmp" doesn\'t support any ports; got "{parsed.first}"')
    if parsed.first > parsed.last:
        raise UsageError(f"invalid port range {parsed}")
    if parsed.first < 0 or parsed.last > PORT_MAX:
        raise UsageError(
            f"port range bounds must be between 0 and {PORT_MAX}, got {parsed.first}-{parsed.last}"
        )
    return parsed


Grouped = dict[str, list[str]]
"""Port ranges by endpoint; the empty name stands for all endpoints."""


def conflict(wanted: PortRange, taken: Grouped, *, endpoint: str | None) -> str | None:
    """Return the range that stands in the way of a new one, if any.

    With ``endpoint`` the ranges are the unit's own: the very same range is no conflict there,
    and an empty answer says that it is recorded for that endpoint already.
    """
    for name, ranges in taken.items():
        for other in map(parse_range, ranges):
            if not wanted.overlaps(other):
                continue
            if endpoint is None or other != wanted:
                return str(other)
            if name == endpoint:
                return ""
    return None


def merged(
    present: Grouped, opened: Grouped, closed: Grouped, endpoints: Iterable[str]
) -> Grouped:
    """Return a unit's ranges after a hook's requests (juju: state/openclose_ports).

    What is open for all endpoints is not repeated for one; closing it for one endpoint leaves
    it open for the others by name.
    """
    ports = {name: list(ranges) for name, ranges in present.items()}
    for name, ranges in opened.items():
        for text in ranges:
            if text not in ports.get("", []) and text not in ports.get(name, []):
                ports.setdefault(name, []).append(text)
    for name in [name for name in ports if name]:
        ports[name] = [text for text in ports[name] if text not in ports.get("", [])]
    for name, ranges in closed.items():
        for text in ranges:
            _close(ports, name, text, endpoints)
    return {name: ranges for name, ranges in ports.items() if ranges}


def _close(ports: Grouped, name: str, text: str, endpoints: Iterable[str]) -> None:
    everywhere = text in ports.get("", [])
    for known in list(ports) if not name else [name, ""]:
        ports[known] = [item for item in ports.get(known, []) if item != text]
    if name and everywhere:
        for other in endpoints:
            if other != name:
                ports.setdefault(other, []).append(text)


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
