"""A member's directory: founding, joining, restarting, and refusing what is not ours.

<data-dir>/member/store/        LMDB: everything applied
<data-dir>/member/wal/          the log (or --wal-dir)
<data-dir>/member/incarnation   how often this member started: makes its proposals unique
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftkv.auth.state import AuthState
from raftkv.auth.v2_state import V2Auth
from raftkv.backend import schema
from raftkv.backend.environment import Environment, View
from raftkv.backend.schema import Table
from raftkv.lease.lessor import Lessor
from raftkv.log.errors import StorageError
from raftkv.log.segment import list_segments, sync_directory
from raftkv.log.wal import Metadata, Wal, found_log
from raftkv.member_ids import cluster_id_of
from raftkv.replica.effects import Persist
from raftkv.replica.inputs import Boot
from raftkv.replica.machine import Machine
from raftkv.replica.membership import bootstrap_entries, bootstrap_hard_state
from raftkv.server.config import Config
from raftkv.server.flags import ConfigError
from raftkv.server.notify import StartProgress
from raftkv.store.alarms import Alarms
from raftkv.store.mvcc import KeyValueStore
from raftkv.store.tree_v2 import TreeV2
from raftkv.values import ClusterId, Index, Member, MemberId, Term
from raftkv.watch.history_v2 import decode_row

_INCARNATION: Final = "incarnation"
_DIVERGED: Final = "diverged"


class StoreView:
    """A backend view as the store wants it (``mvcc.ReadView``)."""

    def __init__(self, view: View) -> None:
        self.view = view

    def get_row(self, row_id: int) -> bytes | None:
        """One row."""
        return self.view.get(Table.ROWS, row_id.to_bytes(8, "big"))

    def get_rows(self, row_ids: list[int]) -> list[bytes]:
        """Several rows."""
        return self.view.get_many(Table.ROWS, [row_id.to_bytes(8, "big") for row_id in row_ids])

    def scan_rows(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Rows in order."""
        last = None if end >= 1 << 63 else end.to_bytes(8, "big")
        number = int.from_bytes
        for key, row in self.view.scan(Table.ROWS, first.to_bytes(8, "big"), last):
            yield number(key, "big"), row


@dataclass(slots=True)
class Opened:
    """An opened directory, ready to run."""

    cluster_id: ClusterId
    member_id: MemberId
    wal: Wal
    environment: Environment
    view: StoreView
    machine: Machine
    boot: Boot
    repaired_bytes: int = 0


def paths(config: Config) -> tuple[Path, Path]:
    """(member directory, log directory)."""
    return config.data_dir / "member", config.wal_dir


def has_member(config: Config) -> bool:
    """Whether this directory holds a member already.

    Raises:
        ConfigError: it holds something else.
    """
    member, wal = paths(config)
    if (member / "snap" / "db").exists():
        raise ConfigError(
            f"--data-dir {config.data_dir} was written by etcd: take a snapshot there and restore "
            "it here, or choose another --data-dir",
        )
    store, old = member / "store", member / "store.old"
    if old.is_dir() and not store.exists():
        old.rename(store)  # stopped between the two renames of a snapshot's installation
        sync_directory(member)
    has_log = wal.is_dir() and bool(list_segments(wal))
    has_store = (store / "data.mdb").exists()
    if has_log and not has_store:
        raise ConfigError(
            f"--data-dir {config.data_dir}: there is a log in {wal} but no store: the directory "
            "is damaged or not mounted; nothing was changed",
        )
    return has_log and has_store


def exchange_stores(member: Path, new: Path) -> None:
    """Put another store in the place of ``store``, which becomes ``store.old``; durable once the
    directory is synced.
    """
    old, store = member / "store.old", member / "store"
    shutil.rmtree(old, ignore_errors=True)
    store.rename(old)
    new.rename(store)


