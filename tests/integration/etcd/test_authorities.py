"""A provider of `tls-certificates` that answers requests: related, renewed, replaced, removed.

The provider is made with the published library of the interface's authors. The tests are one
story under continuous writes; nothing acknowledged may be missing at the end of any of them.
"""

import json
import re
import threading
from pathlib import Path

import jubilant
import pytest

from tests.integration.etcd.conftest import AUTHORITY, CONSUMER, EASYRSA, ETCD
from tests.integration.etcd.stories import (
    Keys,
    is_healthy,
    list_endpoints,
    wait_healthy,
)
from tests.kit.waiting import wait_for
from tests.kit.writer import ContinuousWriter

pytestmark = pytest.mark.integration

WRITES = 20
TLS = "/etc/etcd/tls"
PROCESS = "systemctl show -p MainPID --value raftkvd"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("credentials")


@pytest.fixture(scope="module")
def keys(juju, folder):
    juju.model_config({"update-status-hook-interval": "10s"})
    juju.deploy(ETCD, "etcd", num_units=3)
    juju.deploy(AUTHORITY, "csr-authority")
    juju.deploy(CONSUMER, "app")
    juju.integrate("app:store", "etcd:db")
    wait_healthy(juju, 3)
    return Keys(juju, folder)


class BundleFollower(threading.Thread):
    """Keeps a client's `ca.crt` as a related application's is kept, so that writes go on."""

    def __init__(self, juju: jubilant.Juju, folder: Path) -> None:
        super().__init__(daemon=True)
        self._juju, self._folder = juju, folder
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(1.0):
            texts = [
                self._juju.exec("cat /etc/etcd/charm/servers.crt", unit=unit).stdout
                for unit in ("etcd/0", "etcd/1")
            ]
            fresh = self._folder / ".ca.crt"
            fresh.write_text("\n".join(texts) + "\n")
            fresh.replace(self._folder / "ca.crt")

    def stop(self) -> None:
        """End after the look under way."""
        self._stopping.set()
        self.join(timeout=60)


@pytest.fixture
def writer(juju, keys, folder):
    """Writes through all members while a test runs, with the bundle of the moment."""
    follower = BundleFollower(juju, folder)
    follower.start()
    writer = ContinuousWriter(list_endpoints(juju.status()), keys.tls, 0.05)
    writer.start()
    writer.wait_acknowledged(WRITES, timeout_s=30)
    yield writer
    writer.wait_acknowledged(WRITES, timeout_s=60)
    writer.stop()
    follower.stop()
    print(f"longest pause {writer.longest_pause_s():.2f} s, {writer.failures_count} failed")
    assert writer.lost(keys.endpoints, keys.tls) == []


def read_issuers(juju) -> dict[str, str]:
    """The authorities' names in the certificates that the units serve with."""
    return {unit: read_issuer(juju, unit) for unit in juju.status().apps["etcd"].units}


def read_issuer(juju, unit: str) -> str:
    done = juju.exec(f"openssl x509 -noout -issuer -in {TLS}/server.crt", unit=unit)
    return find_name(done.stdout)


def find_name(subject: str) -> str:
    """The common name in openssl's words."""
    found = re.search(r"CN ?= ?([^,\n]+)", subject)
    return found[1] if found else ""


def read_bundle(juju, unit: str) -> list[str]:
    """The names of the authorities by which a unit knows servers."""
    script = (
        "openssl crl2pkcs7 -nocrl -certfile /etc/etcd/charm/servers.crt"
        " | openssl pkcs7 -print_certs -noout"
    )
    lines = juju.exec(script, unit=unit).stdout.splitlines()
    return [find_name(line) for line in lines if line.startswith("subject")]


def wait_signed(juju, name: str) -> None:
    """Wait until all units serve with that authority's certificates, and nothing is awaited."""
    juju.wait(
        lambda status: is_healthy(status, 3) and set(read_issuers(juju).values()) == {name},
        error=jubilant.any_error,
        successes=1,
    )


def read_bags(juju, endpoint: str, unit: str) -> str:
    """All that relation data of an endpoint shows, of both sides, as text."""
    show = json.loads(juju.cli("show-unit", unit, "--format", "json"))
    return json.dumps(
        [entry for entry in show[unit]["relation-info"] if entry["endpoint"] == endpoint]
    )


def test_a_provider_that_answers_requests_signs_and_no_key_leaves_a_unit(juju, keys, writer):
    processes = {unit: juju.exec(PROCESS, unit=unit).stdout for unit in read_issuers(juju)}
    juju.integrate("etcd:certificates", "csr-authority:certificates")
    wait_signed(juju, "csr-authority 1")
    for unit, process in processes.items():
        assert juju.exec(PROCESS, unit=unit).stdout == process, "certificates are read again"
        fit = f"openssl x509 -noout -pubkey -in {TLS}/server.crt | sha256sum; openssl pkey -pubout -in {TLS}/server.key | sha256sum"
        leaf, key = juju.exec(fit, unit=unit).stdout.split()[::2]
        assert leaf == key
    bags = read_bags(juju, "certificates", "csr-authority/0")
    assert "BEGIN CERTIFICATE REQUEST" in bags
    assert "PRIVATE KEY" not in bags
    for key in ("certificate_signing_requests", "unit_name", "common_name", "sans"):
        assert f'"{key}"' in bags, "neither form of the interface clears the other's keys"


