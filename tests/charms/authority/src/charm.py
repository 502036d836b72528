#!/usr/bin/env python3
"""The charm `csr-authority`: signs the requests of related units, as production providers do."""

import datetime as dt
from pathlib import Path

import ops
from charmlibs.interfaces.tls_certificates import (
    Certificate,
    CertificateRequestAttributes,
    CertificateSigningRequest,
    PrivateKey,
    ProviderCertificate,
    TLSCertificatesProvidesV4,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOME = Path("/var/lib/csr-authority")
AUTHORITY_LIFE = dt.timedelta(days=3650)


class Authority:
    """A root, and an intermediate that it has signed; one folder per authority."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def read(self, name: str) -> tuple[Certificate, PrivateKey]:
        """Return certificate and key of `root` or `intermediate`."""
        certificate = (self._home / f"{name}.crt").read_text()
        key = (self._home / f"{name}.key").read_text()
        return Certificate.from_string(certificate), PrivateKey.from_string(key)

    @property
    def is_made(self) -> bool:
        """Whether there is an authority."""
        return (self._home / "intermediate.key").is_file()

    def make(self, name: str) -> None:
        """Make a new authority in the place of the present one."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        root_key = PrivateKey.generate()
        attributes = CertificateRequestAttributes(common_name=name)
        root = Certificate.generate_self_signed_ca(attributes, root_key, AUTHORITY_LIFE)
        key = PrivateKey.generate()
        between = CertificateRequestAttributes(common_name=f"{name} intermediate")
        request = CertificateSigningRequest.generate(between, key)
        intermediate = request.sign(root, root_key, AUTHORITY_LIFE, is_ca=True)
        self._write("root", root, root_key)
        self._write("intermediate", intermediate, key)

    def _write(self, name: str, certificate: Certificate, key: PrivateKey) -> None:
        (self._home / f"{name}.crt").write_text(str(certificate))
        path = self._home / f"{name}.key"
        path.touch(mode=0o600)
        path.write_text(str(key))


def sign_below(
    issuer: Certificate, key: PrivateKey, request: CertificateSigningRequest, life: dt.timedelta
) -> Certificate:
    """Sign with an intermediate authority.

    The library writes the issuer's issuer into what it signs (1.12.0), which nobody can verify.
    """
    csr = x509.load_pem_x509_csr(str(request).encode())
    names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    now = dt.datetime.now(dt.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(x509.load_pem_x509_certificate(str(issuer).encode()).subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + life)
        .add_extension(names, critical=False)
    )
    private = serialization.load_pem_private_key(str(key).encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey), "the library makes keys of this kind"
    signed = builder.sign(private, hashes.SHA256())
    return Certificate.from_string(signed.public_bytes(serialization.Encoding.PEM).decode())


class AuthorityCharm(ops.CharmBase):
    """Signs for related applications."""

    def __init__(self, framework: ops.Framework) -> None:
        super().__init__(framework)
        self._provider = TLSCertificatesProvidesV4(self, "certificates")
        self._authority = Authority(HOME)
        endpoint = self.on["certificates"]
        for event in (
            self.on.install,
            self.on.config_changed,
            self.on.update_status,
            endpoint.relation_joined,
            endpoint.relation_changed,
        ):
            framework.observe(event, self._on_change)
        framework.observe(self.on.rotate_ca_action, self._on_rotate)
        framework.observe(self.on.collect_unit_status, self._on_collect_status)

    def _on_change(self, _event: ops.EventBase) -> None:
        if not self._authority.is_made:
            self._authority.make(f"{self.app.name} 1")
        self._answer(self._list_open_requests())

    def _list_open_requests(self) -> list[tuple[int, CertificateSigningRequest]]:
        answered = {
            (issued.relation_id, issued.certificate_signing_request)
            for issued in self._provider.get_provider_certificates()
        }
        requests = [
            (request.relation_id, request.certificate_signing_request)
            for request in self._provider.get_certificate_requests()
        ]
        return [request for request in requests if request not in answered]

    def _answer(self, requests: list[tuple[int, CertificateSigningRequest]]) -> None:
        root, root_key = self._authority.read("root")
        intermediate, key = self._authority.read("intermediate")
        life = dt.timedelta(minutes=int(self.config["validity-minutes"]))
        for relation_id, request in requests:
            if self.config["errs"]:
                leaf = request.sign(intermediate, key, life)
                chain = [leaf, intermediate, root]
            elif self.config["with-intermediate"]:
                leaf = sign_below(intermediate, key, request, life)
                chain = [leaf, intermediate, root]
            else:
                leaf = request.sign(root, root_key, life)
                chain = [leaf, root]
            answer = ProviderCertificate(
                relation_id=relation_id,
                certificate=leaf,
                certificate_signing_request=request,
                ca=root,
                chain=chain,
            )
            self._provider.set_relation_certificate(answer)

    def _on_rotate(self, _event: ops.ActionEvent) -> None:
        number = int(self._authority.read("root")[0].common_name.rpartition(" ")[2])
        self._authority.make(f"{self.app.name} {number + 1}")
        self._answer(
            [
                (request.relation_id, request.certificate_signing_request)
                for request in self._provider.get_certificate_requests()
            ]
        )

    def _on_collect_status(self, event: ops.CollectStatusEvent) -> None:
        event.add_status(ops.ActiveStatus(f"{len(self._list_open_requests())} open requests"))


if __name__ == "__main__":
    ops.main(AuthorityCharm)
