"""Reading Juju once, at the start of a hook: values out, nothing written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ops

from etcd_charm.cluster import tls
from etcd_charm.cluster.access import list_users
from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import (
    Claim,
    PeerUnit,
    Rebuild,
    Restore,
    Rotation,
    SnapshotRecord,
    Turn,
    UnitName,
    UserSpec,
    name_member,
)
from etcd_charm.cluster.settings import (
    Problem,
    Settings,
    check_engine,
    choose_timing,
    load_settings,
)
from etcd_charm.reconcile import bags, credentials
from etcd_charm.reconcile.goal_state import DYING, GoalState
from etcd_charm.workload.certificates import (
    find_flaw,
    is_certificate,
    is_pair,
    read_fingerprint,
)
from etcd_charm.workload.config_files import bracket
from etcd_charm.workload.engine import Addresses, Authorities, Wanted

PEER_RELATION = "cluster"
CLIENT_BINDING = "db"
CERTIFICATES = "certificates"
CONSUMER_ENDPOINTS = ("db", "proxy")
STORAGE = "data"


@dataclass(frozen=True, slots=True)
class JujuFacts:
    """What Juju says in this hook."""

    unit: UnitName
    is_leader: bool
    units: Mapping[UnitName, str]
    settings: Settings
    problems: tuple[Problem, ...]
    addresses: Addresses
    storage: Path | None
    has_peer_relation: bool
    claim: Claim | None
    restore: Restore | None
    rebuild: Rebuild | None
    rotation: Rotation | None
    snapshot: SnapshotRecord | None
    access: str
    consumers: tuple[str, ...]
    """Names of the users of related applications."""
    issued: tuple[bags.Issued, ...]
    """Client certificates that the units' actions have handed out, and that are still welcome."""
    revoked: tuple[bags.Issued, ...]
    requests: tuple[str, ...]
    turn: Turn | None
    turn_done: int
    round_trip_ms: int
    round_trip_shown_ms: int
    cluster_id: str
    leader_shown: str
    peers: tuple[PeerUnit, ...]
    authorities: Authorities | None
    is_authority_related: bool
    related_server: tls.ServerMaterial | None
    related_ca: str
    server_authorities: str
    """Related authorities that units serve with or are about to, this unit's own first: PEM."""
    trust_awaited: tuple[UnitName, ...]
    authority_problem: str
    """Why the related authority's answer is not used."""

    @property
    def server_bundle(self) -> str:
        """What verifies the servers of all units, the related authorities first.

        Some clients read only one certificate.
        """
        own = self.authorities.servers_trust if self.authorities else ""
        return tls.join_authorities(self.server_authorities, own)

    @property
    def server_trust(self) -> frozenset[str]:
        """Fingerprints of the authorities in that bundle."""
        return frozenset(map(read_fingerprint, tls.split_pem(self.server_bundle)))

    @property
    def is_dying(self) -> bool:
        """Whether this very unit is on its way out."""
        return self.units.get(self.unit, DYING) == DYING

    @property
    def units_alive(self) -> frozenset[UnitName]:
        """The units that stay."""
        return frozenset(unit for unit, status in self.units.items() if status != DYING)

    @property
    def peer_url(self) -> str:
        """Where other members reach this one."""
        return f"https://{bracket(self.addresses.peer)}:{self.settings.peer_port}"

    @property
    def client_url(self) -> str:
        """Where clients reach this member."""
        scheme = "https" if self.settings.tls else "http"
        return f"{scheme}://{bracket(self.addresses.client)}:{self.settings.client_port}"

    def describe_wanted(self) -> Wanted | None:
        """Return what the files are made from, or `None` while there are no authorities."""
        if self.authorities is None:
            return None
        return Wanted(
            unit=self.unit,
            member_name=name_member(self.unit),
            token=self.claim.token if self.claim else "",
            settings=self.settings,
            addresses=self.addresses,
            peer_url=self.peer_url,
            client_url=self.client_url,
            authorities=self.authorities,
            related_server=self.related_server,
            server_bundle=self.server_bundle,
            trusts_related=not self.trust_awaited,
            revoked=tuple(sorted(int(entry.serial, 16) for entry in self.revoked)),
            wants_request=self.is_authority_related,
        )

    @property
    def users(self) -> tuple[UserSpec, ...]:
        """The users that the cluster is to have."""
        return list_users(self.consumers, ((entry.cn, entry.role) for entry in self.issued))

    @property
    def users_gone(self) -> tuple[str, ...]:
        """The users whose every certificate was revoked."""
        present = {user.name for user in self.users}
        return tuple(sorted({entry.cn for entry in self.revoked} - present))


