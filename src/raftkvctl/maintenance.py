"""Commands of the v3 mode that look after members: ``alarm``, ``defrag``, ``endpoint hashkv``."""

from __future__ import annotations

import argparse
import json
import sys

from etcdwire import messages as m
from kvclient import Alarm, KvClientError
from raftkvctl import printing
from raftkvctl.options import Options, connect

_HASH_PATH = b"/etcdserverpb.Maintenance/HashKV"
Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare ``alarm`` and ``defrag``."""
    alarm = commands.add_parser("alarm", help="alarms of the members")
    inner = alarm.add_subparsers(dest="alarm_command", metavar="COMMAND", required=True)
    inner.add_parser("list", parents=[common]).set_defaults(run=_alarm_list)
    inner.add_parser("disarm", parents=[common]).set_defaults(run=_alarm_disarm)
    command = commands.add_parser(
        "defrag", help="give free space back to the file system", parents=[common]
    )
    command.add_argument("--cluster", action="store_true", help="all members, one after another")
    command.set_defaults(run=_defrag)


def add_hashkv(inner: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser) -> None:
    """Declare ``endpoint hashkv``."""
    command = inner.add_parser("hashkv", parents=[common])
    command.add_argument("--cluster", action="store_true", help="all members' endpoints")
    command.add_argument("--rev", type=int, default=0, help="the present revision when absent")
    command.set_defaults(run=_hashkv)


def endpoints_of(options: Options, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Those given, or with ``--cluster`` those of all members."""
    if not arguments.cluster:
        return options.endpoints
    with connect(options) as client:
        members = client.member_list(linearizable=False)
    return tuple(url for member in members for url in member.client_urls)


def _print_alarms(options: Options, alarms: tuple[Alarm, ...]) -> int:
    if options.output == "json":
        rows = [{"memberID": a.member_id, "alarm": m.AlarmType[a.kind].value} for a in alarms]
        print(json.dumps({"alarms": rows} if rows else {}, separators=(",", ":")))
    elif options.output in ("table", "fields"):
        printing.refuse(options.output)
    else:
        for alarm in alarms:
            print(f"memberID:{alarm.member_id} alarm:{alarm.kind} ")
    return 0


def _alarm_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        return _print_alarms(options, client.alarm_list())


def _alarm_disarm(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        return _print_alarms(options, client.alarm_disarm())


def _defrag(options: Options, arguments: argparse.Namespace) -> int:
    failed = False
    for endpoint in endpoints_of(options, arguments):
        try:
            with connect(options, endpoint) as client:
                client.defragment()
        except KvClientError as error:
            print(
                f"Failed to defragment etcd member[{endpoint}] ({error.message})", file=sys.stderr
            )
            failed = True
        else:
            print(f"Finished defragmenting etcd member[{endpoint}]")
    return 1 if failed else 0


def _hashkv(options: Options, arguments: argparse.Namespace) -> int:
    found: list[tuple[str, m.HashKVResponse]] = []
    failed = False
    for endpoint in endpoints_of(options, arguments):
        try:
            with connect(options, endpoint) as client:
                request = m.HashKVRequest(arguments.rev)
                found.append((endpoint, client.call(_HASH_PATH, request, m.HashKVResponse)))
        except KvClientError as error:
            text = f"Failed to get the hash of endpoint {endpoint} ({error.message})"
            print(text, file=sys.stderr)
            failed = True
    if options.output == "json":
        rows = [{"Endpoint": e, "HashKV": printing.to_plain(answer)} for e, answer in found]
        print(json.dumps(rows, separators=(",", ":")))
    elif options.output == "table":
        printing.print_table(("ENDPOINT", "HASH"), [[e, str(a.hash)] for e, a in found])
    elif options.output == "fields":
        for endpoint, answer in found:
            printing.print_header_fields(answer.header)
            print(f'"Endpoint" : "{endpoint}"\n"Hash" : {answer.hash}\n')
    else:
        for endpoint, answer in found:
            print(f"{endpoint}, {answer.hash}")
    return 1 if failed else 0
