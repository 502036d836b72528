"""Certificates and keys on disk: issued when missing, wrong or close to their end.

The peer and client planes always use the charm's own authorities. The server certificate is the
related authority's when there is one, else the charm's own.
"""

import datetime as dt
import hashlib
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from etcd_charm.cluster.tls import (
    ServerMaterial,
    fill_names,
    join_authorities,
    list_server_names,
    split_pem,
)
from etcd_charm.workload import host
from etcd_charm.workload.certificates import (
    KeyPair,
    is_aging,
    is_crl_usable,
    is_pair,
    is_usable,
    issue_leaf,
    make_crl,
    make_key,
    make_request,
    read_end,
    read_request_names,
)
from etcd_charm.workload.engine import Wanted
from etcd_charm.workload.paths import USER, Paths

ROOT = "root"
"""Common name of the charm's own client certificate: etcd's name for the user with all rights."""


class KeyFiles:
    """The files below `tls` (the engine's) and `admin` (the charm's own)."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._renews = False

    def renew(self, *, is_wanted: bool) -> None:
        """Issue everything anew with the next write, whether it still fits or not."""
        self._renews = is_wanted

    def keep_requests(self, wanted: Wanted, now: dt.datetime) -> tuple[str, ...]:
        """Return this unit's certificate requests, newest first, made as they are needed.

        A new one is made when the names have changed, when the certificate ages, or when it is
        asked for; the one before stays until the new one is answered, so that there is no gap.
        """
        if not wanted.wants_request:
            return ()
        addresses = wanted.addresses
        extra = fill_names(wanted.settings.extra_sans, wanted.unit)
        names = list_server_names((addresses.client, addresses.peer, *extra), socket.gethostname())
        requests = split_pem(read_text(self._paths.requests))
        related = wanted.related_server
        is_answered = related is not None and not related.key
        needs_new = (
            not requests
            or read_request_names(requests[0]) != set(names)
            or self._renews
            or (is_answered and related is not None and is_aging(related.certificate, now))
        )
        is_waiting = len(requests) > 1 and related is not None and related.request != requests[0]
        if needs_new and not (is_waiting and not self._renews):
            key = read_text(self._paths.server_key) or make_key()
            host.write_file(self._paths.server_key, key, mode=0o600)
            mark = uuid.uuid4().hex
            requests = [make_request(key, addresses.client, names, mark), *requests[:1]]
        elif related is not None and related.request == requests[0]:
            requests = requests[:1]
        host.write_file(self._paths.requests, "".join(requests), mode=0o600)
        return tuple(requests)

    def _choose_key(self, related: ServerMaterial) -> str:
        """Return the key of a related certificate: its own, or the one that never left."""
        return related.key or read_text(self._paths.server_key)

    def _keep_revoked(self, authority: KeyPair, serials: Sequence[int], now: dt.datetime) -> None:
        path = self._paths.revoked
        if path.is_file() and is_crl_usable(path.read_text(), authority, serials, now):
            return
        self._write_public(path, make_crl(authority, serials, now))

    def write(self, wanted: Wanted, now: dt.datetime) -> str:
        """Bring all files up to date; return the related authority of the server certificate.

        It is empty while the charm's own authority signs.
        """
        tls = self._paths.tls
        host.ensure_directory(self._paths.etc, mode=0o755)
        host.ensure_directory(tls, mode=0o750, group=USER)
        host.ensure_directory(self._paths.admin, mode=0o700)
        authorities = wanted.authorities
        addresses = wanted.addresses
        peer_names = sorted({wanted.member_name, addresses.peer, *_loopback()})
        self._write_public(tls / "peer-ca.crt", authorities.peers_trust)
        self._write_public(tls / "client-ca.crt", authorities.clients_trust)
        self._keep_leaf("peer", authorities.peer, wanted.member_name, peer_names, now)
        self._keep_root(authorities.client, now)
        self._keep_revoked(authorities.client, wanted.revoked, now)
        host.write_file(self._paths.admin / "servers.crt", wanted.server_bundle, mode=0o600)
        return self._write_server(wanted, now)

    def _write_server(self, wanted: Wanted, now: dt.datetime) -> str:
        related = wanted.related_server
        key = self._choose_key(related) if related is not None else ""
        present = self._read_related_authority()
        if related is not None and is_pair(related.certificate, key):
            authority = join_authorities(related.ca)
            if authority == present or wanted.trusts_related or not self._is_showable(now):
                tls = self._paths.tls
                self._write_private(tls / "server.key", key)
                self._write_public(tls / "server.crt", related.certificate)
                host.write_file(self._paths.server_authority, authority, mode=0o600)
                return authority
            if present:
                return present
        addresses = wanted.addresses
        extra = fill_names(wanted.settings.extra_sans, wanted.unit)
        names = list_server_names((addresses.client, addresses.peer, *extra), socket.gethostname())
        own = wanted.authorities.server
        chain = wanted.authorities.server_chain
        self._keep_leaf("server", own, wanted.member_name, names, now, chain)
        host.write_file(self._paths.server_authority, "", mode=0o600)
        return ""

    def _read_related_authority(self) -> str:
        return read_text(self._paths.server_authority)

    def _is_showable(self, now: dt.datetime) -> bool:
        """Whether the server certificate on disk can be shown until a better one is trusted."""
        present = _read_pair(self._paths.tls / "server.crt", self._paths.tls / "server.key")
        if present is None or not is_pair(present.certificate, present.key):
            return False
        return read_end(present.certificate) > now

    def _keep_leaf(
        self,
        name: str,
        authority: KeyPair,
        common_name: str,
        names: Sequence[str],
        now: dt.datetime,
        chain: str = "",
    ) -> None:
        certificate = self._paths.tls / f"{name}.crt"
        key = self._paths.tls / f"{name}.key"
        present = _read_pair(certificate, key)
        is_fresh = present and is_usable(present, authority.certificate, common_name, names, now)
        if present and is_fresh and present.certificate.endswith(chain) and not self._renews:
            return
        pair = issue_leaf(authority, common_name, names, now, serves=True)
        self._write_private(key, pair.key)
        self._write_public(certificate, pair.certificate + chain)

    def _keep_root(self, authority: KeyPair, now: dt.datetime) -> None:
        admin = self._paths.admin
        present = _read_pair(admin / "root.crt", admin / "root.key")
        is_fresh = present and is_usable(present, authority.certificate, ROOT, (), now)
        if is_fresh and not self._renews:
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
        texts = {path.name: path.read_text() for path in files if path.is_file()}
        server = texts.get("server.crt", "")
        if server and self._read_related_authority() and not is_aging(server, now):
            # Its authority may sign for hours only: as long as it is renewed there is no news.
            del texts["server.crt"]
        ends = [read_end(text) for text in texts.values()]
        return (min(ends) - now).days if ends else None


def _loopback() -> tuple[str, ...]:
    return ("127.0.0.1", "localhost", socket.gethostname())


def read_text(path: Path) -> str:
    """Return a file's text, empty if there is none."""
    return path.read_text() if path.is_file() else ""


def _read_pair(certificate: Path, key: Path) -> KeyPair | None:
    if not (certificate.is_file() and key.is_file()):
        return None
    return KeyPair(certificate.read_text(), key.read_text())
