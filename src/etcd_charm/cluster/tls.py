"""Names in certificates, requests to a related authority, and who verifies whom.

The request speaks the legacy form of the `tls-certificates` interface: the authority makes the
keys. It answers again only if the set of names changes, so names are sorted and stable; a random
order once made every hook replace every certificate.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ServerMaterial:
    """What a related authority answered: PEM texts."""

    certificate: str
    key: str
    ca: str


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
