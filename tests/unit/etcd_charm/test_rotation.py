"""Authorities are replaced so that everybody trusts everybody all the time."""

import dataclasses
import datetime as dt
import itertools
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from ops import testing

from etcd_charm.cluster.facts import (
    DataState,
    EngineFacts,
    MemberId,
    PeerUnit,
    Rotation,
    UnitName,
)
from etcd_charm.cluster.plan import decide
from etcd_charm.cluster.rotation import decide_rotation, describe_step
from etcd_charm.cluster.steps import WokenBy
from etcd_charm.cluster.tls import decode_signed, split_pem
from etcd_charm.workload.certificates import (
    cross_sign,
    find_flaw,
    is_aging,
    is_crl_usable,
    issue_leaf,
    make_authority,
    make_crl,
    make_key,
    make_request,
    read_fingerprint,
    read_request_names,
    read_serial,
)
from etcd_charm.workload.key_files import KeyFiles
from tests.unit.etcd_charm.conftest import app_bag
from tests.unit.etcd_charm.test_decisions import facts, member, view
from tests.unit.etcd_charm.test_workload_files import NOW, authorities, make_wanted, paths

__all__ = ["authorities", "paths"]

UNIT_ADDRESS = "192.0.2.0"
"""What ops-scenario says of every binding."""
TRUST = Rotation("r1", "peer", "trust")


def running(**changes) -> EngineFacts:
    fields = {"is_running": True, "data": DataState.OURS, "started_with": "new"}
    return EngineFacts(**{**fields, **changes})


def test_a_unit_shows_a_phase_only_when_its_engine_follows_it():
    assert describe_step(facts(rotation=TRUST, wanted="new", engine=running())) == "r1 trust"
    late = running(started_with="old")
    assert describe_step(facts(rotation=TRUST, wanted="new", engine=late)) == ""


@pytest.mark.parametrize(
    ("phase", "shown", "outcome"),
    [
        ("trust", "r1 trust", Rotation("r1", "peer", "leaves")),
        ("trust", "r0 trust", None),
        ("trust", "", None),
        ("leaves", "r1 trust", None),
        ("leaves", "r1 leaves", ""),
    ],
)
def test_row_19_the_leader_goes_on_when_all_units_follow(phase, shown, outcome):
    peer = PeerUnit(UnitName("etcd/1"), rotation_step=shown)
    rotation = Rotation("r1", "peer", phase)
    known = facts(
        1, rotation=rotation, wanted="new", engine=running(), peers=(peer,), is_leader=True
    )
    assert decide_rotation(known).rotation == outcome


def rotate(bench, plane):
    """Run a whole rotation on one unit; return what was trusted and used in each phase."""
    b = bench()
    state = b.found()
    phases = [b.engine.prepared[-1].authorities]
    state = b.run(b.context.on.action("rotate-ca", params={"plane": plane}), state)
    for _ in range(6):
        state = (
            b.run(b.context.on.secret_changed(next(iter(state.secrets))), state)
            if 0
            else (b.run(b.context.on.update_status(), state))
        )
        b.engine.started_with = b.engine.fingerprint
        phases.append(b.engine.prepared[-1].authorities)
    return b, state, phases


@pytest.mark.parametrize("plane", ["peer", "server", "client"])
def test_row_19_trust_comes_before_leaves_and_goes_after_them(bench, plane):
    _, state, phases = rotate(bench, plane)
    trust = {"peer": "peers_trust", "client": "clients_trust", "server": "servers_trust"}[plane]
    old = getattr(phases[0], plane)
    new = getattr(phases[-1], plane)
    assert old != new
    for before, after in itertools.pairwise(phases):
        signer = getattr(after, plane).certificate.strip()
        assert signer in getattr(before, trust), "nobody signs who is not trusted yet"
    kept = old.certificate.strip() in getattr(phases[-1], trust)
    assert kept is (plane == "client"), "certificates that are out are signed by the old one"
    assert "rotation" not in app_bag(state)


def test_the_former_authority_of_clients_is_dropped_by_an_action(bench):
    b, state, phases = rotate(bench, "client")
    action = b.context.on.action("rotate-ca", params={"plane": "client", "drop-old": True})
    state = b.run(action, state)
    b.run(b.context.on.update_status(), state)
    trusted = b.engine.prepared[-1].authorities.clients_trust
    assert phases[0].client.certificate.strip() not in trusted
    with pytest.raises(testing.ActionFailed, match="one authority only"):
        b.run(action, state)


