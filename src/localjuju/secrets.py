"""Rules of secrets: identifiers, keys, who may read and manage, revisions and their followers."""

import base64
import binascii
import hashlib
import json
import random
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from localjuju.entities import Consumer, Records, Secret, SecretRevision, Unit
from localjuju.errors import JujuError, UsageError
from localjuju.formats import go_quote
from localjuju.resolver.state import SecretDue

ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
UUID = re.compile(r"[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}")
ID = re.compile(rf"(?:{UUID.pattern}/)?([0-9a-v]{{20}})\Z")
KEY = re.compile(r"[a-z](-?[a-z0-9]){2,}\Z")
CONTENT_BYTES_MAX = 1_000_000  # of base64, one value and all together
ROTATION_SECONDS = {
    "never": 0, "hourly": 3600, "daily": 86400, "weekly": 7 * 86400,
    "monthly": 30 * 86400, "quarterly": 91 * 86400, "yearly": 365 * 86400,
}  # fmt: skip
LABEL_TAKEN = "secret with label {} already exists"


@dataclass
class SecretChange:
    """What one hook wants done to one secret, applied when the hook succeeds."""

    id: str
    create: Secret | None = None
    content: dict[str, str] | None = None
    label: str | None = None
    description: str | None = None
    rotate: str | None = None
    expire: float | None = None
    delete: bool = False
    delete_revisions: list[int] = field(default_factory=list)
    grants: dict[str, int] = field(default_factory=dict)
    revokes: list[str] = field(default_factory=list)


def new_id() -> str:
    """Return a fresh secret identifier; like all of Juju's it holds 96 bits in 20 letters."""
    chooser = random.SystemRandom()
    letters = "".join(chooser.choice(ID_ALPHABET) for _ in range(18))
    return "c" + letters + chooser.choice("0g")


def parse_uri(text: str) -> str:
    """Return the identifier in ``secret:<id>``, ``secret://<model>/<id>`` or a bare id."""
    scheme, colon, body = text.partition(":")
    if not colon:
        scheme, body = "secret", text
    if scheme != "secret":
        raise UsageError(f"secret URI scheme {go_quote(scheme)} not valid")
    body = body.partition("?")[0].partition("#")[0]
    if body.startswith("//"):
        host, _, body = body[2:].partition("/")
        if host and not UUID.search(host):
            raise UsageError(f"host controller UUID {go_quote(host)} not valid")
    match = ID.match(body.lstrip("/"))
    if match is None:
        raise UsageError(f"secret URI {go_quote(text)} not valid")
    return match[1]


def split_pair(word: str) -> tuple[str, str]:
    """Split ``key=value``; padding of base64 at the end is not where the value begins."""
    position = word.rstrip("=").find("=")
    if position < 1:
        raise UsageError(f"key value {go_quote(word)} not valid")
    return word[:position], word[position + 1 :]


def encode_content(pairs: dict[str, str]) -> dict[str, str]:
    """Check keys and sizes; return values in base64 under their bare keys.

    What is given as base64 is taken as it is; a defect in it shows when it is read.
    """
    content: dict[str, str] = {}
    for key, value in pairs.items():
        bare = key.removesuffix("#base64")
        if bare == key:
            value = base64.b64encode(value.encode(errors="surrogateescape")).decode()
        if not KEY.match(bare):
            raise UsageError(f"key {go_quote(bare)} not valid")
        if len(value) > CONTENT_BYTES_MAX:
            raise UsageError(
                f"base64 encoded secret content for key {go_quote(bare)} too large: "
                f"{len(value)} bytes"
            )
        content[bare] = value
    total = sum(map(len, content.values()))
    if total > CONTENT_BYTES_MAX:
        raise UsageError(f"base64 encoded secret content too large: {total} bytes")
    return content


def decode_content(content: dict[str, str]) -> dict[str, str]:
    """Return values as text."""
    return {key: decode_value(value) for key, value in content.items()}


def decode_value(value: str) -> str:
    """Return one value as text; refuse what is not base64."""
    try:
        raw = base64.b64decode(value, validate=True)
    except binascii.Error:
        bad = re.search(r"[^A-Za-z0-9+/]|$", value)
        position = bad.start() if bad is not None else len(value)
        raise JujuError(f"illegal base64 data at input byte {position}") from None
    return raw.decode(errors="replace")


def parse_expiry(text: str, now: float) -> float:
    """Return the time that a date or a duration (``24h30m``) names."""
    for form in ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S"):
        try:
            moment = datetime.strptime(text, form)  # noqa: DTZ007  # UTC is meant below
        except ValueError:
            continue
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(f"expire time or duration {go_quote(text)} not valid")
    if seconds <= 0:
        raise UsageError(f"negative expire duration {go_quote(text)} not valid")
    return now + seconds


