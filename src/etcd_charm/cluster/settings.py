"""The options of the charm, typed and checked.

All problems are found at once and named by option, because an operator who fixes one wants to
know the others. Limits are etcd's own where it has them (server/embed/config.go: the election
timeout is at least five heartbeats and at most 50 s).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

HEARTBEAT_MS_MIN: Final = 10
HEARTBEAT_MS_MAX: Final = 5_000
ELECTION_MS_MAX: Final = 50_000
ELECTION_HEARTBEATS_MIN: Final = 5
SNAPSHOT_COUNT_DEFAULT: Final = 100_000
SNAPSHOT_COUNT_MIN: Final = 100
"""Fewer entries than this between two snapshots would only write snapshots."""
QUOTA_BYTES_DEFAULT: Final = 2 * 1024**3
QUOTA_BYTES_MIN: Final = 16 * 1024**2
QUOTA_BYTES_MAX: Final = 100 * 1024**3
LOG_LEVELS: Final = ("debug", "info", "warn", "error")
ENGINES: Final = ("raftkv", "etcd")
_SIZE: Final = re.compile(r"^(\d+)\s*([KMG]?)(i?B?)$", re.IGNORECASE)
_SIZE_UNITS: Final = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

Option = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Settings:
    """The options as the engine wants them. Units are in the names."""

    engine: str = "raftkv"
    client_port: int = 2379
    peer_port: int = 2380
    heartbeat_ms: int = 100
    election_ms: int = 1000
    snapshot_count: int = SNAPSHOT_COUNT_DEFAULT
    quota_bytes: int = QUOTA_BYTES_DEFAULT
    log_level: str = "info"
    bind_to_all_interfaces: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One option that cannot be used, and why."""

    option: str
    reason: str

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}"


class _Reader:
    """Takes options one by one and gathers what is wrong with them."""

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options = options
        self.problems: list[Problem] = []

    def complain(self, option: str, reason: str) -> None:
        self.problems.append(Problem(option, reason))

    def read_int(self, option: str, default: int, low: int, high: int) -> int:
        value = self._options.get(option, default)
        if isinstance(value, bool) or not isinstance(value, int):
            self.complain(option, f"{value!r} is not a whole number")
            return default
        if not low <= value <= high:
            self.complain(option, f"{value} is not between {low} and {high}")
            return default
        return value

    def read_choice(self, option: str, default: str, choices: tuple[str, ...]) -> str:
        value = str(self._options.get(option, default)).strip()
        if value not in choices:
            self.complain(option, f"{value!r} is not one of {', '.join(choices)}")
            return default
        return value

    def read_bool(self, option: str, *, default: bool) -> bool:
        value = self._options.get(option, default)
        if not isinstance(value, bool):
            self.complain(option, f"{value!r} is not true or false")
            return default
        return value

    def read_count(self, option: str, default: int, low: int) -> int:
        value = str(self._options.get(option, "auto")).strip()
        if value == "auto":
            return default
        if not value.isascii() or not value.isdigit() or int(value) < low:
            self.complain(option, f"{value!r} is neither 'auto' nor a number of at least {low}")
            return default
        return int(value)

    def read_size(self, option: str, default: int, low: int, high: int) -> int:
        value = str(self._options.get(option, "auto")).strip()
        if value == "auto":
            return default
        match = _SIZE.match(value)
        if match is None:
            self.complain(option, f"{value!r} is neither 'auto' nor a size such as 2G")
            return default
        size = int(match[1]) * _SIZE_UNITS[match[2].upper()]
        if not low <= size <= high:
            self.complain(option, f"{value} is not between {low >> 20}M and {high >> 30}G")
            return default
        return size


def load_settings(options: Mapping[str, Option]) -> tuple[Settings, tuple[Problem, ...]]:
    """Read the charm's options; with problems, the settings must not reach the engine."""
    reader = _Reader(options)
    settings = Settings(
        engine=reader.read_choice("engine", "raftkv", ENGINES),
        client_port=reader.read_int("port", 2379, 1, 65535),
        peer_port=reader.read_int("management_port", 2380, 1, 65535),
        heartbeat_ms=reader.read_int(
            "heartbeat_interval", 100, HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX
        ),
        election_ms=reader.read_int(
            "election_timeout", 1000, HEARTBEAT_MS_MIN * ELECTION_HEARTBEATS_MIN, ELECTION_MS_MAX
        ),
        snapshot_count=reader.read_count(
            "snapshot_count", SNAPSHOT_COUNT_DEFAULT, SNAPSHOT_COUNT_MIN
        ),
        quota_bytes=reader.read_size(
            "quota", QUOTA_BYTES_DEFAULT, QUOTA_BYTES_MIN, QUOTA_BYTES_MAX
        ),
        log_level=reader.read_choice("log-level", "info", LOG_LEVELS),
        bind_to_all_interfaces=reader.read_bool("bind_to_all_interfaces", default=True),
    )
    _check_together(settings, reader)
    return settings, tuple(reader.problems)


def check_engine(settings: Settings, founded_with: str) -> tuple[Problem, ...]:
    """Find an engine that is not the one that the cluster was founded with, if it was."""
    if founded_with in ("", settings.engine):
        return ()
    reason = (
        f"the cluster was founded with {founded_with!r}: set it back; to change the engine, deploy "
        "another application and restore a snapshot there"
    )
    return (Problem("engine", reason),)


def _check_together(settings: Settings, reader: _Reader) -> None:
    """Find what is right alone and wrong beside another option."""
    if settings.client_port == settings.peer_port:
        reader.complain("management_port", f"{settings.peer_port} is the client port too")
    least_ms = settings.heartbeat_ms * ELECTION_HEARTBEATS_MIN
    if settings.election_ms < least_ms:
        reader.complain(
            "election_timeout",
            f"{settings.election_ms} is less than five heartbeats ({least_ms})",
        )
