"""Certificate revocation lists, and who may be called ``root``.

etcd compares serial numbers alone; here the issuer counts too, so that two authorities may use the
same number. An overdue list still revokes what it names (it is reported): to refuse everybody
would turn a forgotten renewal into an outage.
"""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature

ROOT: Final = "root"
_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_LOG: Final = logging.getLogger("raftkv.tls")


class Revocation:
    """Revoked certificates by issuer and serial number, and the authority of ``root``."""

    def __init__(
        self, revoked: frozenset[tuple[bytes, int]], root_authorities: list[x509.Certificate]
    ) -> None:
        self._revoked = revoked
        self._root_authorities = root_authorities

    def refusal(self, certificate: bytes, common_name: str) -> str:
        """Why this certificate (DER) is refused; empty when it is not."""
        parsed = x509.load_der_x509_certificate(certificate)
        if (parsed.issuer.public_bytes(), parsed.serial_number) in self._revoked:
            return f"certificate serial {parsed.serial_number:x} of {common_name!r} is revoked"
        if self._root_authorities and common_name == ROOT and not self._may_be_root(parsed):
            return f"CN {ROOT!r} is reserved to another authority"
        return ""

    def _may_be_root(self, certificate: x509.Certificate) -> bool:
        for authority in self._root_authorities:
            try:
                certificate.verify_directly_issued_by(authority)
            except (ValueError, TypeError, InvalidSignature):
                continue
            return True
        return False


def load(crl_file: str, root_ca_file: str) -> Revocation:
    """Read both files; an empty path means that there is none.

    Raises:
        ValueError: a file is not what it should be; names it.
    """
    revoked: set[tuple[bytes, int]] = set()
    if crl_file:
        for crl in _read_lists(crl_file):
            issuer = crl.issuer.public_bytes()
            revoked.update((issuer, entry.serial_number) for entry in crl)
            _report_overdue(crl_file, crl)
    authorities: list[x509.Certificate] = []
    if root_ca_file:
        try:
            authorities = x509.load_pem_x509_certificates(Path(root_ca_file).read_bytes())
        except ValueError as error:
            raise ValueError(f"--root-cert-ca-file {root_ca_file}: {error}") from None
    return Revocation(frozenset(revoked), authorities)


def _read_lists(path: str) -> list[x509.CertificateRevocationList]:
    """One list in DER, or any number of them in PEM, one after the other."""
    data = Path(path).read_bytes()
    try:
        if _BEGIN in data:
            parts = data.split(_BEGIN)[1:]
            return [x509.load_pem_x509_crl(_BEGIN + part) for part in parts]
        return [x509.load_der_x509_crl(data)]
    except ValueError as error:
        raise ValueError(f"CRL file {path}: {error}") from None


def _report_overdue(path: str, crl: x509.CertificateRevocationList) -> None:
    due = crl.next_update_utc
    if due is not None and due < dt.datetime.now(dt.timezone.utc):
        _LOG.warning("CRL file %s: the list of %s was due on %s", path, crl.issuer, due)