def test_a_client_that_knows_only_the_old_authority_verifies_the_new_servers():
    old, new = make_authority("old", NOW), make_authority("new", NOW)
    leaf = issue_leaf(new, "etcd0", ["localhost"], NOW, serves=True)
    chain = cross_sign(old, new)
    store = x509.verification.Store([x509.load_pem_x509_certificate(old.certificate.encode())])
    verifier = (
        x509.verification.PolicyBuilder()
        .store(store)
        .time(NOW + dt.timedelta(days=1))
        .build_server_verifier(x509.DNSName("localhost"))
    )
    certificates = [
        x509.load_pem_x509_certificate(text.encode()) for text in (leaf.certificate, chain)
    ]
    assert len(verifier.verify(certificates[0], certificates[1:])) == 3


def test_servers_show_the_chain_of_a_rotation(paths, authorities):
    old = authorities.server
    new = make_authority("new", NOW)
    fields = {"peer": authorities.peer, "client": authorities.client, "server": new}
    changed = type(authorities)(**fields, server_chain=cross_sign(old, new))
    KeyFiles(paths).write(make_wanted(changed), NOW)
    assert len(split_pem((paths.tls / "server.crt").read_text())) == 2


def test_revoked_certificates_are_listed_and_the_list_is_stable(paths, authorities):
    leaf = issue_leaf(authorities.client, "alice", (), NOW, serves=False)
    serial = read_serial(leaf.certificate)
    keys = KeyFiles(paths)
    keys.write(make_wanted(authorities, revoked=(serial,)), NOW)
    before = paths.revoked.read_bytes()
    crl = x509.load_pem_x509_crl(before)
    assert [entry.serial_number for entry in crl] == [serial]
    keys.write(make_wanted(authorities, revoked=(serial,)), NOW + dt.timedelta(days=1))
    assert paths.revoked.read_bytes() == before
    assert not is_crl_usable(before.decode(), authorities.client, (), NOW)
    assert make_crl(authorities.client, (), NOW) != before.decode()


def test_a_leaf_ends_with_its_authority_at_the_latest(authorities):
    late = NOW + dt.timedelta(days=3600)
    leaf = issue_leaf(authorities.peer, "x", (), late, serves=True)
    ends = x509.load_pem_x509_certificate(leaf.certificate.encode()).not_valid_after_utc
    assert ends == NOW + dt.timedelta(days=3650)


def sign(request: str, authority, now=NOW, days=365) -> dict:
    """Answer a request as a provider of the CSR form does."""
    parsed = x509.load_pem_x509_csr(request.encode())
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(parsed.subject)
        .issuer_name(issuer.subject)
        .public_key(parsed.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(names.value, critical=False)
        .sign(key, hashes.SHA256())
    )
    return {
        "certificate_signing_request": request,
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "ca": authority.certificate,
        "chain": [],
    }


def answered(paths, authorities, authority, now=NOW, days=365):
    keys = KeyFiles(paths)
    wanted = make_wanted(authorities, wants_request=True)
    keys.write(wanted, now)
    requests = keys.keep_requests(wanted, now)
    bag = {"certificates": json.dumps([sign(requests[0], authority, now, days)])}
    related = decode_signed(requests, bag)
    return keys, requests, make_wanted(authorities, wants_request=True, related_server=related)


def test_the_key_of_a_request_never_leaves_the_unit(paths, authorities):
    authority = make_authority("theirs", NOW)
    keys, requests, wanted = answered(paths, authorities, authority)
    assert "PRIVATE" not in requests[0]
    assert read_request_names(requests[0]) >= {"10.0.0.1", "127.0.0.1", "localhost"}
    keys.write(wanted, NOW)
    assert (paths.tls / "server.key").read_text() == paths.server_key.read_text()
    assert oct(paths.server_key.stat().st_mode & 0o777) == "0o600"
    served = (paths.tls / "server.crt").read_text()
    assert served == wanted.related_server.certificate
    assert keys.keep_requests(wanted, NOW) == requests, "nothing new is asked for"


def test_a_renewal_is_a_new_request_and_the_old_answer_serves_until_the_new_one(
    paths, authorities
):
    authority = make_authority("theirs", NOW)
    keys, requests, wanted = answered(paths, authorities, authority)
    later = NOW + dt.timedelta(days=250)
    assert is_aging(wanted.related_server.certificate, later)
    both = keys.keep_requests(wanted, later)
    assert both[1] == requests[0] != both[0]
    assert keys.keep_requests(wanted, later) == both, "asked once"
    rows = [sign(both[1], authority), sign(both[0], authority, later)]
    related = decode_signed(both, {"certificates": json.dumps(rows)})
    assert related.request == both[0], "the newest answer counts"
    renewed = make_wanted(authorities, wants_request=True, related_server=related)
    assert keys.keep_requests(renewed, later) == (both[0],)


