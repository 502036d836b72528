"""Juju secrets: the charm's own authorities, and one client certificate per related application.

All are owned by the application: the Juju leader makes them, every unit reads them, and their
identifiers stand in the peer relation's application databag. A secret and its identifier are
committed by the same hook, so whoever reads the identifier can read the secret.
"""

import datetime as dt
import json

import ops

from etcd_charm.cluster.errors import Retry
from etcd_charm.reconcile import bags
from etcd_charm.workload.certificates import KeyPair, is_usable, issue_leaf, make_authority
from etcd_charm.workload.engine import Authorities

PLANES = ("peer", "client", "server")
CERTIFICATE = "certificate"
PRIVATE_KEY = "private-key"


def now() -> dt.datetime:
    """Return the time of day, for the validity of certificates."""
    return dt.datetime.now(dt.timezone.utc)


def make_authorities(app: ops.Application, bag: ops.RelationDataContent) -> None:
    """Make the authorities that are missing. Leader only."""
    known = bags.decode_object(bag, bags.AUTHORITIES)
    missing = [plane for plane in PLANES if plane not in known]
    for plane in missing:
        pair = make_authority(f"{app.name} {plane} authority", now())
        secret = app.add_secret(_encode(pair), label=f"{plane}-authority")
        known[plane] = _id_of(secret)
    if missing:
        bag[bags.AUTHORITIES] = json.dumps(known, sort_keys=True)


def load_authorities(model: ops.Model, bag: ops.RelationDataContent) -> Authorities | None:
    """Return the authorities, or `None` while the leader has not made them."""
    known = bags.decode_object(bag, bags.AUTHORITIES)
    if not all(plane in known for plane in PLANES):
        return None
    peer, client, server = (_load(model, known[plane]) for plane in PLANES)
    return Authorities(peer=peer, client=client, server=server)


def keep_consumer(
    app: ops.Application,
    model: ops.Model,
    bag: ops.RelationDataContent,
    relation: ops.Relation,
    authority: KeyPair,
) -> None:
    """Make or renew the client certificate of a related application. Leader only."""
    known = bags.decode_object(bag, bags.CONSUMERS)
    key = str(relation.id)
    name = f"{relation.name}-{relation.app.name}"
    if key not in known:
        pair = issue_leaf(authority, name, (), now(), serves=False)
        secret = app.add_secret(_encode(pair), label=f"consumer-{key}")
        bag[bags.CONSUMERS] = json.dumps({**known, key: _id_of(secret)}, sort_keys=True)
        return
    if not is_usable(_load(model, known[key]), authority.certificate, name, (), now()):
        pair = issue_leaf(authority, name, (), now(), serves=False)
        model.get_secret(id=known[key]).set_content(_encode(pair))


def load_consumer(
    model: ops.Model, bag: ops.RelationDataContent, relation: ops.Relation
) -> KeyPair | None:
    """Return the client certificate of a related application, or `None` if not made yet."""
    secret_id = bags.decode_object(bag, bags.CONSUMERS).get(str(relation.id))
    return _load(model, secret_id) if secret_id else None


def forget_consumers(
    model: ops.Model, bag: ops.RelationDataContent, live_relations: frozenset[str]
) -> None:
    """Drop the certificates of applications that are not related any more. Leader only."""
    known = bags.decode_object(bag, bags.CONSUMERS)
    gone = sorted(set(known) - live_relations)
    for key in gone:
        model.get_secret(id=known.pop(key)).remove_all_revisions()
    if gone:
        bag[bags.CONSUMERS] = json.dumps(known, sort_keys=True)


def _encode(pair: KeyPair) -> dict[str, str]:
    return {CERTIFICATE: pair.certificate, PRIVATE_KEY: pair.key}


def _load(model: ops.Model, secret_id: str) -> KeyPair:
    try:
        content = model.get_secret(id=secret_id).get_content(refresh=True)
    except ops.SecretNotFoundError as error:
        raise Retry("a secret of this application cannot be read yet") from error
    return KeyPair(_end_line(content[CERTIFICATE]), _end_line(content[PRIVATE_KEY]))


def _end_line(text: str) -> str:
    """Undo the stripping that some versions of Juju do to secret values."""
    return text.strip() + "\n"


def _id_of(secret: ops.Secret) -> str:
    assert secret.id is not None, "a secret that was just added has an identifier"
    return secret.id
