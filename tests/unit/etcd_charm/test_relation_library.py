"""What a requirer reads from the units' databags, with the library that other charms take."""

import ops
import pytest
from ops import testing

from charms.etcd.v0.etcd_relations import (
    DbMessage,
    EtcdProxyRequires,
    EtcdRequires,
    ProxyMessage,
)

META = {
    "name": "app",
    "requires": {"db": {"interface": "etcd"}, "proxy": {"interface": "etcd-proxy"}},
}


class Requirer(ops.CharmBase):
    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self.db = EtcdRequires(self, "db")
        self.proxy = EtcdProxyRequires(self, "proxy")
        self.changes = 0
        for source in (self.db, self.proxy):
            framework.observe(source.on.changed, self._on_changed)

    def _on_changed(self, _event: ops.EventBase) -> None:
        self.changes += 1


def read(endpoint: str, bags: dict[int, dict[str, str]]):
    """Run a hook of the relation; return the message, and how often the charm was told."""
    relation = testing.Relation(endpoint, remote_app_name="etcd", remote_units_data=bags)
    context = testing.Context(Requirer, meta=META)
    event = context.on.relation_changed(relation, remote_unit=min(bags))
    with context(event, testing.State(relations={relation})) as running:
        running.run()
        charm = running.charm
        return getattr(charm, endpoint).read(), charm.changes


def make_db(urls: str) -> dict[str, str]:
    return DbMessage(urls, "3.4.36", "CERT", "KEY", "CA").to_databag()


def test_a_message_survives_the_databag():
    assert read("db", {0: make_db("https://a:2379")}) == (
        DbMessage("https://a:2379", "3.4.36", "CERT", "KEY", "CA"),
        1,
    )
    message = ProxyMessage("etcd0=https://a:2380", "CERT", "KEY", "CA")
    assert read("proxy", {0: message.to_databag()})[0] == message
    assert message.proxy_cluster == "etcd0=https://a:2380"


@pytest.mark.parametrize(
    "missing", ["connection_string", "client_cert", "client_key", "client_ca"]
)
def test_an_incomplete_message_is_none_at_all(missing):
    bag = make_db("https://a:2379")
    del bag[missing]
    assert read("db", {0: bag})[0] is None


def test_row_23_the_message_of_a_unit_that_is_down_loses_against_the_others():
    old, new = make_db("https://a:2379"), make_db("https://a:2379,https://b:2379")
    assert read("db", {0: old, 1: new, 2: new})[0] == DbMessage.from_databag(new)
    assert read("db", {0: old, 1: new})[0] == DbMessage.from_databag(old), "the first of equals"
    assert read("db", {0: {}, 1: new})[0] == DbMessage.from_databag(new)
