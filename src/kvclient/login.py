"""Logins: what is sent for a token, and what it becomes."""

from __future__ import annotations

from collections.abc import Callable

from etcdwire import messages_auth as ma
from etcdwire.protobuf import decode, encode
from kvclient.connection import Metadata
from kvclient.errors import LoginError, RequestError

Password = str | Callable[[], str]
"""A password, or what tells the present one: asked at each login, so that a password that is changed
(in a file, say) needs no new client."""

PATH = b"/etcdserverpb.Auth/Authenticate"


def login_request(username: str, password: Password) -> bytes:
    """The encoded request for a token."""
    present = password if isinstance(password, str) else password()
    return encode(ma.AuthenticateRequest(username, present))


def token_metadata(answer: bytes) -> Metadata:
    """What goes with each request from now on."""
    token = decode(ma.AuthenticateResponse, answer).token
    return ((b"token", token.encode()),)


def check_refusal(error: RequestError) -> None:
    """Pass over that auth is off: then no token is needed.

    Raises:
        LoginError: it was refused.
    """
    if "authentication is not enabled" not in error.message:
        raise LoginError(error.code, error.message, error.endpoint) from None
