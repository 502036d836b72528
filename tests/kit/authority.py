"""A certificate authority for tests: issues, revokes, lists what it revoked."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.timezone.utc)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """Files are named after the authority's title and the certificate's common name."""

    def __init__(self, directory: Path, title: str) -> None:
        self._directory = directory
        self._title = title
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._revoked: list[x509.RevokedCertificate] = []
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name(title))
            .issuer_name(name(title))
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - HOUR)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = self._write(f"{title}.crt", certificate)

    def _write(self, file: str, certificate: x509.Certificate) -> Path:
        path = self._directory / file
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(self, common_name: str, serial: int = 0) -> tuple[Path, Path]:
        """(certificate, key); a second certificate for a name replaces the first one's files."""
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name(common_name))
            .issuer_name(name(self._title))
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(NOW - HOUR)
            .not_valid_after(NOW + DAY)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(common_name), address]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        key_path = self._directory / f"{self._title}-{common_name}.key"
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return self._write(f"{self._title}-{common_name}.crt", certificate), key_path

    def revoke(self, *serials: int, overdue: bool = False) -> bytes:
        """The list of everything revoked so far, as PEM."""
        for serial in serials:
            builder = x509.RevokedCertificateBuilder().serial_number(serial)
            self._revoked.append(builder.revocation_date(NOW - HOUR).build())
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(name(self._title))
            .last_update(NOW - DAY)
            .next_update(NOW - HOUR if overdue else NOW + DAY)
        )
        for entry in self._revoked:
            crl = crl.add_revoked_certificate(entry)
        return crl.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
