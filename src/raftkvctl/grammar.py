"""etcdctl's grammar on argparse: flags anywhere, boolean flags with values, its exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

EXIT_ERROR: Final = 1
EXIT_BAD_ARGUMENTS: Final = 128
Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class GrammarError(Exception):
    """Words that are no command line; unknown ones are code 1, a wrong number of them 128."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Parser(argparse.ArgumentParser):
    """Says what is wrong in etcdctl's form, with its exit code."""

    def error(self, message: str) -> NoReturn:
        """One line; ``--help`` has the rest.

        Raises:
            GrammarError: always.
        """
        is_number = "required" in message or message.startswith("unrecognized arguments: ")
        code = EXIT_BAD_ARGUMENTS if is_number else EXIT_ERROR
        raise GrammarError(f"{message} (see {self.prog} --help)", code)


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line in which flags and arguments may be mixed, as Go's flag sets allow.

    What follows ``--`` are arguments, except for commands that run another: there it is kept in
    ``exec``, and for ``lock`` everything behind the second argument is.

    Raises:
        GrammarError: they mean nothing.
    """
    path, flags, arguments, rest = _sort_words(parser, words)
    takes_exec = _leaf(parser, path).get_default("takes_exec")
    if rest is not None and not takes_exec:
        arguments += rest
    line = [*path, *flags]
    if arguments:
        line += ["--", *arguments]
    parsed = parser.parse_args(line)
    if takes_exec:
        parsed.exec = rest
    return parsed


def _sort_words(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[list[str], list[str], list[str], list[str] | None]:
    """(commands, flags, arguments, what follows ``--``)."""
    path: list[str] = []
    flags: list[str] = []
    arguments: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            return path, flags, arguments, list(words[at:])
        if not word.startswith("-") or word == "-":
            below = _below(parser, word)
            if below is not None:
                parser = below
                path.append(word)
                continue
            arguments.append(word)
            if len(arguments) > 1 and _has_remainder(parser):
                return path, flags, [*arguments, *words[at:]], None
            continue
        taken, used = _flag(parser, word, words[at] if at < len(words) else None)
        flags += taken
        at += used
    return path, flags, arguments, None


def _flag(
    parser: argparse.ArgumentParser, word: str, following: str | None
) -> tuple[list[str], int]:
    """A flag as argparse wants it, and how many further words belong to it."""
    name, equals, value = word.partition("=")
    action = _action(parser, name)
    if action is None:
        parser.error(f"unknown flag: {name}")
    if action.nargs == 0:
        if not equals or value in _TRUE:
            return [name], 0
        return ([] if value in _FALSE else [word]), 0
    if equals or action.nargs == "?" or following is None:
        return [word], 0
    return [f"{name}={following}" if name.startswith("--") else name + following], 1


def _action(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    actions: dict[str, argparse.Action] = parser._option_string_actions  # noqa: SLF001
    return actions.get(name) or (actions.get(name[:2]) if not name.startswith("--") else None)


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001 - the only place that knows them
        if isinstance(action, Commands):
            return dict(action.choices)
    return {}


def _below(parser: argparse.ArgumentParser, word: str) -> argparse.ArgumentParser | None:
    return _subcommands(parser).get(word)


def _leaf(parser: argparse.ArgumentParser, path: Sequence[str]) -> argparse.ArgumentParser:
    for word in path:
        parser = _below(parser, word) or parser
    return parser


def _has_remainder(parser: argparse.ArgumentParser) -> bool:
    return any(action.nargs == argparse.REMAINDER for action in parser._actions)  # noqa: SLF001
