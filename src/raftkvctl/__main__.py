"""``raftkvctl``: chooses the API mode, reads flags, turns errors into one line and a code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from kvclient import KvClientError, LoginError
from raftkvctl import options, printing, v2, v3

EXIT_ERROR = 1
EXIT_BAD_CONNECTION = 2
EXIT_BAD_FORMAT = 4
EXIT_BAD_ARGUMENTS = 128


def main() -> None:
    """Run the command line."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code (etcdctl's)."""
    common = _Parser(add_help=False)
    options.add_global_flags(common)
    mode = _mode(arguments)
    parser = _Parser(
        prog="raftkvctl",
        description=f"Command line for the v{mode} API (ETCDCTL_API or --api choose 2 or 3).",
        parents=[common],
    )
    (v2 if mode == "2" else v3).add_commands(parser, common)
    parsed = parser.parse_args(list(arguments))
    try:
        chosen = options.resolve(parsed, os.environ)
        code: int = parsed.run(chosen, parsed)
    except options.UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except LoginError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        return EXIT_BAD_CONNECTION
    except KvClientError as error:
        print(f"Error: {error.message}", file=sys.stderr)
        if error.endpoint:
            print(f"       (asked {error.endpoint})", file=sys.stderr)
        return EXIT_ERROR
    except printing.UnsupportedFormatError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_BAD_FORMAT
    except v2.V2CommandError as error:
        print(f"Error:  {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 130
    return code


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in etcdctl's form, with its exit code."""

    def error(self, message: str) -> NoReturn:
        """One line; ``--help`` has the rest."""
        print(f"Error: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(EXIT_BAD_ARGUMENTS)


def _mode(arguments: Sequence[str]) -> str:
    mode = os.environ.get("ETCDCTL_API", "3")
    for position, word in enumerate(arguments):
        if word == "--api" and position + 1 < len(arguments):
            mode = arguments[position + 1]
        elif word.startswith("--api="):
            mode = word[6:]
    return "2" if mode == "2" else "3"


if __name__ == "__main__":
    main()
