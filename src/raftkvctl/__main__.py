"""``raftkvctl``: chooses the API mode, reads flags, turns errors into one line and a code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from kvclient import KvClientError, LoginError
from raftkvctl import grammar, options, printing, txn_text, v2, v3
from raftkvctl.grammar import EXIT_BAD_ARGUMENTS, EXIT_ERROR
from raftkvctl.v2_requests import V2CommandError

EXIT_BAD_CONNECTION = 2
EXIT_BAD_INPUT = 3
EXIT_BAD_FORMAT = 4


def main() -> None:
    """Run the command line."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command; the exit code (etcdctl's)."""
    common = grammar.Parser(add_help=False, allow_abbrev=False)
    options.add_global_flags(common)
    mode = _mode(arguments)
    parser = grammar.Parser(
        prog="raftkvctl",
        allow_abbrev=False,
        description=f"Command line for the v{mode} API (ETCDCTL_API or --api choose 2 or 3).",
        parents=[common],
    )
    (v2 if mode == "2" else v3).add_commands(parser, common)
    try:
        parsed = grammar.parse(parser, arguments)
        chosen = options.resolve(parsed, os.environ)
        if mode == "3":
            printing.check_format(chosen.output)
        code: int = parsed.run(chosen, parsed)
    except grammar.GrammarError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.code
    except options.UsageError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_BAD_ARGUMENTS
    except txn_text.InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
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
    except V2CommandError as error:
        print(f"{error.prefix}{error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"Error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return 130
    return code


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
