"""The daemon's configuration: typed, checked as a whole, before anything is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from raftkv.auth.passwords import COST_MAX, COST_MIN
from raftkv.member_ids import founding_member_id
from raftkv.server import tokens
from raftkv.server.flags import ConfigError, RawConfig
from raftkv.store.auto_compaction import Mode
from raftkv.values import Member

if TYPE_CHECKING:
    from raftkv.auth.jwt import JwtTokens  # loads cryptography: only where it is used

QUOTA_BYTES_DEFAULT: Final = 2 << 30
NO_QUOTA_BYTES: Final = 1 << 62
SNAPSHOT_RATE_MIN: Final = 64 << 10
LEVELS: Final = ("debug", "info", "warn", "error", "panic", "fatal")


@dataclass(frozen=True, slots=True)
class Url:
    """One listening or advertised URL."""

    scheme: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme == "https"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate files of one plane; empty paths mean absent."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    crl_file: str = ""
    root_ca_file: str = ""
    """The one authority whose certificates may carry the name ``root``."""
    allowed_common_name: str = ""
    allowed_host: str = ""
    is_self_signed: bool = False
    """The member makes certificate and key itself; nobody is verified."""
    ciphers: tuple[str, ...] = ()
    """OpenSSL's names; TLS 1.3 chooses by itself, as in etcd."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How ``--proxy`` works; seconds, 0 means no limit."""

    mode: str
    failure_wait_s: float
    refresh_s: float
    dial_s: float
    write_s: float
    read_s: float


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the daemon was told."""

    name: str
    data_dir: Path
    wal_dir: Path
    listen_client: tuple[Url, ...]
    listen_peer: tuple[Url, ...]
    listen_metrics: tuple[Url, ...]
    advertise_client: tuple[str, ...]
    advertise_peer: tuple[str, ...]
    initial_cluster: dict[str, tuple[str, ...]]
    is_new_cluster: bool
    cluster_token: str
    client_tls: TlsFiles
    peer_tls: TlsFiles
    heartbeat_ms: int
    election_ms: int
    snapshot_count: int
    snapshot_bytes_per_s: int
    """0: as fast as clients allow; see ``server.pace.Pace``."""
    quota_bytes: int
    max_txn_ops: int
    max_request_bytes: int
    enable_v2: bool
    enable_gateway: bool
    strict_reconfig: bool
    new_voters_wait: bool
    newcomer_timeout_s: int
    force_new_cluster: bool
    proxy: ProxySettings
    cors: frozenset[str]
    host_whitelist: frozenset[str]
    log_level: str
    bcrypt_cost: int
    progress_ms: int
    scrub_ms: int
    """Between two scrubs; 0 for none."""
    compaction_mode: Mode
    compaction_retention: int
    """Milliseconds or revisions; 0 for never."""
    auth_token_ttl_s: int
    jwt: JwtTokens | None
    """None for simple tokens."""

    def founding_members(self) -> list[Member]:
        """The members that ``--initial-cluster`` names, with the ids that etcd would give."""
        return [
            Member(founding_member_id(urls, self.cluster_token), name, tuple(sorted(urls)))
            for name, urls in sorted(self.initial_cluster.items())
        ]


def check(raw: RawConfig) -> Config:
    """Turn flags into a configuration that makes sense as a whole.

    Raises:
        ConfigError: names the flag and the remedy.
    """
    name = raw.text("name")
    peer = _tls_files(raw, "peer-")
    client = _tls_files(raw, "")
    advertise_peer = _url_list(raw, "initial-advertise-peer-urls")
    initial = raw.text("initial-cluster") or ",".join(f"{name}={url}" for url in advertise_peer)
    cluster = _parse_cluster(initial)
    state = raw.text("initial-cluster-state")
    if state not in ("new", "existing"):
        raise ConfigError(f"--initial-cluster-state is {state!r}: give new or existing")
    heartbeat_ms, election_ms = _timing(raw)
    level = raw.text("log-level")
    if level not in LEVELS:
        raise ConfigError(f"--log-level is {level!r}: give one of {', '.join(LEVELS)}")
    listen_client = _listen(raw, "listen-client-urls", client)
    if raw.text("proxy") == "off":
        _check_advertised(raw)
    data_dir = Path(raw.text("data-dir") or f"{name}.etcd")
    wal_dir = raw.text("wal-dir")
    mode, retention = _auto_compaction(raw)
    return Config(
        name=name,
        data_dir=data_dir,
        wal_dir=Path(wal_dir) if wal_dir else data_dir / "member" / "wal",
        listen_client=listen_client,
        listen_peer=_listen(raw, "listen-peer-urls", peer),
        listen_metrics=_listen(raw, "listen-metrics-urls", client),
        advertise_client=_url_list(raw, "advertise-client-urls"),
        advertise_peer=advertise_peer,
        initial_cluster=cluster,
        is_new_cluster=state == "new",
        cluster_token=raw.text("initial-cluster-token"),
        client_tls=client,
        peer_tls=peer,
        heartbeat_ms=heartbeat_ms,
        election_ms=election_ms,
        snapshot_count=max(raw.number("snapshot-count"), 1000),
        snapshot_bytes_per_s=_snapshot_rate(raw),
        quota_bytes=_quota_bytes(raw),
        max_txn_ops=raw.number("max-txn-ops"),
        max_request_bytes=raw.number("max-request-bytes"),
        enable_v2=raw.switch("enable-v2"),
        enable_gateway=raw.switch("enable-grpc-gateway"),
        strict_reconfig=raw.switch("strict-reconfig-check"),
        new_voters_wait=raw.switch("new-voters-wait"),
        newcomer_timeout_s=_newcomer_timeout_s(raw),
        force_new_cluster=raw.switch("force-new-cluster"),
        proxy=_proxy_settings(raw),
        cors=_cors(raw),
        host_whitelist=_words(raw, "host-whitelist"),
        log_level=level,
        bcrypt_cost=_bcrypt_cost(raw),
        progress_ms=_progress_ms(raw),
        scrub_ms=_scrub_ms(raw),
        compaction_mode=mode,
        compaction_retention=retention,
        auth_token_ttl_s=max(raw.number("auth-token-ttl"), 1),
        jwt=tokens.read_auth_token(raw.text("auth-token")),
    )


def _words(raw: RawConfig, name: str) -> frozenset[str]:
    return frozenset(word.strip() for word in raw.text(name).split(",") if word.strip())


def _cors(raw: RawConfig) -> frozenset[str]:
    origins = _words(raw, "cors")
    for origin in origins:
        parts = urlsplit(origin)
        if origin != "*" and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ConfigError(f"--cors: {origin!r} is no origin: give http(s)://HOST, or *")
    return origins


def _proxy_settings(raw: RawConfig) -> ProxySettings:
    mode = raw.text("proxy")
    if mode not in ("off", "on", "readonly"):
        raise ConfigError(f"--proxy is {mode!r}: give off, on or readonly")

    def seconds(name: str) -> float:
        if raw.number(name) < 0:
            raise ConfigError(f"--{name} {raw.number(name)} must not be negative")
        return raw.number(name) / 1000

    return ProxySettings(
        mode,
        seconds("proxy-failure-wait"),
        seconds("proxy-refresh-interval"),
        seconds("proxy-dial-timeout"),
        seconds("proxy-write-timeout"),
        seconds("proxy-read-timeout"),
    )


def _timing(raw: RawConfig) -> tuple[int, int]:
    heartbeat_ms, election_ms = raw.number("heartbeat-interval"), raw.number("election-timeout")
    if heartbeat_ms <= 0 or election_ms < 5 * heartbeat_ms:
        raise ConfigError(
            f"--election-timeout {election_ms} must be at least 5 times "
            f"--heartbeat-interval {heartbeat_ms}",
        )
    if election_ms > 50000:
        raise ConfigError(f"--election-timeout {election_ms} is above the maximum of 50000 ms")
    return heartbeat_ms, election_ms


def _quota_bytes(raw: RawConfig) -> int:
    given = raw.number("quota-backend-bytes")
    return NO_QUOTA_BYTES if given < 0 else given or QUOTA_BYTES_DEFAULT


def _snapshot_rate(raw: RawConfig) -> int:
    given = raw.number("snapshot-rate")
    return max(given, SNAPSHOT_RATE_MIN) if given else 0


def _auto_compaction(raw: RawConfig) -> tuple[Mode, int]:
    text = raw.text("auto-compaction-mode")
    if text not in ("periodic", "revision"):
        raise ConfigError(f"--auto-compaction-mode is {text!r}: give periodic or revision")
    mode = Mode(text)
    retention = raw.text("auto-compaction-retention")
    where = "--auto-compaction-retention"
    if retention.isascii() and retention.isdigit():
        number = int(retention)
        return mode, number if mode is Mode.REVISION else number * 3_600_000
    if mode is Mode.REVISION:
        raise ConfigError(f"{where} {retention!r} is no number of revisions")
    return mode, int(tokens.parse_duration_s(retention, where) * 1000)


def _newcomer_timeout_s(raw: RawConfig) -> int:
    name = "new-voter-timeout"
    return max(int(tokens.parse_duration_s(raw.text(name), f"--{name}")), 1)


def _scrub_ms(raw: RawConfig) -> int:
    name = "experimental-corrupt-check-time"
    return int(tokens.parse_duration_s(raw.text(name), f"--{name}") * 1000)


def _progress_ms(raw: RawConfig) -> int:
    name = "experimental-watch-progress-notify-interval"
    return max(int(tokens.parse_duration_s(raw.text(name), f"--{name}") * 1000), 100)


def _bcrypt_cost(raw: RawConfig) -> int:
    cost = raw.number("bcrypt-cost")
    if not COST_MIN <= cost <= COST_MAX:
        raise ConfigError(f"--bcrypt-cost {cost} is not between {COST_MIN} and {COST_MAX}")
    return cost


def check_founding(config: Config) -> None:
    """Check what only a first start needs: this member stands in the cluster it names.

    Raises:
        ConfigError: ``--initial-cluster`` contradicts the other flags.
    """
    mine = config.initial_cluster.get(config.name)
    if mine is None:
        known = ",".join(sorted(config.initial_cluster))
        raise ConfigError(
            f'couldn\'t find local name "{config.name}" in the initial cluster configuration: '
            f"--initial-cluster names {known}",
        )
    if set(mine) != set(config.advertise_peer):
        raise ConfigError(
            f"--initial-cluster has {config.name}={','.join(mine)} but missing from "
            f"--initial-advertise-peer-urls={','.join(config.advertise_peer)}: make them equal",
        )


def _parse_cluster(text: str) -> dict[str, tuple[str, ...]]:
    cluster: dict[str, list[str]] = {}
    owners: dict[str, str] = {}
    for item in text.split(","):
        if not item.strip():
            continue
        name, equals, url = item.strip().partition("=")
        if not equals or not name or not url:
            raise ConfigError(f"--initial-cluster: {item!r} is not NAME=URL")
        parse_url(url, "--initial-cluster")
        owner = owners.setdefault(url, name)
        if owner != name or url in cluster.get(name, []):
            raise ConfigError(f"--initial-cluster has duplicate URL {url} ({owner} and {name})")
        cluster.setdefault(name, []).append(url)
    if not cluster:
        raise ConfigError("--initial-cluster is empty: give NAME=PEER-URL")
    return {name: tuple(urls) for name, urls in cluster.items()}


def parse_url(text: str, where: str) -> Url:
    """Parse ``scheme://host:port``.

    Raises:
        ConfigError: names ``where`` and what is wrong.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: {text!r}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{where}: {text!r}: URL scheme must be http or https")
    if not parts.hostname or port is None:
        raise ConfigError(f'{where}: {text!r}: URL address does not have the form "host:port"')
    if parts.path not in ("", "/"):
        raise ConfigError(f"{where}: {text!r}: URL must not contain a path")
    return Url(parts.scheme, parts.hostname, port)


