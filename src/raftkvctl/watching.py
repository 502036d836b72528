"""Commands of the v3 mode: ``watch``, once or interactively, printing or running a command."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from etcdwire import messages as m
from etcdwire.protobuf import encode
from kvclient import Client, KvClientError, prefix_end
from kvclient.watches import Watch, WatchCanceledError
from raftkvctl import grammar, printing
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect
from raftkvctl.requests import to_bytes

EXIT_INTERRUPTED = 5
EXIT_BAD_INPUT = 3


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare ``watch``."""
    command = commands.add_parser(
        "watch",
        help="print changes as they happen, or run a command for each (-- COMMAND ...)",
        parents=[common],
        allow_abbrev=False,
    )
    _add_arguments(command)
    command.add_argument(
        "--interactive", "-i", action="store_true", help="read watches from standard input"
    )
    command.set_defaults(run=_watch, takes_exec=True)


def _add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("words", nargs="*", metavar="KEY [RANGE_END]")
    command.add_argument("--prefix", action="store_true")
    command.add_argument("--rev", type=int, default=0)
    command.add_argument("--prev-kv", action="store_true")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one line asks for."""

    key: bytes
    range_end: bytes
    start_revision: int
    prev_kv: bool
    command: tuple[str, ...] = ()
    """To be run for each event."""


def wanted_of(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Wanted:
    """What to watch; the key may come from ETCDCTL_WATCH_KEY and ETCDCTL_WATCH_RANGE_END.

    Raises:
        UsageError: no key, two keys, or a separator without a command.
    """
    words: list[str] = list(arguments.words)
    from_environment = environment.get("ETCDCTL_WATCH_KEY", "")
    if arguments.exec is not None and not arguments.exec:
        raise UsageError("bad number of arguments (found separator --, but no commands)")
    if from_environment:
        if words:
            raise UsageError("bad number of arguments (found conflicting environment key)")
        words = [from_environment]
        if environment.get("ETCDCTL_WATCH_RANGE_END"):
            words.append(environment["ETCDCTL_WATCH_RANGE_END"])
    if not 1 <= len(words) <= 2:
        raise UsageError("bad number of arguments")
    key = to_bytes(words[0])
    end = to_bytes(words[1]) if len(words) > 1 else b""
    if arguments.prefix:
        if end:
            raise UsageError("`range_end` and `--prefix` are mutually exclusive")
        key, end = (key, prefix_end(key)) if key else (b"\0", b"\0")
    return Wanted(key, end, arguments.rev, arguments.prev_kv, tuple(arguments.exec or ()))


def _watch(options: Options, arguments: argparse.Namespace) -> int:
    range_end = os.environ.get("ETCDCTL_WATCH_RANGE_END", "")
    if range_end and not os.environ.get("ETCDCTL_WATCH_KEY"):
        raise UsageError(
            f"ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={json.dumps(range_end)}"
        )
    if arguments.interactive:
        return _Interactive(options).run(sys.stdin)
    wanted = wanted_of(arguments, os.environ)
    with connect(options) as client:
        code = _Shown(options, threading.Lock()).run(client, wanted)
    if code is not None:
        return code
    print("Error: watch is canceled by the server", file=sys.stderr)
    return EXIT_INTERRUPTED


@dataclass(slots=True)
class _Shown:
    """One watch whose events are printed, or handed to a command."""

    options: Options
    printing: threading.Lock
    """Watches of one terminal print one answer at a time."""
    watch: Watch | None = None

    def run(self, client: Client, wanted: Wanted) -> int | None:
        """Until the server cancels it (None), or the command fails: its exit code."""
        self.watch = Watch(
            client,
            wanted.key,
            wanted.range_end,
            wanted.start_revision,
            prev_kv=wanted.prev_kv,
        )
        try:
            for answer in self.watch.answers():
                with self.printing:
                    self._print(answer)
                    # Here, where no other watch is in the middle of a line: a command writes to
                    # the same terminal, and must find this one's lines there, whole.
                    sys.stdout.flush()
                code = _run_for_each(wanted.command, answer)
                if code:
                    return code
        except WatchCanceledError as error:
            with self.printing:
                print(f"watch was canceled ({error.message})", file=sys.stderr)
                self._print(error.answer)
        return None

    def _print(self, answer: m.WatchResponse) -> None:
        output = self.options.output
        is_progress = not answer.events and not answer.canceled
        if is_progress:
            revision = answer.header.revision if answer.header is not None else 0
            print(f"progress notify: {revision}")
        if output == "json":
            printing.print_plain(_plain(answer))
        elif output == "fields":
            _print_fields(answer)
        elif output == "protobuf":
            printing.write_raw(encode(answer))
        elif output == "table":
            printing.refuse(output)
        else:
            for event in answer.events:
                print("DELETE" if event.type else "PUT")
                rows = [row for row in (event.prev_kv, event.kv) if row is not None]
                printing.print_key_values(rows, use_hex=self.options.use_hex)


def _plain(answer: m.WatchResponse) -> dict[str, Any]:
    """As etcdctl prints the library's answer, whose fields have Go's names."""
    return {
        "Header": printing.to_plain(answer.header or m.ResponseHeader()),
        "Events": [printing.to_plain(event) for event in answer.events],
        "CompactRevision": answer.compact_revision,
        "Canceled": answer.canceled,
        "Created": answer.created,
    }


def _print_fields(answer: m.WatchResponse) -> None:
    printing.print_header_fields(answer.header)
    for event in answer.events:
        print(f'"Type" : {"DELETE" if event.type else "PUT"}')
        if event.prev_kv is not None:
            printing.print_key_value_fields(event.prev_kv, "Prev")
        printing.print_key_value_fields(event.kv or m.KeyValue())
    sys.stdout.flush()


def _run_for_each(command: Sequence[str], answer: m.WatchResponse) -> int:
    """Run a command per event, with the event in its environment; 1 as soon as one fails."""
    if not command:
        return 0
    revision = answer.header.revision if answer.header is not None else 0
    for event in answer.events:
        row = event.kv or m.KeyValue()
        environment = {
            **os.environ,
            "ETCD_WATCH_REVISION": str(revision),
            "ETCD_WATCH_EVENT_TYPE": '"DELETE"' if event.type else '"PUT"',
            "ETCD_WATCH_KEY": printing.quoted(row.key),
            "ETCD_WATCH_VALUE": printing.quoted(row.value),
        }
        try:
            done = subprocess.run(command, env=environment, check=False)
            problem = f"exit status {done.returncode}" if done.returncode else ""
        except OSError as error:
            problem = f"fork/exec {command[0]}: {(error.strerror or str(error)).lower()}"
        if problem:
            words = " ".join(json.dumps(word) for word in command)
            print(f"command [{words}] error ({problem})", file=sys.stderr)
            return 1
    return 0


@dataclass(slots=True)
class _Interactive:
    """Watches as they are typed: ``watch KEY [END] [flags] [-- COMMAND]``, ``progress``."""

    options: Options
    lock: threading.Lock = field(default_factory=threading.Lock)
    watches: list[_Shown] = field(default_factory=list)

    def run(self, source: TextIO) -> int:
        """Until standard input ends, which is an error as it is to etcdctl."""
        for line in source:
            self._line(line.rstrip("\n"))
        print("Error: Error reading watch request line: EOF", file=sys.stderr)
        return EXIT_BAD_INPUT

    def _line(self, line: str) -> None:
        try:
            words = shlex.split(line)
        except ValueError as error:
            print(f"Invalid command {line} ({error})", file=sys.stderr)
            return
        if not words:
            print(f"Invalid command: {line} (watch and progress supported)", file=sys.stderr)
        elif words[0] == "progress":
            for shown in self.watches:
                if shown.watch is not None:
                    shown.watch.request_progress()
        elif words[0] != "watch":
            print(f"Invalid command {line} (only support watch)", file=sys.stderr)
        elif len(words) == 1 and not os.environ.get("ETCDCTL_WATCH_KEY"):
            text = "command type or key is not provided"
            print(f"Invalid command {line} ({text})", file=sys.stderr)
        else:
            self._start(line, words[1:])

    def _start(self, line: str, words: Sequence[str]) -> None:
        parser = grammar.Parser(prog="watch", add_help=False, allow_abbrev=False)
        parser.set_defaults(takes_exec=True)
        _add_arguments(parser)
        try:
            wanted = wanted_of(grammar.parse(parser, words), os.environ)
        except (UsageError, grammar.GrammarError) as error:
            print(f"Invalid command {line} ({error})", file=sys.stderr)
            return
        shown = _Shown(self.options, self.lock)
        self.watches.append(shown)
        threading.Thread(target=self._follow, args=(shown, wanted), daemon=True).start()

    def _follow(self, shown: _Shown, wanted: Wanted) -> None:
        try:
            with connect(self.options) as client:
                code = shown.run(client, wanted)
        except (KvClientError, printing.UnsupportedFormatError) as error:
            print(f"Error: {error}", file=sys.stderr)
        else:
            if code:
                sys.stdout.flush()
                os._exit(code)  # a command failed: the terminal's thread waits for a line
