"""The options of the charm, typed and checked.

All problems are found at once and named by option, because an operator who fixes one wants to
know the others. Limits are etcd's own where it has them (server/embed/config.go: the election
timeout is at least five heartbeats and at most 50 s).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

HEARTBEAT_MS_MIN: Final = 10
HEARTBEAT_MS_MAX: Final = 5_000
ELECTION_MS_MAX: Final = 50_000
ELECTION_HEARTBEATS_MIN: Final = 5
MEMORY_LIMIT_MIN: Final = 128 * 1024**2
"""Less than this, and the engine would be killed before it serves."""
HEARTBEAT_MS_DEFAULT: Final = 100
ELECTION_MS_DEFAULT: Final = 1000
ELECTION_HEARTBEATS: Final = 10
SNAPSHOT_COUNT_DEFAULT: Final = 100_000
SNAPSHOT_COUNT_MIN: Final = 100
"""Fewer entries than this between two snapshots would only write snapshots."""
QUOTA_BYTES_DEFAULT: Final = 2 * 1024**3
QUOTA_BYTES_MIN: Final = 16 * 1024**2
QUOTA_BYTES_MAX: Final = 100 * 1024**3
PROFILES: Final = {"lan": (100, 1000), "wan": (500, 5000)}
"""Heartbeat and election timeout in milliseconds, by distance."""
MEASURED: Final = "measured"
WARNING_DAYS_DEFAULT: Final = 21
RETENTION_DEFAULT: Final = 7
LOG_LEVELS: Final = ("debug", "info", "warn", "error")
ENGINES: Final = ("raftkv", "etcd")
_SIZE: Final = re.compile(r"^(\d+)\s*([KMG]?)(i?B?)$", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9{]([A-Za-z0-9.:{}-]*[A-Za-z0-9}])?")
"""A host name or an address; `{unit}` stands for the unit's name."""
COMPACTION_MODES: Final = ("periodic", "revision")
_RETENTION: Final = re.compile(r"\d+(h|m|s)?")
_CALENDAR: Final = re.compile(r"[A-Za-z0-9*:./, ~+-]{1,80}")
"""What systemd's calendar events are made of; systemd itself judges them."""
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
    compaction_mode: str = "periodic"
    compaction_retention: str = "1h"
    """History that is kept: a duration, or a number of revisions; 0 keeps all."""
    tls: bool = True
    """Whether clients speak TLS; members among themselves always do."""
    auth_enabled: bool = True
    """Whether users and roles count; needs TLS, whose certificates name the users."""
    enable_v2: bool = False
    """With engine etcd: serve v2, which knows no users of v3, beside auth."""
    legacy_port: int = 0
    """A second client port in plain http, on loopback only; 0 for none."""
    extra_sans: tuple[str, ...] = ()
    network_profile: str = "lan"
    warning_days: int = WARNING_DAYS_DEFAULT
    snapshot_schedule: str = ""
    """A calendar event of systemd; empty for none."""
    snapshot_retention: int = RETENTION_DEFAULT
    memory_limit_bytes: int = 0
    """Above it the system takes memory back from the engine; 0 for no limit."""

    @property
    def has_auth(self) -> bool:
        """Whether users and roles count."""
        return self.auth_enabled and self.tls


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

    def read_text(
        self, option: str, pattern: re.Pattern[str], hint: str, default: str = ""
    ) -> str:
        value = str(self._options.get(option, default)).strip()
        if value and pattern.fullmatch(value) is None:
            self.complain(option, f"{value!r} is not {hint}")
            return ""
        return value

    def read_names(self, option: str) -> tuple[str, ...]:
        text = str(self._options.get(option, ""))
        names = [name for name in re.split(r"[\s,]+", text) if name]
        wrong = [name for name in names if _NAME.fullmatch(name) is None]
        if wrong:
            self.complain(option, f"{wrong[0]!r} is neither a host name nor an address")
        return tuple(sorted(set(names) - set(wrong)))

    def read_limit(self, option: str, low: int) -> int:
        value = str(self._options.get(option, "")).strip()
        if not value:
            return 0
        match = _SIZE.match(value)
        size = int(match[1]) * _SIZE_UNITS[match[2].upper()] if match else 0
        if size < low:
            self.complain(option, f"{value!r} is not a size of at least {low >> 20}M")
            return 0
        return size

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
        compaction_mode=reader.read_choice("auto-compaction-mode", "periodic", COMPACTION_MODES),
        compaction_retention=reader.read_text(
            "auto-compaction-retention",
            _RETENTION,
            "a duration such as 1h or 30m, or a number",
            "1h",
        )
        or "0",
        tls=reader.read_bool("tls", default=True),
        auth_enabled=reader.read_bool("auth-enabled", default=True),
        enable_v2=reader.read_bool("enable-v2", default=False),
        legacy_port=reader.read_int("legacy-port", 0, 0, 65535),
        extra_sans=reader.read_names("certificate-extra-sans"),
        network_profile=reader.read_choice("network-profile", "lan", (*PROFILES, MEASURED)),
        warning_days=reader.read_int(
            "certificate-expiry-warning-days", WARNING_DAYS_DEFAULT, 0, 365
        ),
        snapshot_schedule=reader.read_text(
            "snapshot-schedule", _CALENDAR, "a calendar event of systemd, such as daily"
        ),
        snapshot_retention=reader.read_int("snapshot-retention", RETENTION_DEFAULT, 1, 1000),
        memory_limit_bytes=reader.read_limit("memory-limit", MEMORY_LIMIT_MIN),
    )
    _check_together(settings, reader)
    return settings, tuple(reader.problems)


def choose_timing(settings: Settings, round_trip_ms: int) -> Settings:
    """Return settings with the timing of the network profile.

    An operator's own numbers win over a profile. `measured` takes the slowest round trip between
    two members: a heartbeat of one and a half of it, as etcd's guide says, and ten of those
    until an election.
    """
    own = (HEARTBEAT_MS_DEFAULT, ELECTION_MS_DEFAULT)
    if (settings.heartbeat_ms, settings.election_ms) != own:
        return settings
    if settings.network_profile == MEASURED:
        heartbeat_ms = min(HEARTBEAT_MS_MAX, max(HEARTBEAT_MS_DEFAULT, round_trip_ms * 3 // 2))
        election_ms = min(ELECTION_MS_MAX, heartbeat_ms * ELECTION_HEARTBEATS)
    else:
        heartbeat_ms, election_ms = PROFILES[settings.network_profile]
    return replace(settings, heartbeat_ms=heartbeat_ms, election_ms=election_ms)


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
    if settings.legacy_port in (settings.client_port, settings.peer_port):
        reader.complain("legacy-port", f"{settings.legacy_port} is in use by another option")
    if settings.compaction_mode == "revision" and not settings.compaction_retention.isdigit():
        reader.complain(
            "auto-compaction-retention",
            f"{settings.compaction_retention} is no number of revisions, as the mode wants",
        )
    least_ms = settings.heartbeat_ms * ELECTION_HEARTBEATS_MIN
    if settings.election_ms < least_ms:
        reader.complain(
            "election_timeout",
            f"{settings.election_ms} is less than five heartbeats ({least_ms})",
        )
