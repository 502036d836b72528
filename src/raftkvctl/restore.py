"""Offline: look into a snapshot file, and make a new member's directory from it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crc32c import crc32c

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError
from raftkv.backend.schema import Table
from raftkv.bbolt.errors import DamagedDatabaseError
from raftkv.bbolt.reader import Database
from raftkv.log.segment import sync_directory
from raftkv.log.wal import Metadata, found_log
from raftkv.replica.effects import Persist
from raftkv.replica.membership import bootstrap_hard_state
from raftkv.replica.replica_state import founding_state
from raftkv.snapshot import etcd_form
from raftkv.snapshot.restore import import_file
from raftkv.snapshot.source import check_hash, database_bytes
from raftkv.values import ClusterId, Member, MemberId
from raftkvctl.options import UsageError
from raftkvctl.static_cluster import parse_static_cluster

_OWN: Final = frozenset({etcd_form.OWN, etcd_form.OWN_V2, etcd_form.OWN_V2_AUTH})


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What a snapshot file holds."""

    hash: int
    """As etcdctl computes it: CRC-32C over names, keys and values of all buckets."""
    revision: int
    keys_count: int
    """Rows of all buckets, as etcdctl counts them."""
    size_bytes: int
    v2_nodes_count: int


def inspect(path: Path) -> SnapshotFacts:
    """Read a whole snapshot.

    Raises:
        UsageError: damaged, or no snapshot.
        OSError: it cannot be read.
    """
    crc = revision = count = v2_count = 0
    try:
        size = database_bytes(path)
        with Database(path, size) as database:
            for name in database.bucket_names():
                crc = crc32c(name, crc)
                for key, value in database.rows(name):
                    crc = crc32c(value, crc32c(key, crc))
                    count += 1
                    if name == etcd_form.KEY:
                        revision = int.from_bytes(key[:8], "big")
                    v2_count += name == etcd_form.OWN_V2
    except DamagedDatabaseError as error:
        raise UsageError(str(error)) from None
    return SnapshotFacts(crc, revision, count, size, v2_count)


@dataclass(frozen=True, slots=True)
class Target:
    """The member that a snapshot becomes."""

    name: str
    data_dir: Path
    wal_dir: Path | None
    initial_cluster: str
    token: str
    advertise_peer_urls: str

    @property
    def log_dir(self) -> Path:
        """Where its log lies."""
        return self.wal_dir or self.data_dir / "member" / "wal"


def restore(
    path: Path,
    target: Target,
    *,
    skip_hash_check: bool,
    bump_revision: int = 0,
) -> None:
    """Make a data directory: all rows of the snapshot, a new log with a new cluster's members.

    With a bump, revisions (and the index of v2) go on that much above the snapshot's, so that no
    client of the former cluster sees them go back; and everything below counts as compacted, so
    that its watches end instead of missing events.

    Raises:
        UsageError: contradictory flags, a damaged snapshot, or a directory that exists.
        OSError: a file cannot be read or written.
    """
    cluster_id, members = parse_static_cluster(target.initial_cluster, target.token)
    mine = [m for m in members if m.name == target.name]
    if not mine:
        raise UsageError(f"--initial-cluster does not name {target.name!r}")
    if set(mine[0].peer_urls) != set(target.advertise_peer_urls.split(",")):
        raise UsageError(
            f"--initial-cluster gives {target.name} the URLs {','.join(mine[0].peer_urls)}, but "
            f"--initial-advertise-peer-urls is {target.advertise_peer_urls}: make them equal",
        )
    for directory in (target.data_dir / "member", target.log_dir):
        if directory.exists():
            raise UsageError(f"{directory} exists: choose another directory or move it away")
    try:
        if not skip_hash_check:
            check_hash(path)
        _write(path, target, cluster_id, mine[0].member_id, members, bump_revision)
    except (DamagedDatabaseError, StorageError, OSError) as error:
        # Half a directory would be taken for a whole one.
        for directory in (target.data_dir / "member", target.log_dir):
            shutil.rmtree(directory, ignore_errors=True)
        if isinstance(error, OSError):
            raise
        raise UsageError(str(error)) from None


def _write(
    path: Path,
    target: Target,
    cluster_id: ClusterId,
    member_id: MemberId,
    members: list[Member],
    bump_revision: int,
) -> None:
    target.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (target.data_dir / "member").mkdir(mode=0o700)
    environment = Environment(target.data_dir / "member" / "store")
    number = schema.encode_number
    index, term, state = founding_state(members)
    try:
        import_file(path, environment, bump_revision=bump_revision)
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
    finally:
        environment.close()
    member = target.data_dir / "member"
    for directory in (member / "store", member, target.data_dir, target.data_dir.parent):
        sync_directory(directory)
    target.log_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    first = Persist(
        sequence=1,
        hard_state=bootstrap_hard_state(len(members)),
        entries=(),
        truncate_from=None,
        must_sync=True,
        reset_to=(index, term),
    )
    found_log(target.log_dir, Metadata(cluster_id, member_id), first)
