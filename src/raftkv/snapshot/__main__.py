"""``python -m raftkv.snapshot STORE FILE``: write one snapshot, for a member that goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from raftkv.backend.errors import StorageError
from raftkv.snapshot.export import export_file

NICE: Final = 10
"""The member itself and the programs beside it come first."""


def main() -> int:
    """Write the snapshot; the exit code."""
    store, target = map(Path, sys.argv[1:])
    os.nice(NICE)
    try:
        export_file(store, target)
    except (StorageError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
