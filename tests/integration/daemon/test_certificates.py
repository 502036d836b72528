"""Certificates, authorities and revocation lists change while a member serves."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvclient import Client, ClientTLS, KvClientError
from raftkv.replica.levels import LEVEL
from tests.kit.authority import Authority
from tests.kit.servers import Process, free_ports
from tests.kit.waiting import wait_for

SERIAL = 0x7001
WAIT_S = 10.0


class Server:
    """One member with TLS on both planes and everything that can be read again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.servers, self.peers, self.clients, self.others = (
            Authority(directory, title) for title in ("servers", "peers", "clients", "others")
        )
        self.cert, self.key = self.servers.issue("m0")
        self.peer_cert, self.peer_key = self.peers.issue("m0")
        self.trusted = directory / "trusted.crt"
        self.trusted.write_bytes(self.clients.path.read_bytes())
        self.crl = directory / "revoked.pem"
        self.crl.write_bytes(self.clients.revoke())
        self.somebody = self.clients.issue("somebody", SERIAL)
        client, peer = (f"https://127.0.0.1:{port}" for port in free_ports(2))
        arguments = [
            sys.executable, "-m", "raftkv", "--name", "m0", "--data-dir", str(directory / "m0"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", f"m0={peer}", "--enable-v2",
            "--cert-file", str(self.cert), "--key-file", str(self.key),
            "--trusted-ca-file", str(self.trusted), "--client-cert-auth",
            "--client-crl-file", str(self.crl), "--root-cert-ca-file", str(self.clients.path),
            "--peer-cert-file", str(self.peer_cert), "--peer-key-file", str(self.peer_key),
            "--peer-trusted-ca-file", str(self.peers.path), "--peer-client-cert-auth",
        ]  # fmt: skip
        self.process = Process("m0", arguments, client, peer, directory / "m0.log")

    def log(self) -> str:
        return self.process.log.read_text()

    def connect(self, files: tuple[Path, Path], *, url: str = "") -> http.client.HTTPSConnection:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for authority in (self.servers, self.peers, self.others):
            context.load_verify_locations(authority.path)
        context.check_hostname = False
        context.load_cert_chain(*files)
        host, port = (url or self.process.client_url).removeprefix("https://").split(":")
        connection = http.client.HTTPSConnection(host, int(port), timeout=5, context=context)
        connection.connect()
        return connection

    def is_served(
        self, files: tuple[Path, Path], *, url: str = "", path: str = "/version"
    ) -> bool:
        try:
            with contextlib.closing(self.connect(files, url=url)) as connection:
                return ask(connection, path) == 200
        except (OSError, http.client.HTTPException):
            return False

    def served_serial(self) -> str:
        with contextlib.closing(self.connect(self.somebody)) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            certificate = connection.sock.getpeercert()
            assert certificate
            return str(certificate["serialNumber"])


def ask(connection: http.client.HTTPSConnection, path: str = "/version") -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    made.process.start()
    try:
        wait_for(lambda: "ready to serve client requests" in made.log(), 20, "the member serves")
        yield made
    finally:
        made.process.kill()


def test_row_19_a_new_leaf_is_served_without_a_restart(server: Server) -> None:
    before = server.served_serial()
    with contextlib.closing(server.connect(server.somebody)) as standing:
        assert ask(standing) == 200
        key = server.key.read_bytes()
        server.servers.issue("m0")  # the certificate arrives, its key has not yet
        new_key = server.key.read_bytes()
        server.key.write_bytes(key)
        wait_for(lambda: "do not make a pair" in server.log(), WAIT_S, "a half-written pair")
        assert server.served_serial() == before
        server.key.write_bytes(new_key)
        wait_for(lambda: server.served_serial() != before, WAIT_S, "the new certificate")
        assert ask(standing) == 200
    assert server.log().count("do not make a pair") == 1


def test_row_19_authorities_come_and_go_without_a_restart(server: Server) -> None:
    newcomer = server.others.issue("newcomer")
    assert not server.is_served(newcomer)
    with contextlib.closing(server.connect(server.somebody)) as standing:
        both = server.clients.path.read_bytes() + server.others.path.read_bytes()
        server.trusted.write_bytes(both)
        wait_for(lambda: server.is_served(newcomer), WAIT_S, "the second authority")
        assert server.is_served(server.somebody)
        shutil.copy(server.others.path, server.trusted)
        wait_for(lambda: not server.is_served(server.somebody), WAIT_S, "the first one to go")
        assert server.is_served(newcomer)
        assert ask(standing) == 200


def test_row_19_a_revoked_certificate_is_refused_and_disconnected(server: Server) -> None:
    innocent = server.clients.issue("innocent")
    namesake = server.others.issue("namesake", SERIAL)
    both = server.clients.path.read_bytes() + server.others.path.read_bytes()
    server.trusted.write_bytes(both)
    wait_for(lambda: server.is_served(namesake), WAIT_S, "the second authority")
    standing = server.connect(server.somebody)
    assert ask(standing) == 200
    server.crl.write_bytes(server.clients.revoke(SERIAL, overdue=True))
    wait_for(lambda: not server.is_served(server.somebody), WAIT_S, "the revocation")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(standing)
    assert server.is_served(innocent), "an overdue list refuses nobody but those on it"
    assert server.is_served(namesake), "another authority may use the same serial number"
    assert f"serial {SERIAL:x} of 'somebody' is revoked" in server.log()
    assert "was due on" in server.log()


def test_a_damaged_list_leaves_the_former_one_in_use(server: Server) -> None:
    server.crl.write_bytes(server.clients.revoke(SERIAL))
    wait_for(lambda: not server.is_served(server.somebody), WAIT_S, "the revocation")
    server.crl.write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    wait_for(lambda: "the former ones stay in use" in server.log(), WAIT_S, "the report")
    assert not server.is_served(server.somebody)


def test_only_one_authority_names_root(server: Server) -> None:
    both = server.clients.path.read_bytes() + server.others.path.read_bytes()
    server.trusted.write_bytes(both)
    wait_for(lambda: server.is_served(server.others.issue("visitor")), WAIT_S, "the second one")
    assert server.is_served(server.clients.issue("root"))
    assert not server.is_served(server.others.issue("root"))
    assert "CN 'root' is reserved" in server.log()


def test_clients_may_ask_the_peer_port_for_members_and_no_more(server: Server) -> None:
    url = server.process.peer_url
    assert server.is_served(server.somebody, url=url, path="/members")
    assert server.is_served(server.somebody, url=url)
    assert not server.is_served(server.somebody, url=url, path="/v2/keys/")
    assert not server.is_served(server.others.issue("stranger"), url=url, path="/members")
    assert "raft.peer" in introduce(server, "m0")
    with pytest.raises((OSError, ssl.SSLError)):
        introduce(server, "raft.peer")


def introduce(server: Server, server_name: str) -> str:
    """What a client's certificate reaches when it says to be a member."""
    with contextlib.closing(server.connect(server.somebody)) as plain:
        plain.request("GET", "/v2/members")
        answer = plain.getresponse()
        cluster = answer.headers["X-Etcd-Cluster-Id"]
        member = answer.read().split(b'"id":"')[1].split(b'"')[0].decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(server.peers.path)
    context.load_cert_chain(*server.somebody)
    host, port = server.process.peer_url.removeprefix("https://").split(":")
    line = f'{{"kind": "messages", "cluster": "{cluster}", "from": "abc", "to": "{member}", "level": {LEVEL}}}\n'
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=server_name) as wire,
    ):
        wire.sendall(b"RKVPEER1\n" + line.encode())
        answer_bytes = wire.recv(4096)
        if not answer_bytes:
            raise ConnectionResetError("closed without a word")
        return answer_bytes.decode()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_hears_why_it_is_refused(server: Server, version: ssl.TLSVersion) -> None:
    is_old = version is ssl.TLSVersion.TLSv1_2
    assert alert(server, version, None) == (
        "SSLV3_ALERT_HANDSHAKE_FAILURE" if is_old else "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    )
    assert alert(server, version, server.others.issue("somebody")) == "TLSV1_ALERT_UNKNOWN_CA"
    with Client([server.process.client_url], tls=server_tls(server)) as client:
        client.put(b"still", b"served")


def alert(server: Server, version: ssl.TLSVersion, files: tuple[Path, Path] | None) -> str:
    """What the handshake, or in TLS 1.3 the first read after it, ends with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server.servers.path)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    if files is not None:
        context.load_cert_chain(*files)
    host, port = server.process.client_url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        pytest.raises(ssl.SSLError) as caught,
        context.wrap_socket(plain) as wrapped,
    ):
        wrapped.recv(1)
    return str(caught.value.reason)


def server_tls(server: Server) -> ClientTLS:
    cert, key = server.somebody
    return ClientTLS(str(server.servers.path), str(cert), str(key))


def test_a_cluster_that_makes_its_own_certificates(tmp_path: Path) -> None:
    ports = free_ports(6)
    urls = [f"https://127.0.0.1:{port}" for port in ports]
    cluster = ",".join(f"m{i}={urls[2 * i + 1]}" for i in range(3))
    members = [
        Process(
            f"m{i}",
            [
                sys.executable, "-m", "raftkv", "--name", f"m{i}", "--auto-tls", "--peer-auto-tls",
                "--data-dir", str(tmp_path / f"m{i}"), "--initial-cluster", cluster,
                "--listen-client-urls", urls[2 * i], "--advertise-client-urls", urls[2 * i],
                "--listen-peer-urls", urls[2 * i + 1],
                "--initial-advertise-peer-urls", urls[2 * i + 1],
            ],
            urls[2 * i], urls[2 * i + 1], tmp_path / f"m{i}.log",
        )
        for i in range(3)
    ]  # fmt: skip
    for member in members:
        member.start()
    try:
        tls = ClientTLS(insecure_skip_verify=True)
        with Client([member.client_url for member in members], tls=tls) as client:
            wait_for(lambda: is_written(client), 20, "the cluster serves")
            assert client.get(b"k") == b"v"
        key = tmp_path / "m0" / "fixtures" / "client" / "key.pem"
        assert key.stat().st_mode & 0o777 == 0o600
        before = key.read_bytes()
        members[0].kill()
        members[0].start()
        with Client([members[0].client_url], tls=tls) as client:
            wait_for(lambda: is_written(client), 20, "it serves with the same certificate")
        assert key.read_bytes() == before
    finally:
        for member in members:
            member.kill()


def is_written(client: Client) -> bool:
    try:
        client.put(b"k", b"v")
    except KvClientError:
        return False
    return True
