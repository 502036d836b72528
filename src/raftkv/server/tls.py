"""TLS contexts from the configured files, made anew when the files change.

A context is never edited: what it trusts can only be added to. New files make new contexts, new
handshakes use them, and connections that stand go on with what they agreed on. Files that make
no sense together (a certificate was replaced, its key not yet) leave the old contexts in use.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftkv.server.config import Config, TlsFiles, Url
from raftkv.server.flags import ConfigError
from raftkv.server.guard import Guard

ALPN_CLIENT: Final = ["h2", "http/1.1"]
PEER_SERVER_NAME: Final = "raft.peer"
"""What a member asks for by SNI when it dials another one. Members are then verified by the peer
CA alone, while others who ask on that port for ``/members`` may show a client certificate."""
_LOG: Final = logging.getLogger("raftkv.tls")


_TOLD_BY_ALERT: Final = frozenset(
    {"PEER_DID_NOT_RETURN_A_CERTIFICATE", "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL"}
)


class _TellingObject(ssl.SSLObject):
    """A handshake whose failure reaches the client as an alert, so that it can say what is wrong.

    When a handshake raises, the transport hangs up and drops what TLS has written last, which is
    the alert. So the first failure asks for more input instead: the alert goes out, the client
    hangs up on it, and who does not is met by the failure at its next byte, or by the time limit.
    """

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """See ``ssl.SSLObject``."""
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            self._failure = error
        except ssl.SSLError as error:
            if error.reason not in _TOLD_BY_ALERT:
                raise
            self._failure = error
        if self._failure is not None:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert is to be sent first")


@dataclass(frozen=True, slots=True)
class Contexts:
    """What one state of the files makes."""

    client: ssl.SSLContext | None
    peer: ssl.SSLContext | None
    members: ssl.SSLContext | None
    """What a caller of the peer plane is verified with that says to be a member."""
    dial: ssl.SSLContext | None
    client_guard: Guard
    peer_guard: Guard


def load(config: Config) -> Contexts:
    """Make the contexts of all planes.

    Raises:
        ConfigError: a file is missing, unreadable, or key and certificate do not belong together.
    """
    files = config.peer_tls
    _make_self_signed(config.client_tls, (*config.listen_client, *config.listen_metrics))
    _make_self_signed(files, config.listen_peer)
    members = peer = None
    if files.cert_file:
        members = server_context(files, plane="peer")
        peer = _peer_context(config, members)
    has_peer_tls = files.cert_file or files.trusted_ca_file
    return Contexts(
        client=server_context(config.client_tls, plane="client")
        if config.client_tls.cert_file
        else None,
        peer=peer,
        members=members,
        dial=peer_client_context(files) if has_peer_tls else None,
        client_guard=_guard(config.client_tls, "client"),
        peer_guard=_guard(files, "peer"),
    )


@dataclass(frozen=True, slots=True)
class ProxyContexts:
    """What a proxy needs."""

    listen: ssl.SSLContext | None
    members: ssl.SSLContext
    """For the members' client URLs: their names are verified."""
    peers: ssl.SSLContext
    """For the members' peer URLs."""


def load_proxy(config: Config) -> ProxyContexts:
    """Make the contexts of a proxy: without files of its own plane it uses those for peers.

    Raises:
        ConfigError: see ``load``.
    """
    client, peer = config.client_tls, config.peer_tls
    towards_members = client if client.cert_file or client.trusted_ca_file else peer
    members = peer_client_context(towards_members)
    members.check_hostname = True
    return ProxyContexts(
        listen=server_context(client, plane="proxy") if client.cert_file else None,
        members=members,
        peers=peer_client_context(peer),
    )


def _make_self_signed(files: TlsFiles, listen: Iterable[Url]) -> None:
    if not files.is_self_signed:
        return
    # Only here: few members make their own certificates, and the library is large.
    from raftkv.server.self_signed import ensure_self_signed  # noqa: PLC0415

    directory = Path(files.cert_file).parent
    try:
        ensure_self_signed(directory, (url.host for url in listen))
    except OSError as error:
        raise ConfigError(f"cannot make a certificate in {directory}: {error.strerror}") from None


