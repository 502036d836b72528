"""Writing a snapshot: one view of a backend as a bbolt file.

Runs in a process of its own (``python -m raftkv.snapshot STORE FILE``): a gigabyte takes seconds of
computing, and the member's loop must not wait for that. LMDB lets another process read one
consistent state while the member writes; the pages of that state are only pinned for those
seconds, however slowly a client then takes the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from raftkv.auth.state import AuthState
from raftkv.auth.v2_state import is_v2_row
from raftkv.backend import schema
from raftkv.backend.environment import Environment, View
from raftkv.backend.schema import Table
from raftkv.bbolt.writer import Row, write_database
from raftkv.lease.lessor import Lessor
from raftkv.replica.membership import MembershipTable
from raftkv.replica.replica_state import decode_state
from raftkv.replica.sessions import Sessions
from raftkv.snapshot import etcd_form as form


def export_file(store: Path, target: Path) -> int:
    """Write the present state of a backend; the file's size in bytes.

    Args:
        store: the backend's directory; a member may have it open.
        target: must not exist; made readable by its owner only.

    Raises:
        StorageError: the backend cannot be read.
        OSError: the disk is full, or the target exists.
    """
    with reading(store) as view, new_file(target) as file:
        return write_database(file, _buckets(view))


@contextlib.contextmanager
def reading(store: Path) -> Iterator[View]:
    """One consistent state of a backend, which a member may have open."""
    environment = Environment(store, readonly=True)
    try:
        view = environment.view()
        try:
            yield view
        finally:
            view.close()
    finally:
        environment.close()


def new_file(target: Path) -> BinaryIO:
    """A file that was not there, readable by its owner only."""
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "wb")


def _buckets(view: View) -> list[tuple[bytes, Iterable[Row]]]:
    """Every bucket that etcd 3.4 expects, and our own, by name."""
    number = schema.encode_number
    compacted = view.number(schema.META_COMPACT_REVISION)
    meta: list[Row] = [(form.CONSISTENT_INDEX, number(view.number(schema.META_APPLIED_INDEX)))]
    if compacted:
        revision = form.encode_revision(compacted)
        meta += [(form.FINISHED_COMPACTION, revision), (form.SCHEDULED_COMPACTION, revision)]
    table = MembershipTable()
    state = view.get(Table.META, schema.META_REPLICA_STATE)
    if state:
        decode_state(state, table, Sessions())
    members, removed = form.export_members(table.view)
    own: list[Row] = [
        (form.OWN_FORMAT, number(form.OWN_FORMAT_VERSION)),
        (form.OWN_REVISION, number(view.number(schema.META_REVISION))),
        (form.OWN_V2_INDEX, number(view.number(schema.META_V2_INDEX))),
    ]
    buckets: dict[bytes, Iterable[Row]] = {
        b"alarm": (),
        form.CLUSTER: [(form.CLUSTER_VERSION, b"3.4.0")],
        form.KEY: form.export_rows(view.scan(Table.ROWS)),
        form.LEASE: form.export_leases(Lessor.load(view.scan(Table.LEASES))),
        form.MEMBERS: members,
        form.MEMBERS_REMOVED: removed,
        form.META: sorted(meta),
        form.OWN: own,
        form.OWN_V2: view.scan(Table.V2),
        form.OWN_V2_AUTH: [row for row in view.scan(Table.AUTH) if is_v2_row(row[0])],
        **form.export_auth(AuthState.load(view.scan(Table.AUTH))),
    }
    return sorted(buckets.items())
