"""etcd's flags, as data: what each means here, or why it is refused.

Precedence as in etcd: with ``--config-file`` the file alone counts; else a flag beats its
``ETCD_*`` variable, which beats the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml


class ConfigError(Exception):
    """The command line, environment or file is wrong; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: its default decides its type."""

    name: str
    default: str | int | bool
    help: str = ""


_PLANE: Final = "client-transport-security"
_PEER_PLANE: Final = "peer-transport-security"

FLAGS: Final[tuple[Flag, ...]] = (
    Flag("name", "default", "this member's name"),
    Flag("data-dir", "", "where this member keeps its data (default: NAME.etcd)"),
    Flag("wal-dir", "", "the log's own directory, perhaps on another disk"),
    Flag("listen-client-urls", "http://localhost:2379", "where clients are served"),
    Flag("listen-peer-urls", "http://localhost:2380", "where the other members are served"),
    Flag("advertise-client-urls", "http://localhost:2379", "what clients are told"),
    Flag("initial-advertise-peer-urls", "http://localhost:2380", "what other members are told"),
    Flag("initial-cluster", "", "NAME=PEER-URL,... of all founding members"),
    Flag("initial-cluster-state", "new", "new, or existing to join"),
    Flag("initial-cluster-token", "etcd-cluster", "keeps clusters with equal addresses apart"),
    Flag("cert-file", "", "server certificate"),
    Flag("key-file", "", "its key"),
    Flag("trusted-ca-file", "", "who signs client certificates"),
    Flag("client-cert-auth", False, "demand client certificates"),
    Flag("auto-tls", False, "make a certificate for clients, when no --cert-file is given"),
    Flag("client-crl-file", "", "revoked client certificates"),
    Flag("client-cert-allowed-hostname", "", "a name that client certificates must be valid for"),
    Flag("root-cert-ca-file", "", "the only authority for client certificates with CN root"),
    Flag("peer-cert-file", "", "certificate among members"),
    Flag("peer-key-file", "", "its key"),
    Flag("peer-trusted-ca-file", "", "who signs members' certificates"),
    Flag("peer-client-cert-auth", False, "demand certificates of members"),
    Flag("peer-auto-tls", False, "make a certificate for peers, when none is given"),
    Flag("peer-crl-file", "", "revoked certificates of members"),
    Flag("peer-cert-allowed-cn", "", "the common name that members' certificates must have"),
    Flag("peer-cert-allowed-hostname", "", "a name that members' certificates must be valid for"),
    Flag("cipher-suites", "", "cipher suites of TLS 1.2, by Go's names"),
    Flag("heartbeat-interval", 100, "milliseconds between heartbeats"),
    Flag("election-timeout", 1000, "milliseconds without a leader before an election"),
    Flag("snapshot-count", 100000, "entries kept in the log for slow members"),
    Flag(
        "snapshot-rate",
        0,
        "bytes per second of a snapshot for a slow member (0: 256 MiB, 32 MiB while clients write)",
    ),
    Flag("max-snapshots", 5, "accepted; the backend is the only snapshot"),
    Flag("max-wals", 5, "accepted; the log is trimmed by what is durable"),
    Flag(
        "quota-backend-bytes", 0, "bytes in use that raise the alarm NOSPACE (0: 2 GiB, -1: none)"
    ),
    Flag("max-txn-ops", 128, "operations in one transaction"),
    Flag("max-request-bytes", 1536 * 1024, "size of one request"),
    Flag("enable-v2", False, "serve the v2 API"),
    Flag("strict-reconfig-check", True, "refuse membership changes that could cost the quorum"),
    Flag("new-voters-wait", True, "a new voter has no vote until it caught up; false: as in etcd"),
    Flag("new-voter-timeout", "10m", "after it a new voter that never came is dropped"),
    Flag("proxy", "off", "pass v2 requests on to the members: off, on or readonly"),
    Flag("proxy-failure-wait", 5000, "milliseconds for which a member that failed is left alone"),
    Flag("proxy-refresh-interval", 30000, "milliseconds between two looks at the member list"),
    Flag("proxy-dial-timeout", 1000, "milliseconds to connect to a member (0: no limit)"),
    Flag("proxy-write-timeout", 5000, "milliseconds to send it a request (0: no limit)"),
    Flag("proxy-read-timeout", 0, "milliseconds to wait for its answer (0: no limit)"),
    Flag("force-new-cluster", False, "go on alone, after the other members are lost for good"),
    Flag("pre-vote", True, "accepted; pre-vote is always on"),
    Flag("log-level", "info", "debug, info, warn or error"),
    Flag("logger", "zap", "accepted; log lines go to standard error"),
    Flag("log-outputs", "default", "accepted: default, stderr or stdout"),
    Flag("listen-metrics-urls", "", "where /metrics and /health are served as well"),
    Flag("enable-grpc-gateway", True, "serve JSON under /v3"),
    Flag("cors", "", "origins of web pages that may use this member, or * for all"),
    Flag("host-whitelist", "*", "names under which plain http may call it, or * for all"),
    Flag(
        "auth-token", "simple", "simple, or jwt,pub-key=FILE,priv-key=FILE,sign-method=M,ttl=10m"
    ),
    Flag("auth-token-ttl", 300, "seconds that a simple token lives without use"),
    Flag("auto-compaction-mode", "periodic", "what the retention counts: periodic or revision"),
    Flag("auto-compaction-retention", "0", "hours, a duration, or revisions; 0 keeps all history"),
    Flag("experimental-watch-progress-notify-interval", "10m", "between notices to quiet watches"),
    Flag(
        "experimental-corrupt-check-time", "1h", "between two comparisons of all rows; 0s: never"
    ),
    Flag("bcrypt-cost", 10, "binary logarithm of the rounds of password hashing, 4 to 31"),
    Flag("config-file", "", "a YAML file instead of all other flags"),
)
BY_NAME: Final = {flag.name: flag for flag in FLAGS}

REFUSED: Final[dict[str, str]] = {
    "discovery": "bootstrap is static: list the members in --initial-cluster",
    "discovery-srv": "bootstrap is static: list the members in --initial-cluster",
    "discovery-fallback": "bootstrap is static",
    "discovery-proxy": "bootstrap is static",
    "discovery-srv-name": "bootstrap is static",
    "enable-pprof": "there is no Go runtime to profile",
    "debug": "use --log-level debug",
    "experimental-initial-corrupt-check": "members always compare what they applied",
    "experimental-enable-v2v3": "v2 and v3 are separate stores here",
    "experimental-backend-bbolt-freelist-type": "the backend is LMDB, not bbolt",
    "experimental-enable-lease-checkpoint": "what is left of leases is always noted",
    "experimental-compaction-batch-limit": "compaction chooses its own slices",
    "experimental-peer-skip-client-san-verification": "addresses of peers are never compared",
    "experimental-warning-apply-duration": "not served yet",
    "initial-election-tick-advance": "a start waits one election timeout at most",
    "backend-batch-interval": "the backend chooses its own slices",
    "backend-batch-limit": "the backend chooses its own slices",
    "max-concurrent-streams": "not served yet; 8192 streams per connection are allowed",
    "grpc-keepalive-min-time": "not served yet; pings of clients are always answered",
    "grpc-keepalive-interval": "not served yet",
    "grpc-keepalive-timeout": "not served yet",
    "metrics": "not served yet; /metrics has one level of detail",
    "log-package-levels": "use --log-level",
}


@dataclass(frozen=True, slots=True)
class RawConfig:
    """Every flag's value, typed as its default, and which were given."""

    values: dict[str, str | int | bool]
    given: frozenset[str] = field(default_factory=frozenset)

    def text(self, name: str) -> str:
        """A text flag."""
        return str(self.values[name])

    def number(self, name: str) -> int:
        """A number flag."""
        return int(self.values[name])

    def switch(self, name: str) -> bool:
        """A boolean flag."""
        return bool(self.values[name])


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> RawConfig:
    """Read flags, environment and file.

    Raises:
        ConfigError: names the flag or key and the remedy.
    """
    flags = _read_arguments(arguments)
    path = flags.get("config-file") or environment.get("ETCD_CONFIG_FILE", "")
    if path:
        return _read_file(Path(str(path)))
    given: dict[str, str | int | bool] = {}
    for variable, text in environment.items():
        if not variable.startswith("ETCD_"):
            continue
        name = variable[5:].lower().replace("_", "-")
        if name in REFUSED and not _is_off(text):
            raise ConfigError(f"environment variable {variable} is refused: {REFUSED[name]}")
        if name in BY_NAME and text:
            given[name] = _convert(name, text, f"environment variable {variable}")
    given.update(flags)
    values = {flag.name: flag.default for flag in FLAGS}
    values.update(given)
    return RawConfig(values, frozenset(given))


