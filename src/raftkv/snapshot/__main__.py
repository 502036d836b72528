"""Work on snapshots for a member that goes on, in a process of its own.

``python -m raftkv.snapshot export STORE FILE``  write one in etcd's form, for clients
``python -m raftkv.snapshot spool STORE FILE``   write one in our own form, for a member
``python -m raftkv.snapshot unpack FILE STORE``  verify one in our own form and make a backend of it

A gigabyte is seconds of computing, which the member's loop and its clients must not feel. ``spool``
prints what it has written as JSON. What went wrong stands in the last line of standard error; the
exit code is then 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from raftkv.backend.errors import StorageError
from raftkv.snapshot.between_members import spool_file, unpack_file
from raftkv.snapshot.export import export_file

NICE: Final = 10
"""The member itself and the programs beside it come first."""


def _spool(store: Path, target: Path) -> None:
    index, term = spool_file(store, target)
    print(json.dumps({"index": index, "term": term}))


_VERBS: Final[dict[str, Callable[[Path, Path], object]]] = {
    "export": export_file,
    "spool": _spool,
    "unpack": unpack_file,
}


def main() -> int:
    """Do it; the exit code."""
    verb, source, target = sys.argv[1:]
    os.nice(NICE)
    try:
        _VERBS[verb](Path(source), Path(target))
    except (StorageError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