def test_an_application_reads_and_writes_with_the_bundle_that_it_is_told(juju, keys):
    """By then its bundle holds the provider's authority, and the charm's own after it."""
    bundle = "/var/lib/etcd-consumer/store/ca.crt"

    def is_told() -> bool:
        done = juju.exec(f"openssl x509 -noout -subject -in {bundle}", unit="app/0")
        return "csr-authority 1" in done.stdout

    wait_for(is_told, 60, "the application knows the authority")
    url = list_endpoints(juju.status())[1]
    store = "/var/lib/etcd-consumer/store"
    done = juju.exec(
        f"curl -sS --max-time 10 --cacert {bundle} --cert {store}/tls.crt --key {store}/tls.key {url}/version",
        unit="app/0",
    )
    assert "etcdserver" in done.stdout


@pytest.mark.long
def test_row_19_certificates_are_renewed_by_new_requests_before_they_end(juju, keys, writer):
    juju.config("csr-authority", {"validity-minutes": 1})
    juju.run("etcd/0", "rotate-certificates")
    look = f"openssl x509 -noout -serial -enddate -in {TLS}/server.crt; {PROCESS}"
    minutes = f"openssl x509 -noout -checkend 70 -in {TLS}/server.crt"

    def is_short() -> bool:
        done = juju.exec(f"{minutes} >/dev/null && echo long || echo short", unit="etcd/0")
        return done.stdout.strip() == "short"

    wait_for(is_short, 60, "the certificate lives for a minute")
    request = juju.exec("sha256sum </etc/etcd/charm/server-requests.pem", unit="etcd/0").stdout
    seen = [juju.exec(look, unit="etcd/0").stdout.split()]
    for _ in range(2):

        def is_renewed() -> bool:
            present = juju.exec(look, unit="etcd/0").stdout.split()
            if present[0] == seen[-1][0]:
                return False
            seen.append(present)
            return True

        wait_for(is_renewed, 100, "the next certificate")
        ended = f"openssl x509 -noout -checkend 0 -in {TLS}/server.crt"
        assert juju.exec(f"{ended} >/dev/null && echo valid", unit="etcd/0").stdout
    assert len({entry[-1] for entry in seen}) == 1, "without a restart"
    after = juju.exec("sha256sum </etc/etcd/charm/server-requests.pem", unit="etcd/0").stdout
    assert after != request, "a renewal is a request of its own"
    juju.config("csr-authority", reset="validity-minutes")
    juju.run("etcd/0", "rotate-certificates")
    wait_for(lambda: not is_short(), 60, "a longer life again")


@pytest.mark.long
def test_row_19_a_replaced_authority_waits_for_the_last_unit_to_trust_it(juju, keys, writer):
    """With an intermediate authority from now on: the chain comes along."""
    juju.config("csr-authority", {"with-intermediate": True})
    unit = max(juju.status().apps["etcd"].units)
    others = [name for name in juju.status().apps["etcd"].units if name != unit]
    juju.cli("fault", "freeze", unit)
    juju.run("csr-authority/0", "rotate-ca")
    wait_for(
        lambda: all(
            {"csr-authority 1", "csr-authority 2"} <= set(read_bundle(juju, name))
            for name in others
        ),
        120,
        "the others trust both",
    )
    issuers = {name: read_issuer(juju, name) for name in others}
    assert set(issuers.values()) == {"csr-authority 1"}, "the frozen unit does not trust it yet"
    juju.cli("fault", "thaw", unit)
    wait_signed(juju, "csr-authority 2 intermediate")
    wait_for(
        lambda: all("csr-authority 1" not in read_bundle(juju, name) for name in (unit, *others)),
        120,
        "the old one is dropped",
    )
    url = list_endpoints(juju.status())[0]
    root = juju.exec("cat /var/lib/csr-authority/root.crt", unit="csr-authority/0").stdout
    juju.exec(f"cat >/tmp/root.crt <<'EOF'\n{root}\nEOF", unit="app/0")
    done = juju.exec(
        "store=/var/lib/etcd-consumer/store; curl -sS --max-time 10 --cacert /tmp/root.crt "
        f"--cert $store/tls.crt --key $store/tls.key {url}/version",
        unit="app/0",
    )
    assert "etcdserver" in done.stdout, "who knows the root only verifies the chain"


def remove_authority(juju, app: str) -> None:
    """Remove the relation and wait until Juju has forgotten it: there may be only one."""
    juju.remove_relation("etcd:certificates", app)
    juju.wait(lambda status: "certificates" not in status.apps["etcd"].relations, successes=1)


@pytest.mark.long
def test_another_authority_takes_over_and_the_relation_goes(juju, keys, writer):
    remove_authority(juju, "csr-authority")
    juju.wait(
        lambda status: (
            is_healthy(status, 3)
            and all(name.startswith("etcd server") for name in read_issuers(juju).values())
        ),
        error=jubilant.any_error,
        successes=1,
    )
    juju.deploy(EASYRSA, "easyrsa")
    juju.integrate("etcd:certificates", "easyrsa:client")
    wait_signed(juju, "easyrsa authority")
    remove_authority(juju, "easyrsa")
    juju.integrate("etcd:certificates", "csr-authority:certificates")
    wait_signed(juju, "csr-authority 2 intermediate")


@pytest.mark.long
def test_a_certificate_that_nobody_could_verify_is_not_shown_and_said(juju, keys, writer):
    """The library that providers are made with errs below an intermediate authority."""
    juju.config("csr-authority", {"errs": True})
    juju.run("csr-authority/0", "rotate-ca")
    words = "no certificate of the related authority: "
    juju.wait(
        lambda status: all(
            words in unit.workload_status.message and unit.workload_status.current == "active"
            for unit in status.apps["etcd"].units.values()
        ),
        error=jubilant.any_error,
        successes=1,
    )
    assert all(name.startswith("etcd server") for name in read_issuers(juju).values())
    juju.config("csr-authority", {"errs": False})
    juju.run("csr-authority/0", "rotate-ca")
    wait_signed(juju, "csr-authority 4 intermediate")