def _url_list(raw: RawConfig, name: str) -> tuple[str, ...]:
    urls = tuple(u.strip() for u in raw.text(name).split(",") if u.strip())
    for url in urls:
        parse_url(url, f"--{name}")
    return urls


def _listen(raw: RawConfig, name: str, tls: TlsFiles) -> tuple[Url, ...]:
    urls = tuple(parse_url(u.strip(), f"--{name}") for u in raw.text(name).split(",") if u.strip())
    for url in urls:
        if url.is_tls and not tls.cert_file:
            flag = "--peer-cert-file" if name == "listen-peer-urls" else "--cert-file"
            raise ConfigError(f"--{name} has {url} but there is no {flag}: give it, or use http")
    return urls


def _check_advertised(raw: RawConfig) -> None:
    if "listen-client-urls" in raw.given and "advertise-client-urls" not in raw.given:
        raise ConfigError(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        )


def _tls_files(raw: RawConfig, prefix: str) -> TlsFiles:
    cert_file, key_file = raw.text(f"{prefix}cert-file"), raw.text(f"{prefix}key-file")
    is_self_signed = raw.switch(f"{prefix}auto-tls") and not cert_file and not key_file
    if is_self_signed:
        data_dir = Path(raw.text("data-dir") or f"{raw.text('name')}.etcd")
        directory = data_dir / "fixtures" / ("peer" if prefix else "client")
        cert_file, key_file = str(directory / "cert.pem"), str(directory / "key.pem")
    files = TlsFiles(
        cert_file,
        key_file,
        raw.text(f"{prefix}trusted-ca-file"),
        raw.switch(f"{prefix}client-cert-auth"),
        raw.text("peer-crl-file" if prefix else "client-crl-file"),
        "" if prefix else raw.text("root-cert-ca-file"),
        raw.text("peer-cert-allowed-cn") if prefix else "",
        raw.text("peer-cert-allowed-hostname" if prefix else "client-cert-allowed-hostname"),
        is_self_signed,
        _ciphers(raw.text("cipher-suites")),
    )
    if bool(files.cert_file) != bool(files.key_file):
        raise ConfigError(f"--{prefix}cert-file and --{prefix}key-file must be given together")
    if files.client_cert_auth and not files.trusted_ca_file:
        raise ConfigError(f"--{prefix}client-cert-auth needs --{prefix}trusted-ca-file")
    return files


_CIPHERS: Final = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Go's names of cipher suites, as the flag takes them, to OpenSSL's (RC4 and 3DES left out)."""


def _ciphers(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _CIPHERS:
            raise ConfigError(f"--cipher-suites: unexpected TLS cipher suite {name!r}")
    return tuple(_CIPHERS[name] for name in names)
