"""TLS contexts from the configured files."""

from __future__ import annotations

import ssl
from pathlib import Path

from raftkv.server.config import TlsFiles
from raftkv.server.flags import ConfigError

ALPN_CLIENT = ["h2", "http/1.1"]


def server_context(files: TlsFiles, *, plane: str, alpn: bool) -> ssl.SSLContext:
    """A context for listening.

    Raises:
        ConfigError: a file is missing, unreadable, or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, files, plane)
    if files.client_cert_auth or files.trusted_ca_file:
        _trust(context, files.trusted_ca_file, plane)
        context.verify_mode = ssl.CERT_REQUIRED if files.client_cert_auth else ssl.CERT_OPTIONAL
    if alpn:
        context.set_alpn_protocols(ALPN_CLIENT)
    return context


def peer_client_context(files: TlsFiles) -> ssl.SSLContext:
    """A context for dialling other members: their certificate must be signed by the peer CA.

    Host names are not compared: a peer proves who it is by its certificate, and its address may
    change without locking anybody out.

    Raises:
        ConfigError: see ``server_context``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if files.cert_file:
        _load(context, files, "peer")
    if files.trusted_ca_file:
        _trust(context, files.trusted_ca_file, "peer")
    else:
        context.load_default_certs()
    return context


def _load(context: ssl.SSLContext, files: TlsFiles, plane: str) -> None:
    prefix = "peer-" if plane == "peer" else ""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for flag, path in (("cert-file", files.cert_file), ("key-file", files.key_file)):
        _check_readable(f"--{prefix}{flag}", path)
    try:
        context.load_cert_chain(files.cert_file, files.key_file)
    except ssl.SSLError as error:
        raise ConfigError(
            f"--{prefix}cert-file {files.cert_file} and --{prefix}key-file {files.key_file} "
            f"do not make a pair: {error.reason or error}",
        ) from None


def _trust(context: ssl.SSLContext, path: str, plane: str) -> None:
    flag = "--peer-trusted-ca-file" if plane == "peer" else "--trusted-ca-file"
    _check_readable(flag, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{flag} {path}: {error.reason or error}") from None


def _check_readable(flag: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}") from None
