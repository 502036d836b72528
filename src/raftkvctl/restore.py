"""Offline: look into a snapshot file, and make a new member's directory from it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.errors import CorruptionError
from raftkv.backend.schema import Table
from raftkv.backend.stream import import_file, read_rows
from raftkv.log.wal import Metadata, Wal
from raftkv.replica.effects import Persist
from raftkv.replica.membership import bootstrap_hard_state
from raftkv.replica.replica_state import founding_state
from raftkv.values import ClusterId, Member, MemberId
from raftkvctl.options import UsageError
from raftkvctl.static_cluster import parse_static_cluster


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What a snapshot file holds."""

    hash: str
    revision: int
    keys_count: int
    size_bytes: int


def inspect(path: Path) -> SnapshotFacts:
    """Read and verify a whole snapshot.

    Raises:
        UsageError: damaged, or no snapshot.
    """
    revision = count = crc = 0
    try:
        for table, key, value in read_rows(path):
            crc = zlib.crc32(value, zlib.crc32(key, crc))
            if table is Table.META and key == schema.META_REVISION:
                revision = schema.decode_number(value)
            count += table in (Table.ROWS, Table.V2)
    except (CorruptionError, OSError) as error:
        raise UsageError(str(error)) from None
    return SnapshotFacts(f"{crc:08x}", revision, count, path.stat().st_size)


def restore(
    path: Path,
    *,
    name: str,
    data_dir: Path,
    wal_dir: Path | None,
    initial_cluster: str,
    token: str,
    advertise_peer_urls: str,
    bump_revision: int = 0,
    marks_compacted: bool = False,
) -> None:
    """Make a data directory: all rows of the snapshot, a new log with a new cluster's members.

    With a bump, revisions (and the index of v2) go on that much above the snapshot's, so that no
    client of the former cluster sees them go back; marked as compacted, everything below the new
    revision is refused, so that its watches end instead of missing events.

    Raises:
        UsageError: contradictory flags, a damaged snapshot, or a directory that exists.
    """
    cluster_id, members = parse_static_cluster(initial_cluster, token)
    mine = [m for m in members if m.name == name]
    if not mine:
        raise UsageError(f"--initial-cluster does not name {name!r}")
    if set(mine[0].peer_urls) != set(advertise_peer_urls.split(",")):
        raise UsageError(
            f"--initial-cluster gives {name} the URLs {','.join(mine[0].peer_urls)}, but "
            f"--initial-advertise-peer-urls is {advertise_peer_urls}: make them equal",
        )
    log_dir = wal_dir or data_dir / "member" / "wal"
    for directory in (data_dir / "member", log_dir):
        if directory.exists():
            raise UsageError(f"{directory} exists: choose another directory or move it away")
    inspect(path)  # a damaged file must not leave half a directory behind
    _write(path, data_dir, log_dir, cluster_id, mine[0].member_id, members)
    if bump_revision:
        _bump(data_dir, bump_revision, marks_compacted=marks_compacted)


def _bump(data_dir: Path, by: int, *, marks_compacted: bool) -> None:
    environment = Environment(data_dir / "member" / "store")
    number = schema.encode_number
    view = environment.view()
    revision = view.number(schema.META_REVISION) + by
    v2_index = view.number(schema.META_V2_INDEX) + by
    view.close()
    rows = [
        (Table.META, schema.META_REVISION, number(revision)),
        (Table.META, schema.META_V2_INDEX, number(v2_index)),
    ]
    if marks_compacted:
        rows.append((Table.META, schema.META_COMPACT_REVISION, number(revision)))
    environment.write_rows(rows)
    environment.commit()
    environment.close()


def _write(
    path: Path,
    data_dir: Path,
    log_dir: Path,
    cluster_id: ClusterId,
    member_id: MemberId,
    members: list[Member],
) -> None:
    (data_dir / "member").mkdir(mode=0o700, parents=True)
    environment = Environment(data_dir / "member" / "store")
    try:
        import_file(path, environment, skip=schema.LOCAL_META)
    except (CorruptionError, OSError) as error:
        raise UsageError(str(error)) from None
    number = schema.encode_number
    index, term, state = founding_state(members)
    environment.write_rows(
        [
            (Table.META, schema.META_APPLIED_INDEX, number(index)),
            (Table.META, schema.META_APPLIED_TERM, number(term)),
            (Table.META, schema.META_REPLICA_STATE, state),
            (Table.META, schema.META_CLUSTER_ID, number(cluster_id)),
            (Table.META, schema.META_MEMBER_ID, number(member_id)),
        ],
    )
    environment.commit()
    environment.close()
    log_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wal = Wal.create(log_dir, Metadata(cluster_id, member_id))
    wal.write(
        [
            Persist(
                sequence=1,
                hard_state=bootstrap_hard_state(len(members)),
                entries=(),
                truncate_from=None,
                must_sync=True,
                reset_to=(index, term),
            ),
        ],
    )
    wal.sync()
    wal.close()
