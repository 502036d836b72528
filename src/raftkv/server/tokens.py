"""``--auth-token``: its words, and the key files that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from raftkv.server.flags import ConfigError

if TYPE_CHECKING:
    from raftkv.auth.jwt import JwtTokens

_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+")


def parse_duration_s(text: str, where: str) -> float:
    """Seconds of a Go duration such as ``1h30m``.

    Raises:
        ConfigError: it is none; names ``where``.
    """
    if not _DURATION.fullmatch(text):
        raise ConfigError(f"{where}: {text!r} is no duration: write it like 30s, 10m or 1h30m")
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def read_auth_token(text: str) -> JwtTokens | None:
    """What signs tokens; None for simple ones.

    Raises:
        ConfigError: unknown words, or keys that cannot be used.
    """
    kind, *options = [part.strip() for part in text.split(",")]
    if kind in ("simple", "") and not options:
        return None
    if kind != "jwt":
        raise ConfigError(f"--auth-token {text!r}: give simple or jwt,...")
    found: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name not in ("pub-key", "priv-key", "sign-method", "ttl"):
            raise ConfigError(
                f"--auth-token: {option!r} is none of pub-key=, priv-key=, sign-method=, ttl="
            )
        found[name] = value
    from raftkv.auth.jwt import DEFAULT_TTL_S, JwtError, JwtTokens  # noqa: PLC0415 - see TYPE_CHECKING

    ttl = found.get("ttl")
    ttl_s = parse_duration_s(ttl, "--auth-token ttl") if ttl else DEFAULT_TTL_S
    try:
        return JwtTokens(
            found.get("sign-method", ""),
            _read(found.get("pub-key", "")),
            _read(found.get("priv-key", "")),
            max(int(ttl_s), 1),
        )
    except JwtError as error:
        raise ConfigError(f"--auth-token: {error}") from None


def _read(path: str) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--auth-token: cannot read {path}: {error.strerror}") from None
