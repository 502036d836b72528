"""Who is let in after the handshake: allowed names, revoked certificates, the name ``root``.

OpenSSL has verified the signature by then. Its own CRL checks are not used: they refuse every
client of a CA without a list, and everybody once a list is overdue.
"""

from __future__ import annotations

import ssl
from typing import Any, Protocol


class CertificateCheck(Protocol):
    """What needs the certificate itself (``server.revocation``)."""

    def refusal(self, certificate: bytes, common_name: str) -> str:
        """Why this certificate (DER) is refused; empty when it is not."""


class Guard:
    """Checks callers of one plane; without any demand it costs nothing."""

    def __init__(
        self, common_name: str = "", host: str = "", check: CertificateCheck | None = None
    ) -> None:
        self._common_name = common_name
        self._host = host
        self._check = check
        self._is_idle = not common_name and not host and check is None

    def refusal(self, tls: ssl.SSLObject | None) -> str:
        """Why this caller is refused; empty when it is welcome."""
        if self._is_idle or tls is None:
            return ""
        certificate: dict[str, Any] = tls.getpeercert() or {}
        if not certificate:
            return ""  # a caller without one is OpenSSL's business: the plane may allow it
        name = common_name_of(certificate)
        if self._common_name and name != self._common_name:
            return f"client certificate authentication failed: CN {name!r} is not allowed"
        if self._host and self._host not in _host_names(certificate):
            return f"client certificate is not valid for {self._host}"
        if self._check is not None:
            return self._check.refusal(tls.getpeercert(binary_form=True) or b"", name)
        return ""


def common_name_of(certificate: dict[str, Any]) -> str:
    """Common name of a certificate as ``ssl`` presents it; empty when it has none."""
    for rdn in certificate.get("subject", ()):
        for key, value in rdn:
            if key == "commonName":
                return str(value)
    return ""


def _host_names(certificate: dict[str, Any]) -> set[str]:
    names = {value for kind, value in certificate.get("subjectAltName", ()) if kind != "URI"}
    return names or {common_name_of(certificate)}
