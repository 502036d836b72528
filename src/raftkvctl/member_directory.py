"""Offline: what a member's directory holds, without changing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError as BackendError
from raftkv.backend.schema import Table
from raftkv.log.errors import StorageError as LogError
from raftkv.log.wal import read_log
from raftkv.replica.forcing import read_membership
from raftkv.replica.inputs import Boot
from raftkv.values import Index, Member, MemberId, Term
from raftkvctl.options import UsageError


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """One member's directory. Compare (last_term, last_index) to find the freshest survivor."""

    cluster_id: int
    member_id: int
    term: int
    last_term: int
    last_index: int
    commit_index: int
    applied_index: int
    revision: int
    members: tuple[Member, ...]


def inspect(data_dir: Path, wal_dir: Path | None) -> DirectoryFacts:
    """Read a member's directory; best while the member is stopped.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    store = data_dir / "member" / "store"
    if not (store / "data.mdb").exists():
        raise UsageError(f"{data_dir}: no member of raftkvd lives here")
    try:
        contents, _, _ = read_log(wal_dir or data_dir / "member" / "wal")
        environment = Environment(store, readonly=True)
        view = environment.view()
    except (BackendError, LogError) as error:
        raise UsageError(str(error)) from None
    hard_state = contents.hard_state
    boot = Boot(
        member_id=MemberId(contents.metadata.member_id),
        incarnation=0,
        hard_state=(hard_state.term, hard_state.vote, hard_state.commit),
        log_start=contents.start_index,
        log_start_term=contents.start_term,
        entries=contents.entries,
        applied=Index(view.number(schema.META_APPLIED_INDEX)),
        applied_term=Term(view.number(schema.META_APPLIED_TERM)),
        state=view.get(Table.META, schema.META_REPLICA_STATE) or b"",
    )
    last_term, last_index = boot.log_start_term, boot.log_start
    if contents.entries:
        last_term, last_index = contents.entries[-1].term, contents.entries[-1].index
    members = read_membership(boot).members
    facts = DirectoryFacts(
        contents.metadata.cluster_id,
        boot.member_id,
        max(hard_state.term, last_term),
        max(last_term, boot.applied_term),
        max(last_index, boot.applied),
        max(hard_state.commit, boot.applied),
        boot.applied,
        view.number(schema.META_REVISION),
        tuple(members[i] for i in sorted(members)),
    )
    view.close()
    environment.close()
    return facts
