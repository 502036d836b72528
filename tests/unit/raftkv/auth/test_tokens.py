"""Simple tokens live as long as they are used; signed ones as long as they say."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from raftkv.auth.jwt import METHODS, JwtError, JwtTokens
from raftkv.auth.passwords import hash_password, is_password
from raftkv.auth.tokens import TOKENS_MAX, SimpleTokens


def test_use_prolongs_a_simple_token_and_idleness_ends_it() -> None:
    tokens = SimpleTokens(1000)
    tokens.assign("t", "u")
    assert tokens.user_of("t", 5000) == "u"
    assert tokens.user_of("t", 5999) == "u"
    assert tokens.user_of("t", 6998) == "u"
    assert tokens.user_of("t", 7998) is None
    assert tokens.user_of("t", 0) is None


def test_a_token_that_nobody_ever_used_ends_too() -> None:
    tokens = SimpleTokens(1000)
    tokens.assign("t", "u")
    tokens.sweep(10)
    tokens.sweep(1009)
    assert len(tokens) == 1
    tokens.sweep(1010)
    assert len(tokens) == 0


def test_tokens_are_bounded_and_the_oldest_go() -> None:
    tokens = SimpleTokens()
    for number in range(TOKENS_MAX + 10):
        tokens.assign(str(number), "u")
    assert len(tokens) == TOKENS_MAX
    assert tokens.user_of("9", 1) is None
    assert tokens.user_of("10", 1) == "u"


def test_a_password_is_told_from_others_and_from_nonsense() -> None:
    hashed = hash_password("secret", 4)
    assert hashed.startswith("$2a$04$")
    assert is_password("secret", hashed.encode())
    assert not is_password("Secret", hashed.encode())
    assert not is_password("secret", b"")
    assert not is_password("secret", b"no hash")
    long = hash_password("x" * 100, 4).encode()
    assert is_password("x" * 72, long)


def keys_for(method: str) -> tuple[bytes, bytes]:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if method.startswith("HS"):
        return b"", b"a secret of some length"
    if method == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif method.startswith("ES"):
        curve = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
        key = ec.generate_private_key(curve[method[2:]])
    else:
        key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public, private


@pytest.mark.parametrize("method", METHODS)
def test_a_signed_token_says_who_and_until_when(method: str) -> None:
    public, private = keys_for(method)
    signer = JwtTokens(method, public, private, 60)
    verifier = JwtTokens(method, public or private, b"", 60)
    token = signer.sign("u", 7, 1000.0)
    assert verifier.verify(token, 1059.0) == ("u", 7)
    assert verifier.verify(token, 1060.0) is None
    head, body, signature = token.split(".")
    other = base64.urlsafe_b64encode(
        json.dumps({"username": "root", "revision": 7, "exp": 9999}).encode()
    ).decode()
    assert verifier.verify(f"{head}.{other.rstrip('=')}.{signature}", 1.0) is None
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert verifier.verify(f"{none}.{body}.", 1.0) is None
    for nonsense in ("", ".", "..", "a.b.c", token[:-2], "ä.ö.ü", f"{head}.{body}.{'A' * 500}"):
        assert verifier.verify(nonsense, 1.0) is None


def test_keys_and_method_have_to_fit() -> None:
    public, private = keys_for("ES256")
    with pytest.raises(JwtError, match="another kind"):
        JwtTokens("RS256", public, private, 60)
    with pytest.raises(JwtError, match="sign-method"):
        JwtTokens("none", public, private, 60)
    with pytest.raises(JwtError, match="cannot use the keys"):
        JwtTokens("ES256", b"rubbish", b"", 60)
    with pytest.raises(JwtError, match="secret"):
        JwtTokens("HS256", b"", b"", 60)
    assert not JwtTokens("ES256", public, b"", 60).can_sign
