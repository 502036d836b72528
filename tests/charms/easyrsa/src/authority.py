"""The distribution's easy-rsa, driven without questions.

Its `server` type is for servers only; etcd's members are clients of each other with the same
certificate, so the type is extended by client authentication in a copy of the type folder.
"""

import ipaddress
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

EASY_RSA = Path("/usr/share/easy-rsa")
COMMAND_TIMEOUT_S = 60.0
INSTALL_TIMEOUT_S = 600.0


class AuthorityError(Exception):
    """easy-rsa refused; the message is its last line."""


def install() -> None:
    """Install the package if the machine does not have it."""
    if (EASY_RSA / "easyrsa").exists():
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "easy-rsa"]):
        subprocess.run(
            ["apt-get", *arguments], check=True, env=environment, timeout=INSTALL_TIMEOUT_S
        )


class Authority:
    """One authority in one folder."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._pki = home / "pki"
        self._issued_file = home / "issued.json"

    @property
    def is_made(self) -> bool:
        """Whether the authority has its key here."""
        return (self._pki / "private/ca.key").is_file()

    @property
    def certificate(self) -> str:
        """The authority's certificate, PEM."""
        return (self._pki / "ca.crt").read_text()

    @property
    def key(self) -> str:
        """The authority's private key, PEM."""
        return (self._pki / "private/ca.key").read_text()

    def make(self, common_name: str) -> None:
        """Make a new authority."""
        self._prepare()
        self._run(["init-pki"])
        self._run(["build-ca", "nopass"], common_name=common_name)

    def adopt(self, certificate: str, key: str) -> None:
        """Continue an authority that another unit has made."""
        self._prepare()
        self._run(["init-pki"])
        for folder in ("issued", "certs_by_serial", "revoked"):
            (self._pki / folder).mkdir(parents=True, exist_ok=True)
        (self._pki / "index.txt").touch()
        (self._pki / "index.txt.attr").write_text("unique_subject = no\n")
        (self._pki / "serial").write_text("01\n")
        (self._pki / "ca.crt").write_text(certificate)
        path = self._pki / "private/ca.key"
        path.touch(mode=0o600)
        path.write_text(key)

    def _prepare(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        self._home.mkdir(parents=True, mode=0o700)
        types = self._home / "x509-types"
        shutil.copytree(EASY_RSA / "x509-types", types)
        server = types / "server"
        text = server.read_text()
        server.write_text(
            text.replace(
                "extendedKeyUsage = serverAuth", "extendedKeyUsage = serverAuth,clientAuth"
            )
        )

    def issue(
        self, identity: str, common_name: str, sans: Iterable[str], *, is_server: bool
    ) -> tuple[str, str]:
        """Return certificate and key for an identity: the same ones while it does not change."""
        issued: dict[str, str] = {}
        if self._issued_file.is_file():
            issued = json.loads(self._issued_file.read_text())
        if identity not in issued:
            base = f"leaf{len(issued) + 1}"
            kind = "server" if is_server else "client"
            names = encode_names(sans)
            self._run(["gen-req", base, "nopass"], common_name=common_name)
            self._run(["sign-req", kind, base], common_name=common_name, sans=names)
            issued[identity] = base
            self._issued_file.write_text(json.dumps(issued, indent=1) + "\n")
        base = issued[identity]
        text = (self._pki / f"issued/{base}.crt").read_text()
        certificate = text[text.index("-----BEGIN") :]
        return certificate, (self._pki / f"private/{base}.key").read_text()

    def _run(self, command: list[str], *, common_name: str = "", sans: str = "") -> None:
        environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "EASYRSA": str(EASY_RSA),
            "EASYRSA_BATCH": "1",
            "EASYRSA_PKI": str(self._pki),
            "EASYRSA_EXT_DIR": str(self._home / "x509-types"),
            "EASYRSA_ALGO": "ec",
            "EASYRSA_CURVE": "prime256v1",
            "EASYRSA_CA_EXPIRE": "3650",
            "EASYRSA_CERT_EXPIRE": "825",
            "EASYRSA_SILENT": "1",
        }
        if common_name:
            environment["EASYRSA_REQ_CN"] = common_name
        options = [f"--subject-alt-name={sans}"] if sans else []
        done = subprocess.run(
            [str(EASY_RSA / "easyrsa"), *options, *command],
            check=False,
            cwd=self._home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
            raise AuthorityError(f"easyrsa {command[0]}: {' '.join(lines[-3:])}")


def encode_names(names: Iterable[str]) -> str:
    """Return subject alternative names as easy-rsa takes them."""
    encoded = []
    for name in sorted(set(names)):
        try:
            encoded.append(f"IP:{ipaddress.ip_address(name)}")
        except ValueError:
            encoded.append(f"DNS:{name}")
    return ",".join(encoded)