def gather(charm: ops.CharmBase, goal_state: GoalState) -> JujuFacts:
    """Read all that a decision needs from Juju.

    Raises:
        Retry: while Juju knows no address of this unit.
    """
    settings, problems = load_settings(charm.config)
    relation = charm.model.get_relation(PEER_RELATION)
    bag = relation.data[charm.app] if relation is not None else None
    own: Mapping[str, str] = relation.data[charm.unit] if relation is not None else {}
    round_trip_ms = int((bag.get(bags.ROUND_TRIP) if bag else "") or "0")
    settings = choose_timing(settings, round_trip_ms)
    claim = bags.decode_claim(bag) if bag else None
    problems += check_engine(settings, claim.engine if claim else "")
    requests = _read_requests(charm)
    addresses = read_addresses(charm.model)
    related, flaw = _read_answer(charm, requests, addresses.client)
    revoked = bags.decode_issued(bag.get(bags.REVOKED, "") if bag else "")
    ca = related.ca if related else _read_related_ca(charm)
    peers = _read_peers(relation)
    units = goal_state.read_units()
    shown = (peer.server_authorities for peer in peers)
    return JujuFacts(
        unit=UnitName(charm.unit.name),
        is_leader=charm.unit.is_leader(),
        units=units,
        settings=settings,
        problems=problems,
        addresses=addresses,
        storage=read_storage(charm.model),
        has_peer_relation=relation is not None,
        claim=claim,
        restore=bags.decode_restore(bag) if bag else None,
        rebuild=bags.decode_rebuild(bag) if bag else None,
        rotation=bags.decode_rotation(bag) if bag else None,
        snapshot=bags.decode_snapshot(bag) if bag else None,
        access=bag.get(bags.ACCESS, "") if bag else "",
        consumers=_list_consumers(charm, bag or {}),
        issued=_read_issued(charm, relation, revoked),
        revoked=credentials.drop_ended(revoked),
        requests=requests,
        turn=bags.decode_turn(bag) if bag else None,
        turn_done=int(own.get(bags.TURN_DONE) or "0"),
        round_trip_ms=round_trip_ms,
        round_trip_shown_ms=int(own.get(bags.ROUND_TRIP) or "0"),
        cluster_id=bag.get(bags.CLUSTER_ID, "") if bag else "",
        leader_shown=bag.get(bags.LEADER, "") if bag else "",
        peers=peers,
        authorities=credentials.load_authorities(charm.model, bag) if bag else None,
        is_authority_related=charm.model.get_relation(CERTIFICATES) is not None,
        related_server=related,
        related_ca=ca,
        server_authorities=tls.join_authorities(own.get(bags.SERVER_AUTHORITIES, ""), ca, *shown),
        trust_awaited=_list_distrusting(ca, peers, units),
        authority_problem=flaw,
    )


def _read_peers(relation: ops.Relation | None) -> tuple[PeerUnit, ...]:
    if relation is None:
        return ()
    units = sorted(relation.units, key=lambda unit: unit.name)
    return tuple(bags.decode_peer(unit.name, relation.data[unit]) for unit in units)


def _list_distrusting(
    authority: str, peers: tuple[PeerUnit, ...], units: Mapping[UnitName, str]
) -> tuple[UnitName, ...]:
    """Return the units of members that stay and do not trust the related authority yet."""
    blocks = tls.split_pem(authority)
    if not blocks:
        return ()
    trusts = (
        (peer.unit, peer.server_trust)
        for peer in peers
        if peer.member_id and units.get(peer.unit, DYING) != DYING
    )
    return tls.list_distrusting(read_fingerprint(blocks[0]), trusts)


