"""From a snapshot, ours or etcd's, to the rows of a new backend."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftkv.auth.v2_state import V2Auth, is_v2_row
from raftkv.backend import schema
from raftkv.backend.environment import Environment, RowWrite
from raftkv.backend.schema import Table
from raftkv.bbolt.errors import DamagedDatabaseError
from raftkv.bbolt.reader import Database
from raftkv.snapshot import etcd_form as form
from raftkv.snapshot.source import database_bytes
from raftkv.store.mvcc import main_revision

_SLICE: Final = 1000


@dataclass(slots=True)
class Restored:
    """What a snapshot held."""

    revision: int = 1
    compact_revision: int = 0
    rows_count: int = 0
    v2_nodes_count: int = 0


def import_file(path: Path, environment: Environment, *, bump_revision: int = 0) -> Restored:
    """Fill an empty backend from a snapshot file; not yet committed.

    Args:
        path: the snapshot; its hash is the caller's to check.
        environment: empty; the caller adds what makes it a member, then commits.
        bump_revision: how far above the snapshot's revision (and v2 index) the new cluster begins,
            so that no client sees a revision twice that it saw after the snapshot was taken.
            History up to there then counts as compacted: watches from before end with that
            instead of missing something silently.

    Raises:
        DamagedDatabaseError: no snapshot, or a damaged one; nothing is committed then.
    """
    found = Restored()
    try:
        with Database(path, database_bytes(path)) as database:
            if form.KEY not in database.bucket_names():
                raise DamagedDatabaseError(f"{path}: no bucket 'key': not a snapshot of etcd")
            _write_sliced(environment, _rows(database, found))
            _read_meta(database, found)
            _write_sliced(environment, _v2_rows(database, found))
            _write_sliced(environment, _auth_rows(database))
            _write_sliced(environment, _v2_auth_rows(database))
            _write_sliced(environment, _lease_rows(database))
            own = dict(database.rows(form.OWN))
    except form.ForeignRowError as error:
        raise DamagedDatabaseError(f"{path}: {error}") from None
    if own:
        version = form.decode_number(own.get(form.OWN_FORMAT, b""), "the format of the v2 part")
        if version > form.OWN_FORMAT_VERSION:
            raise DamagedDatabaseError(f"{path}: written by a newer version (format {version})")
        revision = form.decode_number(own.get(form.OWN_REVISION, b""), "the revision")
        found.revision = max(found.revision, revision)
    v2_index = form.decode_number(own.get(form.OWN_V2_INDEX, bytes(8)), "the v2 index")
    if bump_revision:
        found.revision += bump_revision
        found.compact_revision = found.revision
    number = schema.encode_number
    environment.write_rows(
        [
            (Table.META, schema.META_REVISION, number(found.revision)),
            (Table.META, schema.META_COMPACT_REVISION, number(found.compact_revision)),
            (Table.META, schema.META_V2_INDEX, number(v2_index + bump_revision)),
        ]
    )
    return found


def _write_sliced(environment: Environment, rows: Iterator[RowWrite]) -> None:
    batch: list[RowWrite] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= _SLICE:
            environment.write_rows(batch)
            batch.clear()
    environment.write_rows(batch)


def _rows(database: Database, found: Restored) -> Iterator[RowWrite]:
    row_id = b""
    for key, value in database.rows(form.KEY):
        row_id, row = form.import_row(key, value)
        found.rows_count += 1
        yield Table.ROWS, row_id, row
    if row_id:
        found.revision = main_revision(int.from_bytes(row_id, "big"))


def _read_meta(database: Database, found: Restored) -> None:
    meta = dict(database.rows(form.META))
    for name in (form.SCHEDULED_COMPACTION, form.FINISHED_COMPACTION):
        raw = meta.get(name)
        if raw is not None:
            main = form.decode_number(raw[:8], name.decode())
            found.compact_revision = max(found.compact_revision, main)
    # A cluster whose newest rows were all compacted away still counts on from there.
    found.revision = max(found.revision, found.compact_revision)


def _auth_rows(database: Database) -> Iterator[RowWrite]:
    state = form.import_auth(
        dict(database.rows(form.AUTH)),
        (row for _, row in database.rows(form.AUTH_USERS)),
        (row for _, row in database.rows(form.AUTH_ROLES)),
    )
    for key, row in state.rows():
        yield Table.AUTH, key, row


def _v2_auth_rows(database: Database) -> Iterator[RowWrite]:
    rows = list(database.rows(form.OWN_V2_AUTH))
    try:
        V2Auth.load(rows)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise form.ForeignRowError(f"a user or role of v2: {error}") from None
    for key, row in rows:
        if not is_v2_row(key):
            raise form.ForeignRowError(f"a user or role of v2 under the key {key!r}")
        yield Table.AUTH, key, row


def _lease_rows(database: Database) -> Iterator[RowWrite]:
    lessor = form.import_leases(row for _, row in database.rows(form.LEASE))
    for lease_id, row in lessor.writes.items():
        yield Table.LEASES, lease_id.to_bytes(8, "big", signed=True), row


def _v2_rows(database: Database, found: Restored) -> Iterator[RowWrite]:
    for key, value in database.rows(form.OWN_V2):
        form.decode_number(key, "the number of a v2 node")
        found.v2_nodes_count += 1
        yield Table.V2, key, value
