"""Snapshots between members: every row of a backend in our own form (``backend.stream``)."""

from __future__ import annotations

import shutil
from pathlib import Path

from raftkv.backend import schema
from raftkv.backend.environment import Environment
from raftkv.backend.stream import export_chunks, import_file
from raftkv.snapshot.export import new_file, reading


def spool_file(store: Path, target: Path) -> tuple[int, int]:
    """Write the present state of a backend, which a member may have open; its index and term.

    LMDB keeps the pages of that state for as long as this takes, however slowly the file then
    travels: the backend of a member under full writes does not grow meanwhile.

    Raises:
        StorageError: the backend cannot be read.
        OSError: the disk is full, or the target exists.
    """
    with reading(store) as view:
        with new_file(target) as file:
            for chunk in export_chunks(view):
                file.write(chunk)
        return view.number(schema.META_APPLIED_INDEX), view.number(schema.META_APPLIED_TERM)


def unpack_file(path: Path, directory: Path) -> None:
    """Verify a snapshot by its hash and make a backend of it; whose it is, is not written.

    Raises:
        StorageError: damaged; the directory is of no use then.
        OSError: the disk is full.
    """
    shutil.rmtree(directory, ignore_errors=True)
    environment = Environment(directory)
    try:
        import_file(path, environment, skip=schema.LOCAL_META)
    finally:
        environment.close()
