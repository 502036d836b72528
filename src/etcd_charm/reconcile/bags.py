"""The peer relation's databags: names of the keys, and both directions of the translation.

Old names are kept where layer-etcd had them (`db-ingress-address`). Nothing secret is written
here: secrets are named by their identifiers.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from etcd_charm.cluster.facts import (
    NO_MEMBER,
    Claim,
    MemberId,
    PeerUnit,
    Rebuild,
    Restore,
    Rotation,
    SnapshotRecord,
    Turn,
    UnitName,
)

CLAIM: Final = "claim"
TURN: Final = "turn"
LEADER: Final = "leader"
CLUSTER_ID: Final = "cluster-id"
AUTHORITIES: Final = "authorities"
CONSUMERS: Final = "consumers"
RESTORE: Final = "restore"
REBUILD: Final = "rebuild"
ROTATION: Final = "rotation"
ACCESS: Final = "access"
SNAPSHOT: Final = "snapshot"
REVOKED: Final = "revoked"
"""Client certificates that are not welcome any more: a list of `Issued` as JSON."""

ADDRESS: Final = "db-ingress-address"
PEER_URL: Final = "peer-url"
CLIENT_URL: Final = "client-url"
MEMBER_ID: Final = "member-id"
ROLE: Final = "role"
RESTART: Final = "restart-wanted"
TURN_DONE: Final = "turn-done"
SERVER_AUTHORITIES: Final = "server-authorities"
"""Related authorities whose certificate this unit serves with, or is about to: PEM."""
SERVER_TRUST: Final = "server-trust"
"""Fingerprints of the authorities by which this unit, and whom it tells, know servers."""
ROUND_TRIP: Final = "round-trip-ms"
"""In a unit's bag what it measured, in the application's the slowest of all."""
ISSUED: Final = "issued"
"""Client certificates that this unit's action handed out: a list of `Issued` as JSON."""
ROTATION_STEP: Final = "rotation-step"
REBUILD_STEP: Final = "rebuild-step"
RESTORE_STEP: Final = "restore-step"
NONCE: Final = "nonce"
"""Names the last membership change that this unit made: its new value wakes all others."""


def decode_claim(bag: Mapping[str, str]) -> Claim | None:
    """Return the claim in an application databag."""
    fields = decode_object(bag, CLAIM)
    if not fields:
        return None
    return Claim(UnitName(fields["unit"]), fields["token"], fields.get("engine", "raftkv"))


def encode_claim(claim: Claim) -> str:
    """Return a claim as the databag holds it."""
    fields = {"unit": claim.unit, "token": claim.token, "engine": claim.engine}
    return json.dumps(fields)


def decode_restore(bag: Mapping[str, str]) -> Restore | None:
    """Return the restore under way in an application databag."""
    fields = decode_object(bag, RESTORE)
    return Restore(fields["id"], UnitName(fields["unit"]), fields["token"]) if fields else None


def encode_restore(restore: Restore) -> str:
    """Return a restore as the databag holds it."""
    fields = {"id": restore.restore_id, "unit": restore.unit, "token": restore.token}
    return json.dumps(fields)


def decode_turn(bag: Mapping[str, str]) -> Turn | None:
    """Return the granted turn in an application databag."""
    fields = decode_object(bag, TURN)
    return Turn(UnitName(fields["unit"]), int(fields["number"])) if fields else None


def encode_turn(turn: Turn) -> str:
    """Return a turn as the databag holds it."""
    return json.dumps({"unit": turn.unit, "number": str(turn.number)})


def decode_rebuild(bag: Mapping[str, str]) -> Rebuild | None:
    """Return the rebuild under way in an application databag."""
    fields = decode_object(bag, REBUILD)
    return Rebuild(fields["id"], UnitName(fields["unit"])) if fields else None


def encode_rebuild(rebuild: Rebuild) -> str:
    """Return a rebuild as the databag holds it."""
    return json.dumps({"id": rebuild.rebuild_id, "unit": rebuild.unit})


def decode_rotation(bag: Mapping[str, str]) -> Rotation | None:
    """Return the rotation under way in an application databag."""
    fields = decode_object(bag, ROTATION)
    return Rotation(fields["id"], fields["plane"], fields["phase"]) if fields else None


def encode_rotation(rotation: Rotation) -> str:
    """Return a rotation as the databag holds it."""
    fields = {"id": rotation.rotation_id, "plane": rotation.plane, "phase": rotation.phase}
    return json.dumps(fields)


@dataclass(frozen=True, slots=True)
class Issued:
    """A client certificate, without its key."""

    cn: str
    serial: str
    """Hexadecimal."""
    ends: str
    """UTC, as ISO 8601: texts that sort by time."""
    role: str = ""


def decode_issued(text: str) -> tuple[Issued, ...]:
    """Return a list of certificates from a databag."""
    return tuple(Issued(**row) for row in json.loads(text or "[]"))


def encode_issued(entries: Iterable[Issued]) -> str:
    """Return a list of certificates as a databag holds it, sorted; empty for none."""
    rows = [asdict(entry) for entry in sorted(entries, key=lambda entry: entry.serial)]
    return json.dumps(rows) if rows else ""


def decode_snapshot(bag: Mapping[str, str]) -> SnapshotRecord | None:
    """Return how the last scheduled snapshot went."""
    fields = decode_object(bag, SNAPSHOT)
    if not fields:
        return None
    return SnapshotRecord(UnitName(fields["unit"]), int(fields["taken"]), fields["problem"])


def encode_snapshot(record: SnapshotRecord) -> str:
    """Return that as the databag holds it."""
    fields = {"unit": record.unit, "taken": str(record.taken_s), "problem": record.problem}
    return json.dumps(fields)


def decode_object(bag: Mapping[str, str], key: str) -> dict[str, str]:
    """Return an object of texts that a key holds as JSON; an absent key is an empty object."""
    text = bag.get(key, "")
    return dict(json.loads(text)) if text else {}


def decode_peer(unit: str, bag: Mapping[str, str]) -> PeerUnit:
    """Return what another unit shows."""
    member = bag.get(MEMBER_ID, "")
    return PeerUnit(
        unit=UnitName(unit),
        peer_url=bag.get(PEER_URL, ""),
        client_url=bag.get(CLIENT_URL, ""),
        member_id=MemberId(int(member, 16)) if member else NO_MEMBER,
        restart_wanted=bag.get(RESTART, ""),
        turn_done=int(bag.get(TURN_DONE) or "0"),
        server_authorities=bag.get(SERVER_AUTHORITIES, ""),
        server_trust=frozenset(bag.get(SERVER_TRUST, "").split()),
        rebuild_step=bag.get(REBUILD_STEP, ""),
        rotation_step=bag.get(ROTATION_STEP, ""),
        restore_step=bag.get(RESTORE_STEP, ""),
        round_trip_ms=int(bag.get(ROUND_TRIP) or "0"),
    )
