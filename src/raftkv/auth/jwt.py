"""JSON Web Tokens as etcd makes and takes them (RFC 7519; ``--auth-token jwt,...``).

Claims: ``username``, ``revision`` (auth revision at login), ``exp`` (seconds). Any member verifies
them by itself. Files are read by the server; here keys are bytes and the time is an argument.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

DEFAULT_TTL_S: Final = 300
METHODS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                  "ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "EdDSA")  # fmt: skip
_HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


class JwtError(Exception):
    """The keys or the method do not make sense; one line that says why."""


class Claims(NamedTuple):
    """What a valid token says."""

    username: str
    revision: int


class JwtTokens:
    """Signs and verifies; without a private key it only verifies."""

    def __init__(self, method: str, public_pem: bytes, private_pem: bytes, ttl_s: int) -> None:
        """Load the keys; for the HS methods both are the secret itself.

        Raises:
            JwtError: an unknown method, or keys that do not fit it.
        """
        if method not in METHODS:
            raise JwtError(f"sign-method {method!r}: give one of {', '.join(METHODS)}")
        self._method = method
        self._ttl_s = ttl_s
        self._secret = private_pem or public_pem
        self._private: Any = None
        self._public: Any = None
        if not method.startswith("HS"):
            self._load(public_pem, private_pem)
        elif not self._secret:
            raise JwtError(f"sign-method {method} needs priv-key, the file of the secret")

    def _load(self, public_pem: bytes, private_pem: bytes) -> None:
        try:
            if private_pem:
                self._private = serialization.load_pem_private_key(private_pem, None)
                self._public = self._private.public_key()
            if public_pem:
                self._public = serialization.load_pem_public_key(public_pem)
        except (ValueError, TypeError) as error:
            raise JwtError(f"cannot use the keys: {error}") from None
        wanted: type[Any] = {
            "RS": rsa.RSAPublicKey,
            "PS": rsa.RSAPublicKey,
            "ES": ec.EllipticCurvePublicKey,
            "Ed": ed25519.Ed25519PublicKey,
        }[self._method[:2]]
        if not isinstance(self._public, wanted):
            raise JwtError(f"sign-method {self._method} needs keys of another kind")

    @property
    def can_sign(self) -> bool:
        """Whether logins are possible here."""
        return self._private is not None or self._method.startswith("HS")

    def sign(self, username: str, revision: int, now_s: float) -> str:
        """A new token."""
        head = {"alg": self._method, "typ": "JWT"}
        claims = {"username": username, "revision": revision, "exp": int(now_s) + self._ttl_s}
        text = f"{_encode(_dump(head))}.{_encode(_dump(claims))}"
        return f"{text}.{_encode(self._signature(text.encode()))}"

    def verify(self, token: str, now_s: float) -> Claims | None:
        """What a token says; None when it is none of ours, or over."""
        try:
            text, _, signature = token.rpartition(".")
            head, _, body = text.partition(".")
            found: Mapping[str, Any] = json.loads(_decode(head))
            if found.get("alg") != self._method:
                return None  # never let a token choose how it is verified
            if not self._is_signature(text.encode(), _decode(signature)):
                return None
            claims: Mapping[str, Any] = json.loads(_decode(body))
            if float(claims["exp"]) <= now_s:
                return None
            return Claims(str(claims["username"]), int(claims["revision"]))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
            return None

    def _hash(self) -> hashes.HashAlgorithm:
        return _HASHES[self._method[2:]]()

    def _padding(self) -> padding.AsymmetricPadding:
        if self._method.startswith("RS"):
            return padding.PKCS1v15()
        size = self._hash().digest_size
        return padding.PSS(padding.MGF1(self._hash()), size)

    def _mac(self, text: bytes) -> bytes:
        name = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
        return hmac.new(self._secret, text, name[self._method[2:]]).digest()

    def _signature(self, text: bytes) -> bytes:
        kind = self._method[:2]
        raw: bytes
        if kind == "HS":
            return self._mac(text)
        if kind == "Ed":
            raw = self._private.sign(text)
        elif kind == "ES":
            r, s = utils.decode_dss_signature(self._private.sign(text, ec.ECDSA(self._hash())))
            size = (self._private.curve.key_size + 7) // 8
            raw = r.to_bytes(size, "big") + s.to_bytes(size, "big")
        else:
            raw = self._private.sign(text, self._padding(), self._hash())
        return raw

    def _is_signature(self, text: bytes, signature: bytes) -> bool:
        kind = self._method[:2]
        if kind == "HS":
            return hmac.compare_digest(self._mac(text), signature)
        try:
            if kind == "Ed":
                self._public.verify(signature, text)
            elif kind == "ES":
                half = len(signature) // 2
                r, s = (
                    int.from_bytes(part, "big") for part in (signature[:half], signature[half:])
                )
                encoded = utils.encode_dss_signature(r, s)
                self._public.verify(encoded, text, ec.ECDSA(self._hash()))
            else:
                self._public.verify(signature, text, self._padding(), self._hash())
        except InvalidSignature:
            return False
        return True


def _dump(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
