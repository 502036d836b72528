"""Offline or beside a running member: a copy of its directory that can be started on its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from raftkv.backend.environment import Environment
from raftkv.backend.errors import StorageError as BackendError
from raftkv.log.errors import StorageError as LogError
from raftkv.log.segment import list_segments, sync_directory
from raftkv.log.wal import read_log
from raftkvctl import member_directory
from raftkvctl.options import UsageError

ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Place:
    """Where a member lives."""

    data_dir: Path
    wal_dir: Path | None = None

    @property
    def store(self) -> Path:
        """Of its LMDB files."""
        return self.data_dir / "member" / "store"

    @property
    def log(self) -> Path:
        """Of its log's segments."""
        return self.wal_dir or self.data_dir / "member" / "wal"


def copy_member(source: Place, target: Place) -> None:
    """Copy the store, then the log: the log is never older, so that nothing is missing between.

    Start the copy with ``--force-new-cluster``: it becomes a cluster of one with all that the
    member knew. The member may run meanwhile.

    Raises:
        UsageError: there is no member, the target exists, or the member trims its log faster than
            it can be copied.
    """
    if not (source.store / "data.mdb").exists():
        raise UsageError(f"{source.data_dir}: no member of raftkvd lives here")
    for directory in (target.store.parent, target.log):
        if directory.exists():
            raise UsageError(f"{directory} exists: choose another directory or move it away")
    for _ in range(ATTEMPTS):
        try:
            _copy(source, target)
        except FileNotFoundError:
            pass  # a segment was trimmed while it was copied
        else:
            if _is_whole(target):
                for path in (target.store, target.log, target.store.parent):
                    sync_directory(path)
                return
        _remove(target)
    raise UsageError(
        f"{source.log}: the log was trimmed while it was copied, {ATTEMPTS} times: "
        "stop the member, or save a snapshot instead"
    )


def _copy(source: Place, target: Place) -> None:
    target.store.mkdir(parents=True, mode=0o700)
    target.log.mkdir(parents=True, mode=0o700)
    try:
        environment = Environment(source.store, readonly=True)
        try:
            environment.copy_to(target.store)
        finally:
            environment.close()
    except BackendError as error:
        raise UsageError(str(error)) from None
    for segment in list_segments(source.log):
        shutil.copyfile(segment, target.log / segment.name)
        (target.log / segment.name).chmod(0o600)
    incarnation = source.store.parent / "incarnation"
    if incarnation.exists():
        shutil.copyfile(incarnation, target.store.parent / "incarnation")


def _is_whole(target: Place) -> bool:
    """Whether the log begins no later than the store ends."""
    try:
        facts = member_directory.inspect(target.data_dir, target.wal_dir)
        contents, _, _ = read_log(target.log)
    except LogError as error:
        raise UsageError(str(error)) from None
    return contents.start_index <= facts.applied_index


def _remove(target: Place) -> None:
    shutil.rmtree(target.store.parent, ignore_errors=True)
    shutil.rmtree(target.log, ignore_errors=True)
