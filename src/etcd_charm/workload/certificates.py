"""Certificates of the charm's own authorities: the peer, client and server authority.

The only module that knows `cryptography`. Keys are ECDSA P-256: small, fast, and what etcd's own
tools make. Time is an argument. Nothing here writes a file.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
CRL_DAYS = 3650
RENEW_BEFORE_DAYS = 60
"""Long enough for several update-status hooks even on a machine that is off for weeks."""
CLOCK_SKEW = dt.timedelta(minutes=10)
"""A certificate made on one machine is used at once on another, whose clock may be behind."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, PEM."""

    certificate: str
    key: str


def make_authority(name: str, now: dt.datetime) -> KeyPair:
    """Return a new self-signed authority: for leaves, and for the one that follows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return KeyPair(_encode(builder.sign(key, hashes.SHA256())), _encode_key(key))


def cross_sign(old: KeyPair, new: KeyPair) -> str:
    """Return the new authority's certificate as the old one signs it, valid as long as both."""
    issuer = x509.load_pem_x509_certificate(old.certificate.encode())
    key = _load_key(old.key)
    subject = x509.load_pem_x509_certificate(new.certificate.encode())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject.subject)
        .issuer_name(issuer.subject)
        .public_key(subject.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(subject.not_valid_before_utc)
        .not_valid_after(min(subject.not_valid_after_utc, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    for extension in subject.extensions:
        if isinstance(extension.value, x509.KeyUsage | x509.SubjectKeyIdentifier):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    return _encode(builder.sign(key, hashes.SHA256()))


def make_crl(authority: KeyPair, serials: Iterable[int], now: dt.datetime) -> str:
    """Return the list of revoked certificates of an authority."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + dt.timedelta(days=CRL_DAYS))
    )
    for serial in sorted(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    crl = builder.sign(_load_key(authority.key), hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.PEM).decode()


def is_crl_usable(text: str, authority: KeyPair, serials: Iterable[int], now: dt.datetime) -> bool:
    """Whether a list on disk still says what it should, and for long enough."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    try:
        crl = x509.load_pem_x509_crl(text.encode())
    except ValueError:
        return False
    due = crl.next_update_utc
    return (
        crl.issuer == issuer.subject
        and {entry.serial_number for entry in crl} == set(serials)
        and due is not None
        and due - now > dt.timedelta(days=RENEW_BEFORE_DAYS)
    )


def make_key() -> str:
    """Return a new private key."""
    return _encode_key(ec.generate_private_key(ec.SECP256R1()))


def make_request(key: str, common_name: str, names: Iterable[str], mark: str) -> str:
    """Return a certificate request; the mark makes a renewal differ from what it renews."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, mark),
        ]
    )
    builder = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(x509.SubjectAlternativeName(_encode_names(names)), critical=False)
    )
    request = builder.sign(_load_key(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def read_request_names(request: str) -> set[str]:
    """Return the alternative names of a request."""
    parsed = x509.load_pem_x509_csr(request.encode())
    extension = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {_normalise(str(name.value)) for name in extension.value}


def is_aging(certificate: str, now: dt.datetime) -> bool:
    """Whether less than a third of a certificate's life is left."""
    leaf = x509.load_pem_x509_certificate(certificate.encode())
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    return leaf.not_valid_after_utc - now < life / 3


def read_serial(certificate: str) -> int:
    """Return the serial number of a certificate."""
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


def _load_key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "our own keys are of this kind"
    return key


def issue_leaf(
    authority: KeyPair,
    common_name: str,
    names: Iterable[str],
    now: dt.datetime,
    *,
    serves: bool,
    days: int = LEAF_DAYS,
) -> KeyPair:
    """Return a leaf for a client, or with `serves` for both ends of a connection.

    It ends with its authority at the latest.
    """
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    issuer_key = _load_key(authority.key)
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if serves:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(min(now + dt.timedelta(days=days), issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    alternatives = _encode_names(names)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return KeyPair(_encode(builder.sign(issuer_key, hashes.SHA256())), _encode_key(key))


def is_usable(
    pair: KeyPair,
    authority_pem: str,
    common_name: str,
    names: Sequence[str],
    now: dt.datetime,
) -> bool:
    """Whether a leaf on disk still fits: signer, names, key and time left."""
    try:
        leaf = x509.load_pem_x509_certificate(pair.certificate.encode())
        authority = x509.load_pem_x509_certificate(authority_pem.encode())
        key = serialization.load_pem_private_key(pair.key.encode(), None)
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    left = _read_end(leaf) - now
    return (
        leaf.public_key() == key.public_key()
        and left > dt.timedelta(days=RENEW_BEFORE_DAYS)
        and read_common_name(pair.certificate) == common_name
        and _read_names(leaf) == set(map(_normalise, names))
    )


def read_common_name(certificate: str) -> str:
    """Return the common name of a certificate."""
    leaf = x509.load_pem_x509_certificate(certificate.encode())
    values = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def read_fingerprint(certificate: str) -> str:
    """Return the first 16 hexadecimal digits of a certificate's SHA-256 fingerprint."""
    first = x509.load_pem_x509_certificate(certificate.encode())
    return first.fingerprint(hashes.SHA256()).hex()[:16]


def is_pair(certificate: str, key: str) -> bool:
    """Whether a certificate (the first of a chain) and a private key belong together."""
    try:
        leaf = x509.load_pem_x509_certificate(certificate.encode())
        return (
            leaf.public_key()
            == serialization.load_pem_private_key(key.encode(), None).public_key()
        )
    except (ValueError, TypeError):
        return False


def is_certificate(text: str) -> bool:
    """Whether a PEM text begins with a certificate."""
    try:
        x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        return False
    return True


def find_flaw(certificate: str, authority: str, address: str) -> str:
    """Return why clients at an address would refuse a server's certificate; empty if they would not.

    The certificate comes with what is between it and its authority. An authority's own software
    may err here, and a certificate that nobody can verify is worse than none.
    """
    try:
        leaf, *between = x509.load_pem_x509_certificates(certificate.encode())
        root = x509.load_pem_x509_certificate(authority.encode())
    except ValueError as error:
        return f"it cannot be read: {error}"
    if _normalise(address) not in _read_names(leaf):
        return f"it is not for {address}"
    present = leaf
    for _ in range(len(between) + 1):
        if _is_issued_by(present, root):
            return ""
        above = next((entry for entry in between if _is_issued_by(present, entry)), None)
        if above is None:
            break
        present = above
    return f"{present.issuer.rfc4514_string()} did not sign it, or is not in its chain"


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_end(certificate: str) -> dt.datetime:
    """Return when the first of a chain or bundle ends."""
    ends = x509.load_pem_x509_certificates(certificate.encode())
    return min(_read_end(entry) for entry in ends)


def _read_end(certificate: x509.Certificate) -> dt.datetime:
    return certificate.not_valid_after_utc


def _read_names(certificate: x509.Certificate) -> set[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return {_normalise(str(name.value)) for name in extension.value}


def _normalise(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _encode_names(names: Iterable[str]) -> list[x509.GeneralName]:
    encoded: list[x509.GeneralName] = []
    for name in names:
        try:
            encoded.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            encoded.append(x509.DNSName(name))
    return encoded


def _encode(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _encode_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
