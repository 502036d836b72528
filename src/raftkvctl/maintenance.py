"""Commands of the v3 mode that look after members: ``alarm``, ``defrag``, ``endpoint``, ``move-leader``."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass

from etcdwire import messages as m
from etcdwire.protobuf import Message
from kvclient import Client, KvClientError, RequestError
from kvclient.calls import R
from raftkvctl import printing
from raftkvctl.grammar import Commands
from raftkvctl.members import parse_id
from raftkvctl.options import Options, UsageError, connect

_MAINTENANCE = "/etcdserverpb.Maintenance/"


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare them."""
    alarm = commands.add_parser("alarm", help="alarms of the members")
    inner = alarm.add_subparsers(dest="alarm_command", metavar="COMMAND", required=True)
    for name, run in (("list", _alarm_list), ("disarm", _alarm_disarm)):
        inner.add_parser(name, parents=[common], allow_abbrev=False).set_defaults(run=run)
    command = commands.add_parser(
        "defrag",
        help="give free space back to the file system",
        parents=[common],
        allow_abbrev=False,
    )
    command.add_argument("--cluster", action="store_true", help="all members, one after another")
    command.set_defaults(run=_defrag)
    command = commands.add_parser(
        "move-leader", help="hand leadership to another member", parents=[common],
        allow_abbrev=False,
    )  # fmt: skip
    command.add_argument("target", help="member id in hex")
    command.set_defaults(run=_move_leader)
    endpoint = commands.add_parser("endpoint", help="health and status of endpoints")
    inner = endpoint.add_subparsers(dest="endpoint_command", metavar="COMMAND", required=True)
    for name, run in (("health", _health), ("status", _status), ("hashkv", _hashkv)):
        command = inner.add_parser(name, parents=[common], allow_abbrev=False)
        command.add_argument("--cluster", action="store_true", help="all members' endpoints")
        command.set_defaults(run=run)
    command.add_argument("--rev", type=int, default=0, help="the present revision when absent")


