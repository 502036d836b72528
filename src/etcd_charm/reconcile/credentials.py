"""Juju secrets: the charm's own authorities, and one client certificate per related application.

All are owned by the application: the Juju leader makes them, every unit reads them, and their
identifiers stand in the peer relation's application databag. A secret and its identifier are
committed by the same hook, so whoever reads the identifier can read the secret.
"""

import datetime as dt
import json
from collections.abc import Mapping

import ops

from etcd_charm.cluster import tls
from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import Rotation
from etcd_charm.reconcile import bags
from etcd_charm.workload.certificates import (
    KeyPair,
    cross_sign,
    is_usable,
    issue_leaf,
    make_authority,
    read_common_name,
    read_end,
    read_serial,
)
from etcd_charm.workload.engine import Authorities

PLANES = ("peer", "client", "server")
CERTIFICATE = "certificate"
PRIVATE_KEY = "private-key"
TRUSTED = "trusted"
CHAIN = "chain"
NEXT_CERTIFICATE = "next-certificate"
NEXT_KEY = "next-private-key"
NEXT_CHAIN = "next-chain"

Bag = ops.RelationDataContent


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
    contents = {plane: _read(model, known[plane]) for plane in PLANES}
    peer, client, server = (_decode(contents[plane]) for plane in PLANES)
    return Authorities(
        peer=peer,
        client=client,
        server=server,
        peer_trust=contents["peer"].get(TRUSTED, ""),
        client_trust=contents["client"].get(TRUSTED, ""),
        server_trust=contents["server"].get(TRUSTED, ""),
        server_chain=contents["server"].get(CHAIN, ""),
    )


def begin_rotation(app: ops.Application, model: ops.Model, bag: Bag, rotation: Rotation) -> None:
    """Make the next authority of a plane and have everybody trust it. Leader only."""
    plane = rotation.plane
    secret_id = bags.decode_object(bag, bags.AUTHORITIES)[plane]
    content = _read(model, secret_id)
    old = _decode(content)
    new = make_authority(f"{app.name} {plane} authority {rotation.rotation_id}", now())
    trusted = tls.join_authorities(content.get(TRUSTED, old.certificate), new.certificate)
    changed = {
        **_encode(old),
        TRUSTED: trusted,
        NEXT_CERTIFICATE: new.certificate,
        NEXT_KEY: new.key,
    }
    if plane == "server":
        changed[NEXT_CHAIN] = cross_sign(old, new)
        if content.get(CHAIN):
            changed[CHAIN] = content[CHAIN]
    model.get_secret(id=secret_id).set_content(changed)
    bag[bags.ROTATION] = bags.encode_rotation(rotation)


def advance_rotation(model: ops.Model, bag: Bag, rotation: Rotation) -> None:
    """Sign leaves with the new authority from now on; the old one stays trusted. Leader only."""
    secret_id = bags.decode_object(bag, bags.AUTHORITIES)[rotation.plane]
    content = _read(model, secret_id)
    if NEXT_KEY in content:
        changed = {
            CERTIFICATE: content[NEXT_CERTIFICATE],
            PRIVATE_KEY: content[NEXT_KEY],
            TRUSTED: content[TRUSTED],
        }
        if NEXT_CHAIN in content:
            changed[CHAIN] = content[NEXT_CHAIN]
        model.get_secret(id=secret_id).set_content(changed)
    bag[bags.ROTATION] = bags.encode_rotation(rotation)


def end_rotation(model: ops.Model, bag: Bag) -> None:
    """End a rotation; the old authority of members and servers is dropped. Leader only.

    That of clients stays: certificates that were handed out are signed by it.
    """
    rotation = bags.decode_rotation(bag)
    bag[bags.ROTATION] = ""
    if rotation is not None and rotation.plane != "client":
        drop_former(model, bag, rotation.plane)


def drop_former(model: ops.Model, bag: Bag, plane: str) -> bool:
    """Trust the present authority of a plane only; return whether there was another."""
    secret_id = bags.decode_object(bag, bags.AUTHORITIES)[plane]
    content = _read(model, secret_id)
    if TRUSTED not in content:
        return False
    kept = {name: content[name] for name in (CERTIFICATE, PRIVATE_KEY, CHAIN) if name in content}
    model.get_secret(id=secret_id).set_content(kept)
    return True


def name_consumer(relation: ops.Relation) -> str:
    """Return the common name of a related application's certificate: the name of its user."""
    return f"{relation.name}-{relation.app.name}-{relation.id}"


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
    name = name_consumer(relation)
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


def forget_consumers(model: ops.Model, bag: Bag, live_relations: frozenset[str]) -> None:
    """Revoke the certificates of applications that are not related any more. Leader only."""
    known = bags.decode_object(bag, bags.CONSUMERS)
    gone = sorted(set(known) - live_relations)
    revoked = list(bags.decode_issued(bag.get(bags.REVOKED, "")))
    for key in gone:
        secret_id = known.pop(key)
        certificate = _load(model, secret_id).certificate
        revoked.append(describe_issued(certificate))
        model.get_secret(id=secret_id).remove_all_revisions()
    if gone:
        bag[bags.CONSUMERS] = json.dumps(known, sort_keys=True)
        bag[bags.REVOKED] = bags.encode_issued(revoked)


def describe_issued(certificate: str, role: str = "") -> bags.Issued:
    """Return what is remembered of a certificate that was handed out."""
    ends = read_end(certificate).isoformat(timespec="seconds")
    serial = f"{read_serial(certificate):x}"
    return bags.Issued(read_common_name(certificate), serial, ends, role)


def drop_ended(entries: tuple[bags.Issued, ...]) -> tuple[bags.Issued, ...]:
    """Return the certificates that have not ended by themselves."""
    present = now().isoformat(timespec="seconds")
    return tuple(entry for entry in entries if entry.ends > present)


def _encode(pair: KeyPair) -> dict[str, str]:
    return {CERTIFICATE: pair.certificate, PRIVATE_KEY: pair.key}


def _load(model: ops.Model, secret_id: str) -> KeyPair:
    return _decode(_read(model, secret_id))


def _read(model: ops.Model, secret_id: str) -> dict[str, str]:
    try:
        content = model.get_secret(id=secret_id).get_content(refresh=True)
    except ops.SecretNotFoundError as error:
        raise Retry("a secret of this application cannot be read yet") from error
    return {name: _end_line(text) for name, text in content.items()}


def _decode(content: Mapping[str, str]) -> KeyPair:
    return KeyPair(content[CERTIFICATE], content[PRIVATE_KEY])


def _end_line(text: str) -> str:
    """Undo the stripping that some versions of Juju do to secret values."""
    return text.strip() + "\n"


def _id_of(secret: ops.Secret) -> str:
    assert secret.id is not None, "a secret that was just added has an identifier"
    return secret.id
