"""Entry point: a thin client, so that ``juju status`` costs little more than Python's start."""

import sys


def main() -> int:
    """Run the command line, or the daemon when asked for it."""
    if len(sys.argv) > 1 and sys.argv[1] == "--daemon":
        from localjuju.daemon import serve  # noqa: PLC0415

        return serve(int(sys.argv[2]))
    from localjuju.client import run  # noqa: PLC0415

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