def read_addresses(model: ops.Model) -> Addresses:
    """Return the addresses of both planes, honouring the bindings of `cluster` and `db`.

    Raises:
        Retry: while there is no address.
    """
    peer, peer_bind = _read_binding(model, PEER_RELATION)
    client, client_bind = _read_binding(model, CLIENT_BINDING)
    return Addresses(peer=peer, client=client, peer_bind=peer_bind, client_bind=client_bind)


def _read_binding(model: ops.Model, endpoint: str) -> tuple[str, str]:
    binding = model.get_binding(endpoint)
    if binding is None:
        raise Retry(f"no network for {endpoint} yet")
    try:
        network = binding.network
    except ops.ModelError as error:
        raise Retry(f"no network for {endpoint} yet") from error
    ingress, bind = network.ingress_address, network.bind_address
    if ingress is None and bind is None:
        raise Retry(f"no address for {endpoint} yet")
    return str(ingress or bind), str(bind or ingress)


def read_storage(model: ops.Model) -> Path | None:
    """Return the mount point of the attached storage, if there is one."""
    attached = model.storages[STORAGE]
    return Path(attached[0].location) if attached else None


def _bags_of_authority(charm: ops.CharmBase) -> list[Mapping[str, str]]:
    relation = charm.model.get_relation(CERTIFICATES)
    if relation is None:
        return []
    return [relation.data[unit] for unit in sorted(relation.units, key=lambda unit: unit.name)]


def _read_requests(charm: ops.CharmBase) -> tuple[str, ...]:
    """Return the certificate requests that this unit shows."""
    relation = charm.model.get_relation(CERTIFICATES)
    if relation is None:
        return ()
    return tls.decode_requests(relation.data[charm.unit].get(tls.REQUESTS, ""))


def _list_consumers(charm: ops.CharmBase, bag: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the users of applications that have a certificate."""
    made = bags.decode_object(bag, bags.CONSUMERS)
    relations = [
        relation
        for endpoint in CONSUMER_ENDPOINTS
        for relation in charm.model.relations[endpoint]
        if relation.active and str(relation.id) in made
    ]
    return tuple(sorted(credentials.name_consumer(relation) for relation in relations))


def _read_issued(
    charm: ops.CharmBase, relation: ops.Relation | None, revoked: tuple[bags.Issued, ...]
) -> tuple[bags.Issued, ...]:
    if relation is None:
        return ()
    gone = {entry.serial for entry in revoked}
    units = [charm.unit, *sorted(relation.units, key=lambda unit: unit.name)]
    lists = [bags.decode_issued(relation.data[unit].get(bags.ISSUED, "")) for unit in units]
    entries = tuple(entry for issued in lists for entry in issued if entry.serial not in gone)
    return credentials.drop_ended(entries)


def _read_answer(
    charm: ops.CharmBase, requests: tuple[str, ...], address: str
) -> tuple[tls.ServerMaterial | None, str]:
    """Return the related authority's answer to this unit, or why there is none to be used."""
    relation = charm.model.get_relation(CERTIFICATES)
    answer, refusal = None, ""
    if relation is not None and requests:
        bag = relation.data[relation.app]
        answer, refusal = tls.decode_signed(requests, bag), tls.decode_refusal(requests, bag)
    if answer is None:
        answer = tls.decode_answer(charm.unit.name, _bags_of_authority(charm))
        if answer is not None and not is_pair(answer.certificate, answer.key):
            return None, "its key is another certificate's"
    if answer is None:
        return None, f"it refused: {refusal}" if refusal else ""
    flaw = find_flaw(answer.certificate, answer.ca, address)
    return (None, flaw) if flaw else (answer, f"it refused: {refusal}" if refusal else "")


def _read_related_ca(charm: ops.CharmBase) -> str:
    texts = (bag.get("ca", "") for bag in _bags_of_authority(charm))
    return next(filter(is_certificate, texts), "")