def _is_off(value: object) -> bool:
    """Whether a refused flag is only told to stay off."""
    return value in (None, False, "", 0, "off", "false", "0")


def _read_arguments(arguments: Sequence[str]) -> dict[str, str | int | bool]:
    out: dict[str, str | int | bool] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word in ("-", "--"):
            raise ConfigError(f"'{word}' is not a valid flag")
        name, equals, text = word.lstrip("-").partition("=")
        if name in REFUSED:
            if equals and _is_off(text):
                continue
            raise ConfigError(f"flag --{name} is refused: {REFUSED[name]}")
        flag = BY_NAME.get(name)
        if flag is None:
            raise ConfigError(f"flag provided but not defined: -{name} (see raftkvd --help)")
        if isinstance(flag.default, bool) and not equals:
            text = "true"
        elif not equals:
            if not rest:
                raise ConfigError(f"flag needs an argument: -{name}")
            text = rest.pop(0)
        out[name] = _convert(name, text, f"flag --{name}")
    return out


def _convert(name: str, text: str, where: str) -> str | int | bool:
    default = BY_NAME[name].default
    if isinstance(default, bool):
        if text.lower() in ("true", "1", "t"):
            return True
        if text.lower() in ("false", "0", "f"):
            return False
        raise ConfigError(f"{where}: {text!r} is neither true nor false")
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{where}: {text!r} is not a number") from None
    return text