def endpoints_of(options: Options, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Those given, or with ``--cluster`` those of all members."""
    if not arguments.cluster:
        return options.endpoints
    with connect(options) as client:
        members = client.member_list(linearizable=False)
    return tuple(url for member in members for url in member.client_urls)


def _call(client: Client, method: str, request: Message, response: type[R]) -> R:
    path = (_MAINTENANCE + method).encode()
    return client.call(path, request, response, is_write=method in ("Alarm", "MoveLeader"))


def _print_alarms(options: Options, answer: m.AlarmResponse) -> int:
    def simple() -> None:
        for alarm in answer.alarms:
            kind = m.AlarmType(alarm.alarm).name
            print(f"memberID:{alarm.memberID} alarm:{kind} ")

    # etcdctl asks for alarms in a way that leaves no header in the answer.
    answer.header = None
    printing.show(options.output, answer, simple)
    return 0


def _alarm_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        request = m.AlarmRequest(m.AlarmAction.GET)
        return _print_alarms(options, _call(client, "Alarm", request, m.AlarmResponse))


def _alarm_disarm(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    disarmed = m.AlarmResponse()
    with connect(options) as client:
        on = _call(client, "Alarm", m.AlarmRequest(m.AlarmAction.GET), m.AlarmResponse)
        for alarm in on.alarms:
            request = m.AlarmRequest(m.AlarmAction.DEACTIVATE, alarm.memberID, alarm.alarm)
            disarmed.alarms += _call(client, "Alarm", request, m.AlarmResponse).alarms
    return _print_alarms(options, disarmed)


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


def _move_leader(options: Options, arguments: argparse.Namespace) -> int:
    target = parse_id(arguments.target)
    for endpoint in options.endpoints:
        with connect(options, endpoint) as client:
            status = client.status()
            if status.leader_id != status.member_id:
                continue
            request = m.MoveLeaderRequest(target)
            answer = _call(client, "MoveLeader", request, m.MoveLeaderResponse)
        text = f"Leadership transferred from {status.leader_id:x} to {target:x}"
        printing.show(options.output, answer, lambda: print(text))  # noqa: B023 - used at once
        return 0
    raise UsageError("no leader endpoint given: name the leader's endpoint in --endpoints")


@dataclass(frozen=True, slots=True)
class _Health:
    """How one endpoint answered."""

    endpoint: str
    took_s: float
    error: str

    @property
    def text(self) -> str:
        took = printing.duration_text(self.took_s)
        if self.error:
            return f"{self.endpoint} is unhealthy: failed to commit proposal: {self.error}"
        return f"{self.endpoint} is healthy: successfully committed proposal: took = {took}"


def _look_at(options: Options, endpoint: str) -> _Health:
    started = time.monotonic()
    error = ""
    try:
        with connect(options, endpoint) as client:
            client.get(b"health")
    except RequestError as problem:
        # A key that nobody may read was asked for through a quorum all the same.
        error = "" if "permission denied" in problem.message else problem.message
    except KvClientError as problem:
        error = problem.message
    return _Health(endpoint, time.monotonic() - started, error)


def _health(options: Options, arguments: argparse.Namespace) -> int:
    if options.output == "protobuf":
        printing.refuse(options.output)
    found = [_look_at(options, endpoint) for endpoint in endpoints_of(options, arguments)]
    if options.output == "json":
        rows = []
        for one in found:
            row: dict[str, object] = {"endpoint": one.endpoint, "health": not one.error}
            row["took"] = printing.duration_text(one.took_s)
            rows.append({**row, "error": one.error} if one.error else row)
        printing.print_plain(rows)
    elif options.output == "fields":
        for one in found:
            print(f'"Endpoint" : {printing.quoted(one.endpoint.encode())}')
            print(f'"Health" : {str(not one.error).lower()}')
            print(f'"Took" : {printing.duration_text(one.took_s)}\n"Error" : {one.error}\n')
    elif options.output == "table":
        cells = [
            [
                one.endpoint,
                str(not one.error).lower(),
                printing.duration_text(one.took_s),
                one.error,
            ]
            for one in found
        ]
        printing.print_table(("ENDPOINT", "HEALTH", "TOOK", "ERROR"), cells)
    else:
        for one in found:
            print(one.text, file=sys.stderr)
    if any(one.error for one in found):
        print("Error: unhealthy cluster", file=sys.stderr)
        return 1
    return 0


def _status(options: Options, arguments: argparse.Namespace) -> int:
    if options.output == "protobuf":
        printing.refuse(options.output)
    found: list[tuple[str, m.StatusResponse]] = []
    failed = False
    for endpoint in endpoints_of(options, arguments):
        try:
            with connect(options, endpoint) as client:
                answer = _call(client, "Status", m.StatusRequest(), m.StatusResponse)
        except KvClientError as error:
            text = f"Failed to get the status of endpoint {endpoint} ({error.message})"
            print(text, file=sys.stderr)
            failed = True
        else:
            found.append((endpoint, answer))
    if options.output == "json":
        printing.print_plain(
            [{"Endpoint": e, "Status": printing.to_plain(answer)} for e, answer in found]
        )
    elif options.output == "fields":
        for endpoint, answer in found:
            _print_status_fields(endpoint, answer)
    elif options.output == "table":
        printing.print_table(_STATUS_TITLES, [_status_row(e, answer) for e, answer in found])
    else:
        for endpoint, answer in found:
            print(", ".join(_status_row(endpoint, answer)))
    return 1 if failed else 0


_STATUS_TITLES = (
    "ENDPOINT",
    "ID",
    "VERSION",
    "DB SIZE",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
)


def _status_row(endpoint: str, answer: m.StatusResponse) -> list[str]:
    member_id = answer.header.member_id if answer.header is not None else 0
    return [
        endpoint,
        f"{member_id:x}",
        answer.version,
        printing.size_text(answer.dbSize),
        str(answer.leader == member_id).lower(),
        str(answer.isLearner).lower(),
        str(answer.raftTerm),
        str(answer.raftIndex),
        str(answer.raftAppliedIndex),
        ", ".join(answer.errors),
    ]


def _print_status_fields(endpoint: str, answer: m.StatusResponse) -> None:
    printing.print_header_fields(answer.header)
    print(f'"Version" : {printing.quoted(answer.version.encode())}')
    print(f'"DBSize" : {answer.dbSize}\n"Leader" : {answer.leader}')
    print(f'"IsLearner" : {str(answer.isLearner).lower()}')
    print(f'"RaftIndex" : {answer.raftIndex}\n"RaftTerm" : {answer.raftTerm}')
    print(f'"RaftAppliedIndex" : {answer.raftAppliedIndex}')
    print(f'"Errors" : [{" ".join(answer.errors)}]')
    print(f'"Endpoint" : {printing.quoted(endpoint.encode())}\n')


def _hashkv(options: Options, arguments: argparse.Namespace) -> int:
    if options.output == "protobuf":
        printing.refuse(options.output)
    found: list[tuple[str, m.HashKVResponse]] = []
    failed = False
    for endpoint in endpoints_of(options, arguments):
        try:
            with connect(options, endpoint) as client:
                request = m.HashKVRequest(arguments.rev)
                found.append((endpoint, _call(client, "HashKV", request, m.HashKVResponse)))
        except KvClientError as error:
            text = f"Failed to get the hash of endpoint {endpoint} ({error.message})"
            print(text, file=sys.stderr)
            failed = True
    if options.output == "json":
        rows = [{"Endpoint": e, "HashKV": printing.to_plain(answer)} for e, answer in found]
        printing.print_plain(rows)
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
