"""Names in certificates, requests to a related authority, and who verifies whom.

The request speaks the legacy form of the `tls-certificates` interface: the authority makes the
keys. It answers again only if the set of names changes, so names are sorted and stable; a random
order once made every hook replace every certificate.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

REQUESTS: Final = "certificate_signing_requests"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ServerMaterial:
    """What a related authority answered: PEM texts."""

    certificate: str
    key: str
    """Empty where the key never left the unit: the certificate answers a request."""
    ca: str
    request: str = ""
    """The request that it answers."""


def list_server_names(addresses: Iterable[str], hostname: str) -> tuple[str, ...]:
    """Return the subject alternative names of a server certificate, sorted and without doubles."""
    return tuple(sorted({name for name in (*addresses, hostname, *LOOPBACK) if name}))


def fill_names(names: Iterable[str], unit: str) -> tuple[str, ...]:
    """Return an operator's own names with `{unit}` replaced by the unit's name."""
    return tuple(name.replace("{unit}", unit.replace("/", "-")) for name in names)


def encode_request(unit: str, common_name: str, names: Iterable[str]) -> dict[str, str]:
    """Return this unit's keys in the databag of `certificates`."""
    unit_name = unit.replace("/", "_")
    return {
        "unit_name": unit_name,
        "common_name": common_name,
        "certificate_name": unit_name,
        "sans": json.dumps(sorted(set(names))),
    }


def decode_answer(unit: str, bags: Iterable[Mapping[str, str]]) -> ServerMaterial | None:
    """Return the answer to this unit's request from the bags of all provider units, if complete.

    Only the provider's leader fills its bag, so the bags are merged.
    """
    merged: dict[str, str] = {}
    for bag in bags:
        merged.update({key: value for key, value in bag.items() if value})
    prefix = unit.replace("/", "_")
    certificate = merged.get(f"{prefix}.server.cert", "")
    key = merged.get(f"{prefix}.server.key", "")
    authority = merged.get("ca", "")
    if not (certificate and key and authority):
        return None
    chain = merged.get("chain", "")
    if chain and chain.strip() != authority.strip():
        certificate = f"{certificate.rstrip()}\n{chain.strip()}"
    return ServerMaterial(_end_line(certificate), _end_line(key), _end_line(authority))


def encode_requests(requests: Iterable[str]) -> str:
    """Return certificate requests as the CSR form of the interface has them."""
    rows = [{"certificate_signing_request": request, "ca": False} for request in requests]
    return json.dumps(rows) if rows else ""


def decode_requests(text: str) -> tuple[str, ...]:
    """Return the requests that a unit shows, newest first."""
    rows = json.loads(text) if text else []
    return tuple(str(row["certificate_signing_request"]) for row in rows)


def decode_signed(requests: Iterable[str], bag: Mapping[str, str]) -> ServerMaterial | None:
    """Return the answer to the newest answered request from the provider's application bag.

    Answers are matched by the request's text. A chain has the leaf first, in our files too.
    """
    rows = json.loads(bag.get("certificates") or "[]")
    answers = {_end_line(str(row["certificate_signing_request"])): row for row in rows}
    for request in requests:
        row = answers.get(_end_line(request))
        if row is None or row.get("revoked"):
            continue
        chain = [_end_line(str(entry)) for entry in row.get("chain", [])]
        leaf, authority = _end_line(str(row["certificate"])), _end_line(str(row["ca"]))
        between = [entry for entry in chain if entry not in (leaf, authority)]
        return ServerMaterial(leaf + "".join(between), "", authority, request)
    return None


def join_authorities(*authorities: str) -> str:
    """Return one bundle of PEM texts in the given order, without empty ones and doubles."""
    seen: list[str] = []
    for authority in authorities:
        text = authority.strip()
        if text and text not in seen:
            seen.append(text)
    return "".join(f"{text}\n" for text in seen)


def choose_server_bundle(
    related: str, own: str, own_fingerprint: str, fingerprints_in_use: Iterable[str]
) -> str:
    """Return what verifies the servers of all units, for consumers.

    The related authority comes first, for clients that read only one certificate. The charm's own
    stays in the bundle while any unit still serves with it (an empty fingerprint: not known yet).
    """
    if not related:
        return join_authorities(own)
    is_own_in_use = any(used in ("", own_fingerprint) for used in fingerprints_in_use)
    return join_authorities(related, own if is_own_in_use else "")


def _end_line(text: str) -> str:
    return text.strip() + "\n"