_SECURITY_KEYS: Final = {
    "cert-file": "cert-file",
    "key-file": "key-file",
    "client-cert-auth": "client-cert-auth",
    "trusted-ca-file": "trusted-ca-file",
    "auto-tls": "auto-tls",
}
_SECURITY_KEYS_OF: Final = {
    _PLANE: {
        "client-crl-file": "client-crl-file",
        "crl-file": "client-crl-file",
        "allowed-hostname": "client-cert-allowed-hostname",
    },
    _PEER_PLANE: {
        "crl-file": "peer-crl-file",
        "allowed-cn": "peer-cert-allowed-cn",
        "allowed-hostname": "peer-cert-allowed-hostname",
    },
}


def _read_file(path: Path) -> RawConfig:
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read --config-file {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"--config-file {path} is not YAML: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"--config-file {path}: expected keys and values")
    given: dict[str, str | int | bool] = {}
    for key, value in data.items():
        if key in (_PLANE, _PEER_PLANE):
            given.update(_read_plane(str(key), value or {}, path))
            continue
        name = str(key)
        if name in REFUSED:
            if _is_off(value):
                continue
            raise ConfigError(f"--config-file {path}: {name} is refused: {REFUSED[name]}")
        if name not in BY_NAME:
            raise ConfigError(f"--config-file {path}: unknown key {name!r}")
        given[name] = _from_yaml(name, value, path)
    values = {flag.name: flag.default for flag in FLAGS}
    values.update(given)
    return RawConfig(values, frozenset(given))


def _read_plane(plane: str, data: dict[str, Any], path: Path) -> dict[str, str | int | bool]:
    """One of the two sections on certificates."""
    prefix = "peer-" if plane == _PEER_PLANE else ""
    names = {key: f"{prefix}{name}" for key, name in _SECURITY_KEYS.items()}
    names |= _SECURITY_KEYS_OF[plane]
    given: dict[str, str | int | bool] = {}
    for key, value in data.items():
        if key in names:
            given[names[key]] = _from_yaml(names[key], value, path)
        elif value not in (None, False, ""):
            raise ConfigError(f"--config-file {path}: {plane}.{key} is not served")
    return given


def _from_yaml(name: str, value: Any, path: Path) -> str | int | bool:
    default = BY_NAME[name].default
    if value is None:
        return default
    if isinstance(value, list):
        value = ",".join(str(item) for item in value)
    if isinstance(default, str):
        return str(value)
    if isinstance(value, type(default)):
        typed: int | bool = value
        return typed
    return _convert(name, str(value), f"--config-file {path}: {name}")
