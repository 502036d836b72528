"""Writing to Juju what others read: only differences, because each difference wakes somebody."""

from collections.abc import Mapping

import ops

from charms.etcd.v0.etcd_relations import DbMessage, ProxyMessage
from etcd_charm.cluster import consumers, rebuild, restore, rotation, tls
from etcd_charm.cluster.access import is_on, is_user
from etcd_charm.cluster.facts import Facts, Rebuild, Rotation
from etcd_charm.cluster.steps import AppWrites, Plan
from etcd_charm.cluster.timing import decide_shown
from etcd_charm.reconcile import bags, credentials
from etcd_charm.reconcile.gather import CERTIFICATES, CONSUMER_ENDPOINTS, PEER_RELATION, JujuFacts


class Publisher:
    """The databags, ports and secrets of one hook."""

    def __init__(self, charm: ops.CharmBase) -> None:
        self._charm = charm

    @property
    def _peer_relation(self) -> ops.Relation | None:
        return self._charm.model.get_relation(PEER_RELATION)

    def write_app(self, writes: AppWrites) -> None:
        """Record the leader's decisions for all units."""
        relation = self._peer_relation
        if relation is None or not self._charm.unit.is_leader():
            return
        bag = relation.data[self._charm.app]
        if writes.makes_authorities:
            credentials.make_authorities(self._charm.app, bag)
        if writes.claim is not None and (writes.replaces_claim or not bag.get(bags.CLAIM)):
            bag[bags.CLAIM] = bags.encode_claim(writes.claim)
        if writes.ends_restore:
            _write(bag, {bags.RESTORE: ""})
        if writes.releases_claim:
            bag[bags.CLAIM] = ""
        if writes.cluster_id is not None:
            _write(bag, {bags.CLUSTER_ID: writes.cluster_id})
        if writes.leader is not None:
            _write(bag, {bags.LEADER: writes.leader})
        if writes.access is not None:
            _write(bag, {bags.ACCESS: writes.access})
        if isinstance(writes.rotation, Rotation):
            credentials.advance_rotation(self._charm.model, bag, writes.rotation)
        elif writes.rotation is not None:
            credentials.end_rotation(self._charm.model, bag)
        if writes.rebuild is not None:
            order = writes.rebuild
            text = bags.encode_rebuild(order) if isinstance(order, Rebuild) else ""
            _write(bag, {bags.REBUILD: text})
        if writes.round_trip_ms is not None:
            text = str(writes.round_trip_ms) if writes.round_trip_ms else ""
            _write(bag, {bags.ROUND_TRIP: text})
        if writes.turn is not None:
            _write(bag, {bags.TURN: bags.encode_turn(writes.turn)})

    def write_unit(
        self, juju: JujuFacts, facts: Facts, plan: Plan, server_authorities: str, nonce: str
    ) -> None:
        """Show this unit to its peers."""
        relation = self._peer_relation
        if relation is None:
            return
        member = facts.member if facts.engine.is_running else None
        content = {
            bags.ADDRESS: juju.addresses.client,
            bags.PEER_URL: juju.peer_url,
            bags.CLIENT_URL: facts.serving_url,
            bags.ROUND_TRIP: _number(decide_shown(facts, juju.round_trip_shown_ms)),
            bags.RESTART: plan.restart_wanted,
            bags.TURN_DONE: _number(plan.turn_done),
            bags.SERVER_AUTHORITIES: server_authorities,
            bags.SERVER_TRUST: " ".join(sorted(juju.server_trust)),
            bags.ROTATION_STEP: rotation.describe_step(facts),
            bags.REBUILD_STEP: rebuild.describe_step(facts),
            bags.RESTORE_STEP: restore.describe_step(facts),
        }
        if member is not None:
            content[bags.MEMBER_ID] = f"{member.member_id:x}"
            content[bags.ROLE] = "learner" if member.is_learner else "voter"
        if nonce:
            content[bags.NONCE] = nonce
        _write(relation.data[self._charm.unit], content)

    def request_certificate(self, juju: JujuFacts, requests: tuple[str, ...]) -> None:
        """Ask the related authority for a server certificate, in both forms of the interface.

        A provider of the form with requests ignores the keys of the legacy form, and the other
        way round; this is the only writer of the bag, so neither clears what the other needs.
        """
        relation = self._charm.model.get_relation(CERTIFICATES)
        if relation is None:
            return
        addresses = (juju.addresses.client, juju.addresses.peer)
        name = juju.unit.replace("/", "-")
        extra = tls.fill_names(juju.settings.extra_sans, juju.unit)
        names = tls.list_server_names((*addresses, *extra), name)
        request = tls.encode_request(juju.unit, juju.addresses.client, names)
        request[tls.REQUESTS] = tls.encode_requests(requests)
        _write(relation.data[self._charm.unit], request)

    def write_consumers(self, juju: JujuFacts, facts: Facts) -> bool:
        """Tell related applications where the cluster is and how to be let in.

        Nobody is told before its user exists. Return whether one has to be made first, in the
        leader's next hook.
        """
        relation = self._peer_relation
        view = facts.view
        if relation is None or juju.authorities is None or view is None:
            return False
        if not consumers.is_publishable(view):
            return False
        has_news = False
        bag = relation.data[self._charm.app]
        ca = juju.server_bundle
        for consumer in self._list_consumers():
            if self._charm.unit.is_leader():
                credentials.keep_consumer(
                    self._charm.app, self._charm.model, bag, consumer, juju.authorities.client
                )
            pair = credentials.load_consumer(self._charm.model, bag, consumer)
            if pair is None:
                continue
            name = credentials.name_consumer(consumer)
            is_new = "client_cert" not in consumer.data[self._charm.unit]
            is_awaited = is_new and juju.settings.has_auth and not is_on(facts.access)
            if is_awaited or not is_user(facts.access, name):
                has_news = True
                continue
            peer_ca = juju.authorities.peers_trust
            content: DbMessage | ProxyMessage
            if consumer.name == "db":
                urls = ",".join(consumers.list_client_urls(view))
                content = DbMessage(urls, view.version, pair.certificate, pair.key, ca)
            else:
                pairs = ",".join(consumers.list_peer_pairs(view))
                bundle = tls.join_authorities(ca, peer_ca)
                # etcd's peer port lets no client in, so a proxy has to ask at the other one.
                is_etcd = juju.settings.engine == "etcd"
                urls = ",".join(consumers.list_client_pairs(view)) if is_etcd else ""
                content = ProxyMessage(pairs, pair.certificate, pair.key, bundle, urls)
            _write(consumer.data[self._charm.unit], content.to_databag())
        return has_news

    def _list_consumers(self) -> list[ops.Relation]:
        relations = self._charm.model.relations
        return [
            relation
            for endpoint in CONSUMER_ENDPOINTS
            for relation in relations[endpoint]
            if relation.active
        ]

    def forget_consumers(self) -> None:
        """Withdraw the certificates of applications that are not related any more."""
        relation = self._peer_relation
        if relation is None or not self._charm.unit.is_leader():
            return
        live = frozenset(str(consumer.id) for consumer in self._list_consumers())
        credentials.forget_consumers(self._charm.model, relation.data[self._charm.app], live)

    def open_ports(self, juju: JujuFacts) -> None:
        """Open the ports of both planes, and close former ones."""
        self._charm.unit.set_ports(juju.settings.client_port, juju.settings.peer_port)


def _number(value: int) -> str:
    return str(value) if value else ""


def _write(bag: ops.RelationDataContent, content: Mapping[str, str]) -> None:
    """Write what differs. An empty value deletes the key."""
    for key, value in content.items():
        if bag.get(key, "") != value:
            bag[key] = value