def make_private(config: Config) -> None:
    """Make the directories, readable by nobody else.

    Raises:
        ConfigError: not possible.
    """
    member, wal = paths(config)
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        member.mkdir(mode=0o700, exist_ok=True)
        wal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(config.data_dir, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise ConfigError(f"--data-dir {config.data_dir}: {error.strerror}") from None


def found_cluster(config: Config) -> None:
    """Write the first files of a founding member."""
    members = config.founding_members()
    mine = next(m for m in members if m.name == config.name)
    create_files(config, cluster_id_of(members), mine.member_id, members)


def create_files(
    config: Config, cluster_id: ClusterId, member_id: MemberId, founders: Sequence[Member]
) -> None:
    """Write an empty store and a log; founders' members stand in the log, a joiner's log is empty.

    The log comes last: a directory without one counts as no member, so that a crash in between
    only means to begin again.
    """
    member, wal_dir = paths(config)
    make_private(config)
    environment = Environment(member / "store")
    number = schema.encode_number
    environment.write_rows(
        [
            (Table.META, schema.META_CLUSTER_ID, number(cluster_id)),
            (Table.META, schema.META_MEMBER_ID, number(member_id)),
        ],
    )
    environment.commit()
    environment.close()
    for directory in (member / "store", member, config.data_dir, config.data_dir.parent):
        sync_directory(directory)  # a log that is there promises that the store is
    metadata = Metadata(cluster_id, member_id)
    first = Persist(
        sequence=1,
        hard_state=bootstrap_hard_state(len(founders)) if founders else None,
        entries=bootstrap_entries(founders),
        truncate_from=None,
        must_sync=True,
    )
    found_log(wal_dir, metadata, first)


def open_files(config: Config, progress: StartProgress) -> Opened:
    """Open what is there and rebuild the state in memory.

    Raises:
        ConfigError: store and log belong to different members.
        StorageError: the files are unreadable, damaged or in use.
    """
    member, wal_dir = paths(config)
    _refuse_diverged(member)
    for left_over in ("store.old", "store.next", "store.defrag"):
        shutil.rmtree(member / left_over, ignore_errors=True)
    wal, contents = Wal.open(wal_dir)
    environment = Environment(member / "store")
    view = StoreView(environment.view())
    stored = view.view.number(schema.META_MEMBER_ID)
    metadata = contents.metadata
    if stored != metadata.member_id:
        raise ConfigError(
            f"--data-dir {config.data_dir}: the store belongs to member {stored:x} and the log to "
            f"member {metadata.member_id:x}; nothing was changed",
        )
    machine, applied, term, state = load_machine(view, progress)
    hard_state = contents.hard_state
    boot = Boot(
        member_id=MemberId(metadata.member_id),
        incarnation=next_incarnation(member),
        hard_state=(hard_state.term, hard_state.vote, hard_state.commit),
        log_start=contents.start_index,
        log_start_term=contents.start_term,
        entries=contents.entries,
        applied=applied,
        applied_term=term,
        state=state,
    )
    return Opened(
        ClusterId(metadata.cluster_id),
        MemberId(metadata.member_id),
        wal,
        environment,
        view,
        machine,
        boot,
        contents.repaired_bytes,
    )


def mark_diverged(config: Config, index: int) -> None:
    """Note, durably, that a majority has another state: this directory is not used again."""
    member, _ = paths(config)
    (member / _DIVERGED).write_text(f"{index}\n")
    sync_directory(member)


def _refuse_diverged(member: Path) -> None:
    path = member / _DIVERGED
    if path.exists():
        raise StorageError(
            f"{path}: at index {path.read_text().strip()} the members' majority had another state "
            "than this one; its files are kept as they are. Remove the member, add it anew and "
            "start it with an empty directory",
        )


def load_machine(
    view: StoreView, progress: StartProgress | None = None
) -> tuple[Machine, Index, Term, bytes]:
    """(machine, applied index, its term, replica state) of a view."""
    meta = view.view
    total = meta.count(Table.ROWS)

    def tell(done: int) -> None:
        if progress is not None:
            progress.tell("loading the store", done, total)

    kv = KeyValueStore.load(
        view, meta.number(schema.META_REVISION), meta.number(schema.META_COMPACT_REVISION), tell
    )
    rows = ((int.from_bytes(key, "big"), row) for key, row in meta.scan(Table.V2))
    tree = TreeV2.load(rows, meta.number(schema.META_V2_INDEX))
    lessor = Lessor.load(meta.scan(Table.LEASES))
    if lessor.leases:
        lessor.attach_all(kv.leased_keys())
    machine = Machine(
        kv,
        tree,
        AuthState.load(meta.scan(Table.AUTH)),
        Alarms.load(meta.scan(Table.ALARMS)),
        lessor,
        V2Auth.load(meta.scan(Table.AUTH)),
    )
    events = meta.scan(Table.META, schema.META_V2_EVENTS, schema.META_V2_EVENTS + b"\xff" * 5)
    found = (event for _, row in events for event in decode_row(row))
    machine.history_v2.load(found, tree.index)
    applied = meta.number(schema.META_APPLIED_INDEX)
    # A directory of a version that kept no chain begins one here.
    chain = meta.get(Table.META, schema.META_CHAIN) or bytes(8) + schema.encode_number(applied)
    machine.chain = schema.decode_number(chain[:8])
    machine.chain_origin = schema.decode_number(chain[8:])
    return (
        machine,
        Index(applied),
        Term(meta.number(schema.META_APPLIED_TERM)),
        meta.get(Table.META, schema.META_REPLICA_STATE) or b"",
    )


def check_same_cluster(config: Config, opened: Opened, given: frozenset[str]) -> None:
    """Refuse flags that describe another cluster than the directory holds.

    Raises:
        ConfigError: names both and the remedy.
    """
    if not config.is_new_cluster or "initial-cluster" not in given:
        return
    founders = config.founding_members()
    mine = [m for m in founders if m.name == config.name]
    described = cluster_id_of(founders)
    if mine and mine[0].member_id == opened.member_id:
        return
    if described != opened.cluster_id:
        raise ConfigError(
            f"--data-dir {config.data_dir} belongs to member {opened.member_id:x} of cluster "
            f"{opened.cluster_id:x}, but the flags describe cluster {described:x}: give the flags "
            "of that cluster, --initial-cluster-state existing, or another --data-dir",
        )


def next_incarnation(member: Path) -> int:
    """Count this start, durably, before anything is proposed."""
    path = member / _INCARNATION
    try:
        count = int(path.read_text()) + 1
    except (FileNotFoundError, ValueError):
        count = 1
    temporary = path.with_suffix(".next")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, str(count).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_directory(member)
    return count
