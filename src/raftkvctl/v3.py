"""Commands of the v3 mode: the key space, and the list of all others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from etcdwire import messages as m
from raftkvctl import (
    checks,
    leases,
    locking,
    maintenance,
    member_directory,
    members,
    mirror,
    printing,
    requests,
    snapshots,
    txn_text,
    users,
    watching,
)
from raftkvctl.options import Options, connect

Command = Callable[[Options, argparse.Namespace], int]


def add_commands(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Declare every command."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, parents=[common], allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    requests.add_arguments("put", add("put", _put, "write a key"))
    requests.add_arguments("get", add("get", _get, "read a key or a range"))
    requests.add_arguments("del", add("del", _delete, "delete a key or a range"))
    command = add("txn", _txn, "run a transaction read from standard input")
    command.add_argument("--interactive", "-i", action="store_true")
    command = add("compaction", _compaction, "forget what is older than a revision")
    command.add_argument("revision", type=int)
    command.add_argument("--physical", action="store_true", help="wait until the rows are gone")
    watching.add_commands(commands, common)
    mirror.add_commands(commands, common)
    checks.add_commands(commands, common)
    members.add_commands(commands, common)
    maintenance.add_commands(commands, common)
    snapshots.add_commands(commands, common)
    users.add_commands(commands, common)
    leases.add_commands(commands, common)
    locking.add_commands(commands, common)
    command = add("inspect", _inspect, "what a stopped member's directory holds, as JSON")
    command.add_argument("data_dir", type=Path)
    command.add_argument("--wal-dir", type=Path, default=None)
    add("version", _version, "print versions")


def _put(options: Options, arguments: argparse.Namespace) -> int:
    request = requests.build_put(arguments)
    with connect(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Put", request, m.PutResponse, is_write=True)
    printing.show(options.output, answer, lambda: _print_put(options, answer))
    return 0


def _print_put(options: Options, answer: m.PutResponse) -> None:
    print("OK")
    if answer.prev_kv is not None:
        printing.print_key_values([answer.prev_kv], use_hex=options.use_hex)


def _get(options: Options, arguments: argparse.Namespace) -> int:
    request = requests.build_range(arguments)
    if arguments.print_value_only and options.output != "simple":
        printing.require_simple("print-value-only")
    with connect(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
    printing.show(
        options.output,
        answer,
        lambda: printing.print_key_values(
            answer.kvs,
            use_hex=options.use_hex,
            values_only=arguments.print_value_only,
            keys_only=arguments.keys_only,
        ),
    )
    return 0


def _delete(options: Options, arguments: argparse.Namespace) -> int:
    request = requests.build_delete(arguments)
    path = b"/etcdserverpb.KV/DeleteRange"
    with connect(options) as client:
        answer = client.call(path, request, m.DeleteRangeResponse, is_write=True)
    printing.show(options.output, answer, lambda: _print_delete(options, answer))
    return 0


def _print_delete(options: Options, answer: m.DeleteRangeResponse) -> None:
    print(answer.deleted)
    printing.print_key_values(answer.prev_kvs, use_hex=options.use_hex)


def _txn(options: Options, arguments: argparse.Namespace) -> int:
    request = txn_text.read(sys.stdin, interactive=arguments.interactive)
    with connect(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse, is_write=True)
    printing.show(options.output, answer, lambda: _print_txn(options, answer))
    return 0


def _print_txn(options: Options, answer: m.TxnResponse) -> None:
    print("SUCCESS" if answer.succeeded else "FAILURE")
    for response in answer.responses:
        print()
        if response.response_put is not None:
            _print_put(options, response.response_put)
        elif response.response_delete_range is not None:
            _print_delete(options, response.response_delete_range)
        elif response.response_range is not None:
            printing.print_key_values(response.response_range.kvs, use_hex=options.use_hex)


def _compaction(options: Options, arguments: argparse.Namespace) -> int:
    request = m.CompactionRequest(arguments.revision, arguments.physical)
    path = b"/etcdserverpb.KV/Compact"
    with connect(options) as client:
        client.call(path, request, m.CompactionResponse, is_write=True)
    print(f"compacted revision {arguments.revision}")
    return 0


def _inspect(options: Options, arguments: argparse.Namespace) -> int:
    del options
    facts = member_directory.inspect(arguments.data_dir, arguments.wal_dir)
    rows = {
        "clusterID": f"{facts.cluster_id:x}",
        "memberID": f"{facts.member_id:x}",
        "term": facts.term,
        "lastTerm": facts.last_term,
        "lastIndex": facts.last_index,
        "commitIndex": facts.commit_index,
        "appliedIndex": facts.applied_index,
        "revision": facts.revision,
        "members": [
            {
                "ID": f"{member.member_id:x}",
                "name": member.name,
                "peerURLs": list(member.peer_urls),
                "isLearner": member.is_learner,
            }
            for member in facts.members
        ],
    }
    printing.print_plain(rows)
    return 0


def _version(options: Options, arguments: argparse.Namespace) -> int:
    del options, arguments
    print("raftkvctl version: 0.1.0")
    print("API version: 3.4")
    return 0
