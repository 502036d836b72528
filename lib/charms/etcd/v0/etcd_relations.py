# ruff: noqa: INP001 - `charms` is a namespace package shared by all charm libraries
"""The `etcd` and `etcd-proxy` interfaces: their messages, and the side that requires them.

Both are old interfaces of unit scope: each unit of the etcd application publishes the same
complete message in its own unit databag. A unit whose machine is down shows an old one, so a
requirer reads what most units show. The requirer writes nothing. The messages are plain values and serve both sides.

Usage in a charm that needs etcd::

    self.etcd = EtcdRequires(self, "db")
    framework.observe(self.etcd.on.changed, self._on_etcd_changed)
    ...
    message = self.etcd.read()
    if message is not None:
        endpoints = message.connection_string.split(",")
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import ops

LIBID = "etcd_relations"
LIBAPI = 0
LIBPATCH = 3


@dataclass(frozen=True)
class DbMessage:
    """What interface `etcd` says. Certificates and key are PEM texts."""

    connection_string: str
    """Client URLs of all members, sorted and joined by commas."""
    version: str
    """API version of the servers, such as `3.4.36`; empty means 2.x."""
    client_cert: str
    client_key: str
    client_ca: str
    """What verifies the servers."""

    def to_databag(self) -> dict[str, str]:
        """Return the message as a unit databag holds it."""
        return {
            "connection_string": self.connection_string,
            "version": self.version,
            "client_cert": self.client_cert,
            "client_key": self.client_key,
            "client_ca": self.client_ca,
        }

    @classmethod
    def from_databag(cls, bag: Mapping[str, str]) -> "DbMessage | None":
        """Return the message of a unit databag, or `None` while it is incomplete."""
        needed = ("connection_string", "client_cert", "client_key", "client_ca")
        if not all(bag.get(key) for key in needed):
            return None
        return cls(version=bag.get("version", ""), **{key: bag[key] for key in needed})


@dataclass(frozen=True)
class ProxyMessage:
    """What interface `etcd-proxy` says. Certificates and key are PEM texts."""

    cluster: str
    """`name=peer_url` of all members that have started, joined by commas."""
    client_cert: str
    client_key: str
    client_ca: str
    """What verifies the servers, on the client plane and on the peer plane."""
    client_urls: str = ""
    """`name=client_url` in the same form, for members whose peer port lets no client in; empty
    where the peer port does."""

    @property
    def proxy_cluster(self) -> str:
        """What a proxy is to be started with as its initial cluster."""
        return self.client_urls or self.cluster

    def to_databag(self) -> dict[str, str]:
        """Return the message as a unit databag holds it."""
        return {
            "cluster": self.cluster,
            "client_cert": self.client_cert,
            "client_key": self.client_key,
            "client_ca": self.client_ca,
            "client_urls": self.client_urls,
        }

    @classmethod
    def from_databag(cls, bag: Mapping[str, str]) -> "ProxyMessage | None":
        """Return the message of a unit databag, or `None` while it is incomplete."""
        needed = ("cluster", "client_cert", "client_key", "client_ca")
        if not all(bag.get(key) for key in needed):
            return None
        fields = {key: bag[key] for key in needed}
        return cls(client_urls=bag.get("client_urls", ""), **fields)


_Message = TypeVar("_Message", DbMessage, ProxyMessage)


def _choose(messages: Iterable[_Message | None]) -> _Message | None:
    """Return the most frequent message; of several, the one of the first unit."""
    complete = [message for message in messages if message is not None]
    return max(complete, key=complete.count, default=None)


class EtcdChangedEvent(ops.EventBase):
    """The message of the other side may have changed, appeared or gone."""


class EtcdEvents(ops.ObjectEvents):
    """Events of a requirer."""

    changed = ops.EventSource(EtcdChangedEvent)


class _Requires(ops.Object):
    on = EtcdEvents()

    def __init__(self, charm: ops.CharmBase, endpoint: str) -> None:
        super().__init__(charm, endpoint)
        self._charm = charm
        self._endpoint = endpoint
        events = charm.on[endpoint]
        self.framework.observe(events.relation_changed, self._on_relation_event)
        self.framework.observe(events.relation_broken, self._on_relation_event)

    def _on_relation_event(self, _event: ops.RelationEvent) -> None:
        self.on.changed.emit()

    def _read_bags(self) -> list[Mapping[str, str]]:
        relation = self._charm.model.get_relation(self._endpoint)
        if relation is None or not relation.active:
            return []
        units = sorted(relation.units, key=lambda unit: unit.name)
        return [relation.data[unit] for unit in units]


class EtcdRequires(_Requires):
    """The requiring side of interface `etcd`."""

    def read(self) -> DbMessage | None:
        """Return the complete message that most units show, or `None`."""
        return _choose(map(DbMessage.from_databag, self._read_bags()))


class EtcdProxyRequires(_Requires):
    """The requiring side of interface `etcd-proxy`."""

    def read(self) -> ProxyMessage | None:
        """Return the complete message that most units show, or `None`."""
        return _choose(map(ProxyMessage.from_databag, self._read_bags()))
