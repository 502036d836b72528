"""Users, revocation, and authorities that are replaced under continuous writes."""

import jubilant
import pytest

from kvclient import Client, ClientTLS, KvClientError, RequestError
from tests.integration.etcd.conftest import ETCD
from tests.integration.etcd.stories import (
    Keys,
    fetch_credentials,
    is_healthy,
    leader_of,
    list_endpoints,
    wait_healthy,
)
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = pytest.mark.integration

WRITES = 20


@pytest.fixture(scope="module")
def keys(juju, tmp_path_factory):
    juju.deploy(ETCD, "etcd", num_units=3)
    wait_healthy(juju, 3)
    return Keys(juju, tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def writer(juju, keys):
    writer = ContinuousWriter(keys.endpoints, keys.tls, 0.02)
    writer.start()
    writer.wait_acknowledged(WRITES, timeout_s=30)
    yield writer
    writer.wait_acknowledged(WRITES, timeout_s=30)
    writer.stop()
    print(f"longest pause {writer.longest_pause_s():.2f} s, {writer.failures_count} failed")
    assert writer.lost(keys.endpoints, keys.tls) == []


def as_user(juju, folder, name: str) -> ClientTLS:
    folder.mkdir()
    fetch_credentials(juju, folder, parameters={"cn": name})
    return ClientTLS(*(str(folder / file) for file in ("ca.crt", "client.crt", "client.key")))


def is_guarded(endpoints: list[str], tls: ClientTLS) -> bool:
    """Whether auth is on: without it everybody may list the users."""
    with Client(endpoints, tls=tls, timeout_s=5.0) as client:
        try:
            client.user_list()
        except RequestError as error:
            return "permission denied" in str(error)
    return False


def is_served(endpoint: str, tls: ClientTLS) -> bool:
    try:
        with Client([endpoint], tls=tls, timeout_s=2.0) as client:
            client.get(b"kept")
    except (KvClientError, OSError):
        return False
    return True


def test_auth_is_on_and_an_operator_is_not_root(juju, keys):
    wait_for(lambda: is_guarded(keys.endpoints, keys.tls), 30, "auth is on")
    keys.put("kept", "1")


def test_a_revoked_certificate_is_refused_by_every_member(juju, keys, tmp_path):
    alice, bob = (as_user(juju, tmp_path / name, name) for name in ("alice", "bob"))
    assert all(is_served(url, tls) for url in keys.endpoints for tls in (alice, bob))
    output = juju.run("etcd/0", "list-certificates").results["output"]
    assert "alice" in output
    juju.run(leader_of(juju.status()), "revoke-client-certificate", {"cn": "alice"})
    wait_for(
        lambda: not any(is_served(url, alice) for url in keys.endpoints), 60, "alice is refused"
    )
    assert all(is_served(url, bob) for url in keys.endpoints)


@pytest.mark.parametrize("plane", ["peer", "server", "client"])
def test_row_19_an_authority_is_replaced_under_writes(juju, keys, writer, plane):
    leader = leader_of(juju.status())
    folder = "/etc/etcd/tls"
    file = {"peer": "peer", "server": "server", "client": "client-ca"}[plane]
    look = f"openssl x509 -noout -issuer -in {folder}/{file}.crt"
    before = juju.exec(look, unit="etcd/0").stdout
    juju.run(leader, "rotate-ca", {"plane": plane})

    def is_over(status: jubilant.Status) -> bool:
        if not is_healthy(status, 3):
            return False
        show = juju.cli("show-unit", leader, "--format", "json")
        bundles = juju.exec(f"grep -c BEGIN {folder}/{plane}-ca.crt || true", unit="etcd/0")
        is_one = plane == "server" or bundles.stdout.strip() == ("2" if plane == "client" else "1")
        return is_one and '"rotation":' not in show

    juju.wait(is_over, error=jubilant.any_error, successes=2)
    if plane != "client":
        assert juju.exec(look, unit="etcd/0").stdout != before
    writer.wait_acknowledged(WRITES, timeout_s=30)


def test_row_19_certificates_are_renewed_without_a_restart(juju, keys, writer):
    look = "openssl x509 -noout -serial -in /etc/etcd/tls/server.crt; systemctl show -p MainPID raftkvd"
    before = juju.exec(look, unit="etcd/1").stdout.split()
    juju.run("etcd/1", "rotate-certificates")
    after = juju.exec(look, unit="etcd/1").stdout.split()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_auth_goes_off_with_tls_and_comes_on_again(juju, keys):
    juju.config("etcd", {"tls": False})
    juju.wait(
        lambda status: all(
            unit.workload_status.message.endswith("plain http")
            for unit in status.apps["etcd"].units.values()
        ),
        error=jubilant.any_error,
        successes=1,
    )
    plain = [url.replace("https:", "http:") for url in list_endpoints(juju.status())]

    def is_open() -> bool:
        with Client(plain, timeout_s=5.0) as client:
            client.put(b"plain", b"1")
            client.user_list()
            return True

    wait_for(is_open, 60, "plain http serves without users")
    juju.config("etcd", {"tls": True})
    wait_healthy(juju, 3)

    def is_on() -> bool:
        try:
            return keys.get("plain") == "1" and is_guarded(keys.endpoints, keys.tls)
        except KvClientError:
            return False

    wait_for(is_on, 90, "auth is on again")