def checksum(revision: SecretRevision | None) -> str:
    """Return what Juju shows as a content's checksum: SHA-256 of its compact JSON."""
    if revision is None:
        return ""
    text = json.dumps(dict(sorted(revision.content.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def parse_duration(text: str) -> float | None:
    """Return the seconds of a Go duration such as ``1h30m`` or ``1.5s``; None if it is none."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    match = re.fullmatch(r"([-+]?)((?:\d+(?:\.\d*)?(?:h|ms|us|ns|m|s))+|0)", text)
    if match is None:
        return None
    pieces = re.findall(r"(\d+(?:\.\d*)?)(h|ms|us|ns|m|s)", match[2])
    total = timedelta(seconds=sum(float(number) * units[unit] for number, unit in pieces))
    return -total.total_seconds() if match[1] == "-" else total.total_seconds()


def is_manager(secret: Secret, unit: Unit, *, leads: bool) -> bool:
    """Say whether the unit may change the secret now."""
    if secret.owner_kind == "unit":
        return secret.owner == unit.name
    return secret.owner_kind == "application" and secret.owner == unit.app and leads


def may_read(records: Records, secret: Secret, unit: Unit) -> bool:
    """Say whether the unit may see the content."""
    if secret.owner in {unit.name, unit.app}:
        return True
    for consumer in (unit.name, unit.app):
        if consumer in secret.grants:
            relation = secret.grants[consumer]
            return relation < 0 or str(relation) in records.relations
    return False


def owned_label(records: Records, unit: Unit, label: str) -> Secret | None:
    """Find a secret of the unit or its application by the owner's label."""
    for secret in records.secrets.values():
        if secret.label == label and secret.owner in {unit.name, unit.app}:
            return secret
    return None


def consumed_label(records: Records, unit: Unit, label: str) -> Secret | None:
    """Find a secret by the label that this unit gave it."""
    for secret in records.secrets.values():
        consumer = secret.consumers.get(unit.name)
        if consumer is not None and consumer.label == label:
            return secret
    return None


def dues(records: Records, unit: Unit, now: float, *, leads: bool) -> tuple[SecretDue, ...]:
    """Return the secret hooks that the model owes a unit, in the order of Juju's resolver."""
    owed: list[SecretDue] = []
    for secret in sorted(records.secrets.values(), key=lambda secret: secret.id):
        manager = is_manager(secret, unit, leads=leads)
        if manager:
            owed += _owner_dues(secret, now)
        consumer = secret.consumers.get(unit.name)
        if consumer is not None and secret.latest > consumer.tracked:
            owed.append(
                SecretDue(
                    "secret-changed",
                    secret.id,
                    secret.latest,
                    consumer.label or secret.label * manager,
                )
            )
    return tuple(owed)


def _owner_dues(secret: Secret, now: float) -> list[SecretDue]:
    owed = []
    if secret.next_rotate and now >= secret.next_rotate:
        owed.append(SecretDue("secret-rotate", secret.id, 0, secret.label))
    for number, revision in secret.revisions.items():
        if revision.expire and now >= revision.expire:
            owed.append(SecretDue("secret-expired", secret.id, int(number), secret.label))
    tracked = {consumer.tracked for consumer in secret.consumers.values()}
    owed += [
        SecretDue("secret-remove", secret.id, int(number), secret.label)
        for number in secret.revisions
        if int(number) != secret.latest and int(number) not in tracked
    ]
    return owed


def next_due(records: Records, now: float) -> float:
    """Return the next moment at which a secret rotates or expires; 0 for never."""
    moments = [secret.next_rotate for secret in records.secrets.values()]
    moments += [r.expire for secret in records.secrets.values() for r in secret.revisions.values()]
    return min((moment for moment in moments if moment > now), default=0.0)


def apply(records: Records, change: SecretChange, now: float) -> None:
    """Carry out a change; the caller has checked who may."""
    if change.create is not None:
        _check_label(records, change.create, change.create.label)
        records.secrets[change.id] = change.create
    secret = records.secrets.get(change.id)
    if secret is None:
        raise JujuError(f'secret "{change.id}" not found')
    if change.delete:
        del records.secrets[change.id]
        return
    for number in change.delete_revisions:
        secret.revisions.pop(str(number), None)
    if change.delete_revisions and not secret.revisions:
        del records.secrets[change.id]
        return
    _apply_metadata(records, secret, change, now)
    if change.content is not None:
        secret.latest += 1
        expire = change.expire or 0.0
        secret.revisions[str(secret.latest)] = SecretRevision(change.content, now, expire)
        secret.updated = now
        if secret.rotate != "never":
            secret.next_rotate = now + ROTATION_SECONDS[secret.rotate]
    secret.grants.update(change.grants)
    for consumer in change.revokes:
        secret.grants.pop(consumer, None)


def _check_label(records: Records, secret: Secret, label: str) -> None:
    for other in records.secrets.values():
        if label and other is not secret and (other.owner, other.label) == (secret.owner, label):
            raise JujuError(LABEL_TAKEN.format(go_quote(label)))


def _apply_metadata(records: Records, secret: Secret, change: SecretChange, now: float) -> None:
    if change.label is not None:
        _check_label(records, secret, change.label)
        secret.label = change.label
    if change.description is not None:
        secret.description = change.description
    if change.rotate is not None:
        secret.rotate = change.rotate
        seconds = ROTATION_SECONDS[change.rotate]
        secret.next_rotate = now + seconds if seconds else 0.0
    if change.expire is not None and change.content is None:
        secret.revisions[str(secret.latest)].expire = change.expire


def follow(secret: Secret, unit: str, *, refresh: bool, label: str = "") -> int:
    """Record that a unit reads a secret; return the revision that it follows."""
    consumer = secret.consumers.get(unit)
    if consumer is None:
        consumer = secret.consumers[unit] = Consumer(secret.latest)
    elif refresh:
        consumer.tracked = secret.latest
    if label:
        consumer.label = label
    return consumer.tracked
