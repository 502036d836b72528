"""Global flags and ``ETCDCTL_*`` variables, in both families of names."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Mapping
from dataclasses import dataclass

from kvclient import Client, ClientTLS


class UsageError(Exception):
    """The command line is wrong; exit code 128 (v3) as etcdctl's bad arguments."""


@dataclass(frozen=True, slots=True)
class Options:
    """Whom to talk to, and how to print."""

    endpoints: tuple[str, ...]
    tls: ClientTLS
    timeout_s: float
    output: str
    use_hex: bool
    username: str = ""
    password: str = ""


def add_global_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every command takes; unset ones stay away, so that variables can count."""
    add = parser.add_argument
    none = argparse.SUPPRESS
    add("--endpoints", "--endpoint", "--peers", "-C", default=none, metavar="URLS")
    add("--cacert", "--ca-file", default=none, metavar="FILE", help="who signs the servers")
    add("--cert", "--cert-file", default=none, metavar="FILE", help="client certificate")
    # Not ``key``: that is what most commands call their first argument.
    add("--key", "--key-file", dest="tls_key", default=none, metavar="FILE", help="its key")
    add("--insecure-skip-tls-verify", action="store_true", default=none)
    add("--command-timeout", "--timeout", "--total-timeout", default=none, metavar="5s")
    add("--dial-timeout", default=none, metavar="2s", help="accepted")
    add("--write-out", "-w", "--output", "-o", default=none, metavar="FORMAT")
    add(
        "--user",
        "--username",
        "-u",
        default=none,
        metavar="NAME[:PASSWORD]",
        help="asks for a missing password",
    )
    add("--password", default=none, help="then --user is the name alone")
    add("--hex", action="store_true", default=none, help="print keys and values in hex")
    add("--api", default=none, choices=("2", "3"), help="API mode; also ETCDCTL_API")
    add("--debug", action="store_true", default=none, help="accepted")
    for flag in ("--insecure-transport", "--insecure-discovery", "--no-sync"):
        add(flag, action="store_true", default=none, help="accepted")
    for flag in ("--keepalive-time", "--keepalive-timeout"):
        add(flag, default=none, metavar="2s", help="accepted")


def resolve(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Options:
    """Flags first, then variables, then defaults.

    Raises:
        UsageError: a value is malformed.
    """

    def pick(flag: str, *variables: str, default: str = "") -> str:
        value = getattr(arguments, flag, None)
        if value is not None:
            return str(value)
        for variable in variables:
            if environment.get(variable):
                return environment[variable]
        return default

    tls = ClientTLS(
        pick("cacert", "ETCDCTL_CACERT", "ETCDCTL_CA_FILE"),
        pick("cert", "ETCDCTL_CERT", "ETCDCTL_CERT_FILE"),
        pick("tls_key", "ETCDCTL_KEY", "ETCDCTL_KEY_FILE"),
        insecure_skip_verify=pick(
            "insecure_skip_tls_verify", "ETCDCTL_INSECURE_SKIP_TLS_VERIFY"
        ).lower()
        == "true",
    )
    endpoints = pick(
        "endpoints", "ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", default="127.0.0.1:2379"
    )
    listed = tuple(e.strip() for e in endpoints.split(",") if e.strip())
    if not listed:
        raise UsageError("--endpoints is empty")
    username, password = read_credentials(
        pick("user", "ETCDCTL_USER"), pick("password", "ETCDCTL_PASSWORD")
    )
    secure = bool(tls.ca_file or tls.cert_file)
    return Options(
        tuple(e if "://" in e else ("https://" if secure else "http://") + e for e in listed),
        tls,
        parse_duration_s(pick("command_timeout", "ETCDCTL_COMMAND_TIMEOUT", default="5s")),
        pick("write_out", "ETCDCTL_WRITE_OUT", default="simple"),
        bool(getattr(arguments, "hex", False)),
        username,
        password,
    )


def read_credentials(user: str, password: str) -> tuple[str, str]:
    """Name and password of ``NAME[:PASSWORD]``; a missing password is asked for."""
    if not user:
        return "", ""
    if password:
        return user, password
    name, colon, given = user.partition(":")
    return name, given if colon else getpass.getpass("Password: ")


def connect(options: Options, endpoint: str | None = None) -> Client:
    """A client of the chosen endpoints, or of one."""
    return Client(
        options.endpoints if endpoint is None else (endpoint,),
        tls=options.tls,
        timeout_s=options.timeout_s,
        username=options.username,
        password=options.password,
    )


def parse_duration_s(text: str) -> float:
    """Seconds of ``5s``, ``500ms``, ``1m30s`` or a bare number.

    Raises:
        UsageError: anything else.
    """
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, number = 0.0, ""
    rest = text
    while rest:
        if rest[0].isdigit() or rest[0] == ".":
            number += rest[0]
            rest = rest[1:]
            continue
        unit = next((u for u in ("ms", "s", "m", "h") if rest.startswith(u)), None)
        if unit is None or not number:
            raise UsageError(f"invalid duration {text!r}: write it like 5s or 500ms")
        total += float(number) * units[unit]
        number = ""
        rest = rest[len(unit) :]
    if number:
        total += float(number)
    return total
