"""Flags, variables and files: the same meaning, and one clear line for each mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftkv.server import flags
from raftkv.server.config import Config, check, check_founding
from raftkv.server.flags import ConfigError


def config(*arguments: str, **environment: str) -> Config:
    return check(flags.read(arguments, environment))


def test_defaults_are_etcds() -> None:
    c = config()
    assert c.name == "default"
    assert c.data_dir == Path("default.etcd")
    assert [str(u) for u in c.listen_client] == ["http://localhost:2379"]
    assert c.initial_cluster == {"default": ("http://localhost:2380",)}
    assert (c.heartbeat_ms, c.election_ms, c.max_txn_ops) == (100, 1000, 128)
    assert not c.enable_v2
    check_founding(c)


def test_all_spellings() -> None:
    assert config("--name", "a").name == "a"
    assert config("--name=a").name == "a"
    assert config("-name=a").name == "a"
    assert config("--enable-v2").enable_v2
    assert not config("--enable-v2=false").enable_v2
    assert config(ETCD_NAME="a").name == "a"
    assert config("--name", "b", ETCD_NAME="a").name == "b"


def test_refused_flags_may_stay_off() -> None:
    assert (
        config("--enable-pprof=false", ETCD_PROXY="off", ETCD_ENABLE_PPROF="false").name
        == "default"
    )
    with pytest.raises(ConfigError, match="ETCD_ENABLE_PPROF is refused"):
        config(ETCD_ENABLE_PPROF="true")


def test_ids_are_etcds() -> None:
    """Member ddd67b312462fd7b was seen in a real etcd 3.4 with these flags."""
    c = config(
        "--name=ref",
        "--initial-cluster=ref=http://127.0.0.1:12380",
        "--initial-advertise-peer-urls=http://127.0.0.1:12380",
    )
    assert f"{c.founding_members()[0].member_id:x}" == "ddd67b312462fd7b"


def test_a_file_counts_alone(tmp_path: Path) -> None:
    path = tmp_path / "etcd.conf.yml"
    path.write_text(
        "name: f\nheartbeat-interval: 50\nelection-timeout: 500\nenable-v2: true\n"
        "client-transport-security:\n  cert-file: c\n  key-file: k\n  trusted-ca-file: t\n"
        "  client-cert-auth: true\npeer-transport-security:\n  cert-file: pc\n  key-file: pk\n"
    )
    c = config("--name=ignored", f"--config-file={path}", ETCD_NAME="ignored")
    assert (c.name, c.heartbeat_ms, c.enable_v2) == ("f", 50, True)
    assert c.client_tls.client_cert_auth
    assert c.peer_tls.cert_file == "pc"


MISTAKES = {
    "unknown flag": (["--colour=red"], "flag provided but not defined: -colour"),
    "word": (["serve"], "'serve' is not a valid flag"),
    "no value": (["--name"], "flag needs an argument: -name"),
    "not a number": (["--heartbeat-interval=soon"], "'soon' is not a number"),
    "neither true nor false": (["--enable-v2=maybe"], "neither true nor false"),
    "refused": (["--discovery=http://x"], "flag --discovery is refused: bootstrap is static"),
    "timeouts": (["--election-timeout=200"], "must be at least 5 times"),
    "state": (["--initial-cluster-state=old"], "give new or existing"),
    "scheme": (
        ["--listen-client-urls=ftp://x:1", "--advertise-client-urls=http://x:1"],
        "scheme must be http or https",
    ),
    "no port": (["--listen-peer-urls=http://x"], 'form "host:port"'),
    "path": (["--listen-peer-urls=http://x:1/p"], "must not contain a path"),
    "https without certificate": (["--listen-peer-urls=https://x:1"], "no --peer-cert-file"),
    "key alone": (["--key-file=k"], "must be given together"),
    "client certificates without CA": (["--client-cert-auth"], "needs --trusted-ca-file"),
    "advertise missing": (
        ["--listen-client-urls=http://x:1"],
        "--advertise-client-urls is required",
    ),
    "malformed cluster": (["--initial-cluster=a"], "'a' is not NAME=URL"),
    "one URL twice": (["--initial-cluster=a=http://x:1,b=http://x:1"], "duplicate URL"),
    "cors": (["--cors=evil.example"], "is no origin"),
    "proxy": (["--proxy=maybe"], "off, on or readonly"),
    "cipher": (["--cipher-suites=TLS_NULL"], "unexpected TLS cipher suite"),
    "log level": (["--log-level=loud"], "give one of"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str) -> None:
    arguments, text = MISTAKES[name]
    with pytest.raises(ConfigError) as caught:
        config(*arguments)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--name=x", "--initial-cluster=a=http://x:1"], 'couldn\'t find local name "x"'),
        (["--name=a", "--initial-cluster=a=http://x:1"], "make them equal"),
    ],
)
def test_contradictory_cluster(arguments: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_founding(config(*arguments))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("name: [", "is not YAML"),
        ("- a", "expected keys and values"),
        ("colour: red", "unknown key 'colour'"),
        ("discovery: http://x", "is refused"),
    ],
)
def test_broken_files(tmp_path: Path, content: str, text: str) -> None:
    path = tmp_path / "c.yml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        config(f"--config-file={path}")
    assert text in str(caught.value)


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match="cannot read --config-file /nowhere"):
        config("--config-file=/nowhere")
