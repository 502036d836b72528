"""Applications that use the cluster: by a relation, by a proxy, by following a key.

One story on one model; the cluster grows and shrinks while they are related, and the certificate
of an application that goes is refused afterwards. Then the engine is replaced under them.
"""

import json
import re

import jubilant
import pytest

from kvclient import Client, ClientTLS, KvClientError
from tests.integration.etcd.conftest import BUNDLE, CONSUMER, ETCD
from tests.integration.etcd.stories import Keys, list_endpoints, wait_healthy
from tests.kit.waiting import wait_for

pytestmark = pytest.mark.integration

HOME = "/var/lib/etcd-consumer"


@pytest.fixture(scope="module")
def related(juju):
    juju.deploy(ETCD, "etcd")
    for name in ("app", "edge"):
        juju.deploy(CONSUMER, name, resources={"raftkv": str(BUNDLE)})
    juju.integrate("app:store", "etcd:db")
    juju.integrate("edge:proxy", "etcd:proxy")
    wait_healthy(juju, 1)
    juju.wait(lambda status: jubilant.all_active(status, "app", "edge"), successes=1)
    return juju


def wait_for_message(juju, app: str, text: str) -> None:
    """Wait until each unit's message is of a form."""
    juju.wait(
        lambda status: all(
            re.fullmatch(text, unit.workload_status.message)
            for unit in status.apps[app].units.values()
        ),
        successes=1,
    )


def test_an_application_writes_with_a_certificate_of_its_own(related, tmp_path):
    keys = Keys(related, tmp_path)
    assert keys.get("consumers/app/0") is not None
    subject = related.exec(
        f"openssl x509 -noout -subject -in {HOME}/store/tls.crt", unit="app/0"
    ).stdout
    assert "db-app-" in subject
    users = related.run("etcd/0", "list-certificates").results["output"]
    assert "db-app-" in users
    assert "proxy-edge-" in users


def proxied(juju, *arguments: str) -> dict:
    url = "http://127.0.0.1:2379/v2/keys/config/database"
    done = juju.exec(f"curl -sS --max-time 10 {' '.join(arguments)} {url}", unit="edge/0")
    answer: dict = json.loads(done.stdout)
    return answer


def read_proxied(juju) -> str:
    """The key's value; empty while the proxy does not answer with one."""
    try:
        return proxied(juju)["node"]["value"]
    except (jubilant.TaskError, KeyError):
        return ""


def test_a_proxy_reads_and_writes_for_programs_without_a_certificate(related):
    wait_for(
        lambda: "node" in proxied(related, "-XPUT", "-d", "value=db-1"), 60, "the proxy serves"
    )
    assert proxied(related)["node"]["value"] == "db-1"


def test_a_file_is_rendered_from_a_key_and_follows_it(related):
    def is_rendered(text: str) -> bool:
        done = related.exec(f"cat {HOME}/rendered.conf 2>/dev/null || true", unit="edge/0")
        return done.stdout == f"database = {text}\n"

    wait_for(lambda: is_rendered("db-1"), 30, "the file is rendered")
    proxied(related, "-XPUT", "-d", "value=db-2")
    wait_for(lambda: is_rendered("db-2"), 30, "the file follows the key")


def test_row_23_consumers_are_told_when_members_come_and_go(related):
    related.add_unit("etcd", num_units=2)
    wait_healthy(related, 3)
    wait_for_message(related, "app", r"etcd \S+ at 3 endpoint\(s\)")
    wait_for_message(related, "edge", r"proxy to 3 member\(s\)")
    wait_for(  # the proxy was restarted with its new cluster just before it said so
        lambda: read_proxied(related) == "db-2", 60, "the proxy serves again"
    )


def test_another_engine_is_attached_and_rolls_through_the_members(related):
    before = {
        unit: related.exec("readlink /opt/raftkv/current", unit=unit).stdout
        for unit in related.status().apps["etcd"].units
    }
    related.cli("attach-resource", "etcd", f"raftkv={BUNDLE}")

    look = "tr '\\0' ' ' </proc/$(systemctl show -p MainPID --value raftkvd)/cmdline"

    def is_replaced(status: jubilant.Status) -> bool:
        return all(
            "/bundle-" in related.exec(look, unit=unit).stdout
            for unit in status.apps["etcd"].units
        )

    related.wait(is_replaced, error=jubilant.any_error, successes=1)
    wait_healthy(related, 3)
    assert all("charm-" in text for text in before.values())


def test_the_charm_is_refreshed_and_nothing_is_lost(related, tmp_path):
    keys = Keys(related, tmp_path)
    revision = keys.put("before-refresh", "1")
    related.refresh("etcd", path=ETCD)
    related.wait(
        lambda status: jubilant.all_agents_idle(status, "etcd"),
        error=jubilant.any_error,
        successes=3,
    )
    wait_healthy(related, 3)
    assert keys.get("before-refresh") == "1"
    assert keys.put("after-refresh", "1") > revision


def test_an_application_that_goes_is_let_in_no_more(related, tmp_path):
    files = {}
    for name in ("ca.crt", "tls.crt", "tls.key"):
        files[name] = tmp_path / name
        content = related.exec(f"cat {HOME}/store/{name}", unit="app/0").stdout
        files[name].write_text(content)
    tls = ClientTLS(*map(str, files.values()))

    def is_served(endpoint: str) -> bool:
        try:
            with Client([endpoint], tls=tls, timeout_s=2.0) as client:
                client.get(b"consumers/app/0")
        except (KvClientError, OSError):
            return False
        return True

    endpoints = list_endpoints(related.status())
    assert all(is_served(endpoint) for endpoint in endpoints)
    related.remove_relation("app:store", "etcd:db")
    wait_for(lambda: not any(map(is_served, endpoints)), 90, "the certificate is refused")
