"""Certificates and keys on disk: issued when missing, wrong or close to their end.

The peer and client planes always use the charm's own authorities. The server certificate is the
related authority's when there is one, else the charm's own.
"""

import datetime as dt
import hashlib
import socket
from collections.abc import Sequence
from pathlib import Path

from etcd_charm.cluster.tls import fill_names, list_server_names
from etcd_charm.workload import host
from etcd_charm.workload.certificates import (
    KeyPair,
    is_pair,
    is_usable,
    issue_leaf,
    read_end,
    read_fingerprint,
)
from etcd_charm.workload.engine import Wanted
from etcd_charm.workload.paths import USER, Paths

ROOT = "root"
"""Common name of the charm's own client certificate: etcd's name for the user with all rights."""


class KeyFiles:
    """The files below `tls` (the engine's) and `admin` (the charm's own)."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def write(self, wanted: Wanted, now: dt.datetime) -> str:
        """Bring all files up to date; return the fingerprint of the server's authority."""
        tls = self._paths.tls
        host.ensure_directory(self._paths.etc, mode=0o755)
        host.ensure_directory(tls, mode=0o750, group=USER)
        host.ensure_directory(self._paths.admin, mode=0o700)
        authorities = wanted.authorities
        addresses = wanted.addresses
        peer_names = sorted({wanted.member_name, addresses.peer, *_loopback()})
        self._keep_leaf("peer", authorities.peer, wanted.member_name, peer_names, now)
        self._write_public(tls / "peer-ca.crt", authorities.peer.certificate)
        self._write_public(tls / "client-ca.crt", authorities.client.certificate)
        self._keep_root(authorities.client, now)
        host.write_file(self._paths.admin / "servers.crt", wanted.server_bundle, mode=0o600)
        return self._write_server(wanted, now)

    def _write_server(self, wanted: Wanted, now: dt.datetime) -> str:
        related = wanted.related_server
        if related is not None and is_pair(related.certificate, related.key):
            tls = self._paths.tls
            self._write_private(tls / "server.key", related.key)
            self._write_public(tls / "server.crt", related.certificate)
            return read_fingerprint(related.ca)
        addresses = wanted.addresses
        extra = fill_names(wanted.settings.extra_sans, wanted.unit)
        names = list_server_names((addresses.client, addresses.peer, *extra), socket.gethostname())
        own = wanted.authorities.server
        self._keep_leaf("server", own, wanted.member_name, names, now)
        return read_fingerprint(own.certificate)

    def _keep_leaf(
        self,
        name: str,
        authority: KeyPair,
        common_name: str,
        names: Sequence[str],
        now: dt.datetime,
    ) -> None:
        certificate = self._paths.tls / f"{name}.crt"
        key = self._paths.tls / f"{name}.key"
        present = _read_pair(certificate, key)
        if present and is_usable(present, authority.certificate, common_name, names, now):
            return
        pair = issue_leaf(authority, common_name, names, now, serves=True)
        self._write_private(key, pair.key)
        self._write_public(certificate, pair.certificate)

    def _keep_root(self, authority: KeyPair, now: dt.datetime) -> None:
        admin = self._paths.admin
        present = _read_pair(admin / "root.crt", admin / "root.key")
        if present and is_usable(present, authority.certificate, ROOT, (), now):
            return
        pair = issue_leaf(authority, ROOT, (), now, serves=False)
        host.write_file(admin / "root.key", pair.key, mode=0o600)
        host.write_file(admin / "root.crt", pair.certificate, mode=0o600)

    def _write_public(self, path: Path, content: str) -> None:
        host.write_file(path, content, mode=0o640, group=USER)

    def _write_private(self, path: Path, content: str) -> None:
        host.write_file(path, content, mode=0o640, group=USER)

    def hash_authorities(self) -> str:
        """Return a hash over the authorities that the engine trusts."""
        digest = hashlib.sha256()
        for path in sorted(self._paths.tls.glob("*-ca.crt")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()

    def read_days_left(self, now: dt.datetime) -> int | None:
        """Return in how many days the first of the certificates here ends."""
        files = (*self._paths.tls.glob("*.crt"), self._paths.admin / "root.crt")
        ends = [read_end(path.read_text()) for path in files if path.is_file()]
        return (min(ends) - now).days if ends else None


def _loopback() -> tuple[str, ...]:
    return ("127.0.0.1", "localhost", socket.gethostname())


def _read_pair(certificate: Path, key: Path) -> KeyPair | None:
    if not (certificate.is_file() and key.is_file()):
        return None
    return KeyPair(certificate.read_text(), key.read_text())
