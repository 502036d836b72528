"""Names in certificates, requests to a related authority, and who verifies whom.

The request speaks the legacy form of the `tls-certificates` interface: the authority makes the
keys. It answers again only if the set of names changes, so names are sorted and stable; a random
order once made every hook replace every certificate.

A related authority that is new, or that was replaced, comes in phases, as the charm's own do:

| phase | a unit serves with a certificate of | the units' bundles hold |
|---|---|---|
| it has answered | the one before | both, the one before first |
| all members' units show that they trust it | the new one | both |
| no unit serves with the one before | the new one | the new one |

Each unit shows the authorities that it serves with or is about to, and those that it trusts. The
charm's own server authority is in every bundle: units fall back to it when the relation goes.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from etcd_charm.cluster.facts import UnitName

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


def decode_refusal(requests: Iterable[str], bag: Mapping[str, str]) -> str:
    """Return the provider's word on why it does not sign the newest request; empty if it may.

    The published schema and the library's model name the request differently.
    """
    newest = next(iter(requests), "")
    for row in json.loads(bag.get("request_errors") or "[]"):
        request = str(row.get("csr") or row.get("certificate_signing_request") or "")
        if newest and _end_line(request) == _end_line(newest):
            error = row.get("error") or row
            return str(error.get("message") or error.get("name") or "no reason given")
    return ""


def split_pem(text: str) -> list[str]:
    """Return the blocks of a PEM text; what stands before the first is a comment."""
    marker = "-----BEGIN "
    return [f"{marker}{part.strip()}\n" for part in text.split(marker)[1:]]


def join_authorities(*authorities: str) -> str:
    """Return one bundle of PEM texts in the given order, each block once."""
    blocks = dict.fromkeys(block for text in authorities for block in split_pem(text))
    return "".join(blocks)


def list_distrusting(
    authority: str, trusts: Iterable[tuple[UnitName, frozenset[str]]]
) -> tuple[UnitName, ...]:
    """Return the units that do not show yet that they trust an authority, by its fingerprint."""
    return tuple(unit for unit, trusted in trusts if authority not in trusted)


def _end_line(text: str) -> str:
    return text.strip() + "\n"