def test_a_request_with_other_names_is_made_when_the_names_change(paths, authorities):
    keys = KeyFiles(paths)
    first = keys.keep_requests(make_wanted(authorities, wants_request=True), NOW)
    moved = make_wanted(authorities, wants_request=True)
    addresses = type(moved.addresses)("10.0.0.9", "10.0.0.9", "10.0.0.9", "10.0.0.9")
    moved = make_wanted(authorities, wants_request=True, addresses=addresses)
    second = keys.keep_requests(moved, NOW)
    assert "10.0.0.9" in read_request_names(second[0])
    assert second[0] != first[0]


def test_a_request_is_never_the_same_twice():
    key = make_key()
    assert make_request(key, "x", ["x"], "1") != make_request(key, "x", ["x"], "2")


def test_an_answer_in_the_csr_form_reaches_the_files(bench, authorities):
    b = bench()
    state = b.found()
    key = make_key()
    b.engine.requests = (make_request(key, UNIT_ADDRESS, [UNIT_ADDRESS], "1"),)
    relation = testing.Relation("certificates", remote_app_name="ca")
    state = testing.State(
        leader=True, relations={*state.relations, relation}, secrets=state.secrets
    )
    state = b.run(b.context.on.relation_created(relation), state)
    shown = state.get_relation(relation.id).local_unit_data
    assert json.loads(shown["certificate_signing_requests"])[0]["ca"] is False
    assert shown["common_name"], "and the legacy form is asked as well"
    authority = make_authority("theirs", NOW)
    bag = {"certificates": json.dumps([sign(b.engine.requests[0], authority)])}
    with_answer = testing.Relation(
        "certificates",
        id=relation.id,
        remote_app_name="ca",
        remote_app_data=bag,
        local_unit_data=shown,
    )
    relations = {r for r in state.relations if r.endpoint != "certificates"} | {with_answer}
    state = testing.State(leader=True, relations=relations, secrets=state.secrets)
    b.run(b.context.on.relation_changed(with_answer), state)
    related = b.engine.prepared[-1].related_server
    assert related is not None
    assert related.key == ""


def test_row_19_a_new_related_authority_signs_when_all_units_trust_it(paths, authorities):
    old, new = make_authority("related 1", NOW), make_authority("related 2", NOW)
    keys, requests, wanted = answered(paths, authorities, old)
    assert keys.write(wanted, NOW) == old.certificate
    leaf = (paths.tls / "server.crt").read_text()

    bag = {"certificates": json.dumps([sign(requests[0], new)])}
    related = decode_signed(requests, bag)
    waits = make_wanted(authorities, related_server=related, trusts_related=False)
    assert keys.write(waits, NOW) == old.certificate
    assert (paths.tls / "server.crt").read_text() == leaf, "the one of before serves on"
    goes = make_wanted(authorities, related_server=related)
    assert keys.write(goes, NOW) == new.certificate
    assert (paths.tls / "server.crt").read_text() == related.certificate
    assert keys.write(waits, NOW) == new.certificate, "what is shown already is no news"


def test_a_first_related_authority_waits_for_trust_and_the_own_leaf_serves(paths, authorities):
    authority = make_authority("related", NOW)
    keys, _, wanted = answered(paths, authorities, authority)
    assert keys.write(dataclasses.replace(wanted, related_server=None), NOW) == ""
    assert keys.write(dataclasses.replace(wanted, trusts_related=False), NOW) == ""
    server = x509.load_pem_x509_certificate((paths.tls / "server.crt").read_bytes())
    server.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authorities.server.certificate.encode())
    )


def test_a_leaf_that_has_ended_does_not_wait_for_trust(paths, authorities):
    old, new = make_authority("related 1", NOW), make_authority("related 2", NOW)
    keys, requests, wanted = answered(paths, authorities, old, days=1)
    keys.write(wanted, NOW)
    later = NOW + dt.timedelta(days=2)
    related = decode_signed(
        requests, {"certificates": json.dumps([sign(requests[0], new, later)])}
    )
    waits = make_wanted(authorities, related_server=related, trusts_related=False)
    assert keys.write(waits, later) == new.certificate


def test_a_certificate_of_hours_is_no_news_while_it_is_renewed(paths, authorities):
    authority = make_authority("related", NOW)
    keys, _, wanted = answered(paths, authorities, authority, days=3)
    keys.write(wanted, NOW)
    assert keys.read_days_left(NOW) == 365
    assert keys.read_days_left(NOW + dt.timedelta(days=2, hours=12)) == 0, "nobody has renewed it"


