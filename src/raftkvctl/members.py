"""Commands of the v3 mode: ``member``."""

from __future__ import annotations

import argparse

from etcdwire import messages as m
from etcdwire.protobuf import Message
from kvclient.calls import R
from raftkvctl import printing
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect

_CLUSTER = "/etcdserverpb.Cluster/"


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the family."""
    member = commands.add_parser("member", help="members of the cluster")
    inner = member.add_subparsers(dest="member_command", metavar="COMMAND", required=True)
    command = inner.add_parser("list", parents=[common], allow_abbrev=False)
    command.set_defaults(run=_list)
    command = inner.add_parser("add", parents=[common], allow_abbrev=False)
    command.add_argument("name")
    command.add_argument("--peer-urls", default="", metavar="URLS")
    command.add_argument("--learner", action="store_true")
    command.set_defaults(run=_add)
    for name, run in (("remove", _remove), ("promote", _promote)):
        command = inner.add_parser(name, parents=[common], allow_abbrev=False)
        command.add_argument("member", help="member id in hex")
        command.set_defaults(run=run)
    command = inner.add_parser("update", parents=[common], allow_abbrev=False)
    command.add_argument("member", help="member id in hex")
    command.add_argument("--peer-urls", default="", metavar="URLS")
    command.set_defaults(run=_update)


def parse_id(text: str) -> int:
    """A member's id.

    Raises:
        UsageError: not a hexadecimal number.
    """
    try:
        return int(text, 16)
    except ValueError:
        raise UsageError(f"bad member ID arg ({text!r}), expecting ID in Hex") from None


def _call(options: Options, method: str, request: Message, response: type[R]) -> R:
    with connect(options) as client:
        path = (_CLUSTER + method).encode()
        return client.call(path, request, response, is_write=method != "MemberList")


def _status_of(row: m.Member) -> str:
    if row.unreachable:
        return f"unreachable ({row.unreachable})"
    return "started" if row.name else "unstarted"


def _list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    answer = _call(options, "MemberList", m.MemberListRequest(), m.MemberListResponse)
    rows = [
        [
            f"{row.ID:x}",
            _status_of(row),
            row.name,
            ",".join(row.peerURLs),
            ",".join(row.clientURLs),
            str(row.isLearner).lower(),
        ]
        for row in answer.members
    ]

    def simple() -> None:
        for row in rows:
            print(", ".join(row))

    header = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER")
    printing.show(options.output, answer, simple, table=lambda: printing.print_table(header, rows))
    return 0


def _cluster_of(answer: Message) -> int:
    header: m.ResponseHeader | None = getattr(answer, "header", None)
    return header.cluster_id if header is not None else 0


def _add(options: Options, arguments: argparse.Namespace) -> int:
    if not arguments.peer_urls:
        raise UsageError("member peer urls not provided.")
    request = m.MemberAddRequest(arguments.peer_urls.split(","), arguments.learner)
    answer = _call(options, "MemberAdd", request, m.MemberAddResponse)
    added = answer.member or m.Member()

    def simple() -> None:
        print(f"Member {added.ID:16x} added to cluster {_cluster_of(answer):16x}\n")
        pairs = [
            f"{arguments.name if row.ID == added.ID else row.name}={url}"
            for row in sorted(answer.members, key=lambda row: row.ID)
            for url in row.peerURLs
        ]
        print(f'ETCD_NAME="{arguments.name}"')
        print(f'ETCD_INITIAL_CLUSTER="{",".join(pairs)}"')
        print(f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{arguments.peer_urls}"')
        print('ETCD_INITIAL_CLUSTER_STATE="existing"')

    printing.show(options.output, answer, simple)
    return 0


def _remove(options: Options, arguments: argparse.Namespace) -> int:
    member_id = parse_id(arguments.member)
    request = m.MemberRemoveRequest(member_id)
    answer = _call(options, "MemberRemove", request, m.MemberRemoveResponse)
    text = f"Member {member_id:16x} removed from cluster {_cluster_of(answer):16x}"
    printing.show(options.output, answer, lambda: print(text))
    return 0


def _promote(options: Options, arguments: argparse.Namespace) -> int:
    member_id = parse_id(arguments.member)
    request = m.MemberPromoteRequest(member_id)
    answer = _call(options, "MemberPromote", request, m.MemberPromoteResponse)
    text = f"Member {member_id:16x} promoted in cluster {_cluster_of(answer):16x}"
    printing.show(options.output, answer, lambda: print(text))
    return 0


def _update(options: Options, arguments: argparse.Namespace) -> int:
    member_id = parse_id(arguments.member)
    if not arguments.peer_urls:
        raise UsageError("member peer urls not provided.")
    request = m.MemberUpdateRequest(member_id, arguments.peer_urls.split(","))
    answer = _call(options, "MemberUpdate", request, m.MemberUpdateResponse)
    text = f"Member {member_id:16x} updated in cluster {_cluster_of(answer):16x}"
    printing.show(options.output, answer, lambda: print(text))
    return 0
