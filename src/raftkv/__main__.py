"""``raftkvd``."""

from __future__ import annotations

import sys

from raftkv.server.main import run


def main() -> None:
    """Run the daemon."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