def server_context(files: TlsFiles, *, plane: str, also_trusts: str = "") -> ssl.SSLContext:
    """A context for listening.

    Raises:
        ConfigError: see ``load``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _TellingObject
    _load(context, files, plane)
    # A resumed session is not verified again: it would outlive the CA that vouched for it.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if files.client_cert_auth or files.trusted_ca_file:
        _trust(context, files.trusted_ca_file, plane)
        if also_trusts:
            _trust(context, also_trusts, "client")
        context.verify_mode = ssl.CERT_REQUIRED if files.client_cert_auth else ssl.CERT_OPTIONAL
    if files.ciphers:
        context.set_ciphers(":".join(files.ciphers))
    if plane == "client":
        context.set_alpn_protocols(ALPN_CLIENT)
    return context


def _peer_context(config: Config, members: ssl.SSLContext) -> ssl.SSLContext:
    """The peer plane's first context: it turns to ``members`` for a caller who says to be one."""
    files, client = config.peer_tls, config.client_tls
    also = client.trusted_ca_file if client.trusted_ca_file != files.trusted_ca_file else ""
    context = server_context(files, plane="peer", also_trusts=also)

    def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == PEER_SERVER_NAME:
            tls.context = members

    context.sni_callback = choose
    return context


def peer_client_context(files: TlsFiles) -> ssl.SSLContext:
    """A context for dialling other members: their certificate must be signed by the peer CA.

    Host names are not compared: a peer proves who it is by its certificate, and its address may
    change without locking anybody out.

    Raises:
        ConfigError: see ``load``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if files.cert_file:
        _load(context, files, "peer")
    if files.is_self_signed:
        context.verify_mode = ssl.CERT_NONE  # each made its own: there is nobody to vouch
    elif files.trusted_ca_file:
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


def _guard(files: TlsFiles, plane: str) -> Guard:
    """What is asked of a certificate beyond a valid signature."""
    if not files.crl_file and not files.root_ca_file:
        return Guard(files.allowed_common_name, files.allowed_host)
    # Only here: the library costs a process 10 MiB, and most have neither file.
    from raftkv.server import revocation  # noqa: PLC0415

    prefix = "peer" if plane == "peer" else "client"
    _check_readable(f"--{prefix}-crl-file", files.crl_file)
    _check_readable("--root-cert-ca-file", files.root_ca_file)
    try:
        return Guard(
            files.allowed_common_name,
            files.allowed_host,
            revocation.load(files.crl_file, files.root_ca_file),
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_readable(flag: str, path: str) -> None:
    if not path:
        return
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}") from None


class Reloader:
    """Looks whether a certificate file has changed, and makes new contexts when they all fit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._paths = tuple(
            path
            for files in (config.client_tls, config.peer_tls)
            for path in (
                files.cert_file,
                files.key_file,
                files.trusted_ca_file,
                files.crl_file,
                files.root_ca_file,
            )
            if path
        )
        self._loaded = self._look()
        self._failed: object = None

    @property
    def is_needed(self) -> bool:
        """Whether there are files at all."""
        return bool(self._paths)

    def _look(self) -> tuple[object, ...]:
        return tuple(map(_identity, self._paths))

    def reload(self) -> Contexts | None:
        """New contexts, when the files changed since the last ones and can be used."""
        seen = self._look()
        if seen == self._loaded:
            return None
        try:
            contexts = load(self._config)
        except ConfigError as error:
            if seen != self._failed:
                self._failed = seen
                _LOG.warning("certificate files changed, the former ones stay in use: %s", error)
            return None
        self._loaded = seen
        self._failed = None
        _LOG.info("certificate files were read again")
        return contexts


def _identity(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