def test_units_show_what_they_trust_and_wait_for_those_that_do_not(bench):
    b = bench(units={"etcd/0": "active", "etcd/1": "active", "etcd/2": "dying"})
    old, new = (make_authority(name, dt.datetime.now(dt.timezone.utc)) for name in ("o", "n"))
    state = b.found()
    key = make_key()
    b.engine.requests = (make_request(key, UNIT_ADDRESS, [UNIT_ADDRESS], "1"),)
    relation = testing.Relation("certificates", remote_app_name="ca")
    state = dataclasses.replace(state, relations={*state.relations, relation})
    state = b.run(b.context.on.relation_created(relation), state)
    b.engine.prepared.clear()
    now = dt.datetime.now(dt.timezone.utc)
    answer = {"certificates": json.dumps([sign(b.engine.requests[0], new, now)])}
    relation = dataclasses.replace(state.get_relation(relation.id), remote_app_data=answer)
    peer = next(r for r in state.relations if r.endpoint == "cluster")
    other = {"member-id": "2", "server-trust": "", "server-authorities": old.certificate}
    units = {1: other, 2: {"member-id": "3"}}
    with_units = dataclasses.replace(peer, peers_data=units)
    relations = {r for r in state.relations if r.id not in (peer.id, relation.id)}
    state = dataclasses.replace(state, relations={*relations, with_units, relation})
    state = b.run(b.context.on.relation_changed(relation), state)
    asked = b.engine.prepared[-1]
    assert not asked.trusts_related, "etcd/1 stays and does not trust it; etcd/2 is on its way out"
    assert {old.certificate, new.certificate} <= set(split_pem(asked.server_bundle))
    shown = state.get_relation(peer.id).local_unit_data
    assert new.certificate in shown["server-authorities"]
    fingerprint = read_fingerprint(new.certificate)
    assert fingerprint in shown["server-trust"]

    other = {**other, "server-trust": fingerprint}
    trusting = dataclasses.replace(state.get_relation(peer.id), peers_data={1: other})
    relations = {r for r in state.relations if r.id != peer.id}
    state = dataclasses.replace(state, relations={*relations, trusting})
    b.run(b.context.on.relation_changed(trusting, remote_unit=1), state)
    assert b.engine.prepared[-1].trusts_related


def test_a_certificate_that_clients_would_refuse_is_not_shown():
    """Published libraries err here: one names the issuer's issuer below an intermediate."""
    root, other = make_authority("root", NOW), make_authority("other", NOW)
    leaf = issue_leaf(root, "x", ["10.0.0.1"], NOW, serves=True).certificate
    between = cross_sign(root, other)
    below = issue_leaf(other, "x", ["10.0.0.1"], NOW, serves=True).certificate
    assert find_flaw(leaf, root.certificate, "10.0.0.1") == ""
    assert find_flaw(below + between, root.certificate, "10.0.0.1") == "", "the chain reaches it"
    assert "did not sign it" in find_flaw(below, root.certificate, "10.0.0.1")
    assert find_flaw(leaf, root.certificate, "10.0.0.2") == "it is not for 10.0.0.2"
    assert "cannot be read" in find_flaw("nonsense", root.certificate, "10.0.0.1")


@pytest.mark.parametrize("field", ["csr", "certificate_signing_request"])
def test_a_refusal_of_the_newest_request_is_said(bench, field):
    b = bench()
    state = b.found()
    key = make_key()
    b.engine.requests = (make_request(key, UNIT_ADDRESS, [UNIT_ADDRESS], "1"),)
    relation = testing.Relation("certificates", remote_app_name="ca")
    state = dataclasses.replace(state, relations={*state.relations, relation})
    state = b.run(b.context.on.relation_created(relation), state)
    refusal = {"code": 101, "name": "IP_NOT_ALLOWED", "message": "no addresses here"}
    rows = json.dumps([{field: b.engine.requests[0], "error": refusal}])
    told = dataclasses.replace(
        state.get_relation(relation.id), remote_app_data={"request_errors": rows}
    )
    relations = {r for r in state.relations if r.id != relation.id} | {told}
    state = dataclasses.replace(state, relations=relations)
    state = b.run(b.context.on.relation_changed(told), state)
    assert b.engine.prepared[-1].related_server is None
    assert state.unit_status.message.endswith(
        "no certificate of the related authority: it refused: no addresses here"
    )


def test_the_leader_of_a_rotation_asks_again_only_for_what_is_its_own():
    """What others have not done they tell; a timer would only keep their news out."""
    for shown, who in (("", WokenBy.PEER), ("r1 trust", WokenBy.TIMER)):
        peer = PeerUnit(UnitName("etcd/1"), member_id=MemberId(2), rotation_step=shown)
        known = facts(1, is_leader=True, rotation=TRUST, wanted="new", engine=running())
        known = dataclasses.replace(
            known,
            peers=(peer,),
            units_alive=frozenset({known.unit, peer.unit}),
            view=view(member(0), member(1)),
        )
        waiting = decide(known).waiting
        assert waiting is not None
        assert waiting.woken_by is who
