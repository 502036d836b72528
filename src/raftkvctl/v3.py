"""Commands of the v3 mode."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from etcdwire import messages as m
from etcdwire.protobuf import Message
from kvclient import KvClientError, prefix_end
from raftkvctl import (
    leases,
    locking,
    maintenance,
    member_directory,
    printing,
    restore,
    txn_text,
    users,
)
from raftkvctl.options import Options, UsageError
from raftkvctl.options import connect as _client

Command = Callable[[Options, argparse.Namespace], int]


def add_commands(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Declare every command."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, parents=[common])
        command.set_defaults(run=run)
        return command

    command = add("put", _put, "write a key")
    command.add_argument("key")
    command.add_argument("value", nargs="?", help="standard input when absent")
    command.add_argument("--prev-kv", action="store_true")
    command.add_argument("--ignore-value", action="store_true")
    command.add_argument("--lease", default="0", help="lease id in hex")
    command = add("get", _get, "read a key or a range")
    command.add_argument("key", nargs="?", default="")
    command.add_argument("range_end", nargs="?", default="")
    _add_range_flags(command)
    command = add("del", _delete, "delete a key or a range")
    command.add_argument("key", nargs="?", default="")
    command.add_argument("range_end", nargs="?", default="")
    command.add_argument("--prefix", action="store_true")
    command.add_argument("--from-key", action="store_true")
    command.add_argument("--prev-kv", action="store_true")
    command = add("txn", _txn, "run a transaction read from standard input")
    command.add_argument("--interactive", "-i", action="store_true")
    command = add("compaction", _compaction, "forget what is older than a revision")
    command.add_argument("revision", type=int)
    command.add_argument("--physical", action="store_true", help="accepted")
    command = add("watch", _watch, "print changes as they happen")
    command.add_argument("key", nargs="?", default="")
    command.add_argument("range_end", nargs="?", default="")
    command.add_argument("--prefix", action="store_true")
    command.add_argument("--rev", type=int, default=0)
    command.add_argument("--prev-kv", action="store_true")
    _add_member_commands(commands, common)
    _add_endpoint_commands(commands, common)
    command = add("move-leader", _move_leader, "hand leadership to another member")
    command.add_argument("target", help="member id in hex")
    _add_snapshot_commands(commands, common)
    users.add_commands(commands, common)
    maintenance.add_commands(commands, common)
    leases.add_commands(commands, common)
    locking.add_commands(commands, common)
    command = add("inspect", _inspect, "what a stopped member's directory holds, as JSON")
    command.add_argument("data_dir", type=Path)
    command.add_argument("--wal-dir", type=Path, default=None)
    add("version", _version, "print versions")


def _add_range_flags(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--prefix", action="store_true")
    add("--from-key", action="store_true")
    add("--limit", type=int, default=0)
    add("--rev", type=int, default=0)
    add("--order", default="", choices=("", "ASCEND", "DESCEND"))
    add("--sort-by", default="", choices=("", "CREATE", "KEY", "MODIFY", "VALUE", "VERSION"))
    add("--consistency", default="l", choices=("l", "s"))
    add("--keys-only", action="store_true")
    add("--count-only", action="store_true")
    add("--print-value-only", action="store_true")


def _add_member_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
) -> None:
    member = commands.add_parser("member", help="members of the cluster")
    inner = member.add_subparsers(dest="member_command", metavar="COMMAND", required=True)
    command = inner.add_parser("list", parents=[common])
    command.set_defaults(run=_member_list)
    command = inner.add_parser("add", parents=[common])
    command.add_argument("name")
    command.add_argument("--peer-urls", required=True)
    command.add_argument("--learner", action="store_true")
    command.set_defaults(run=_member_add)
    for name, run in (("remove", _member_remove), ("promote", _member_promote)):
        command = inner.add_parser(name, parents=[common])
        command.add_argument("member", help="member id in hex")
        command.set_defaults(run=run)
    command = inner.add_parser("update", parents=[common])
    command.add_argument("member", help="member id in hex")
    command.add_argument("--peer-urls", required=True)
    command.set_defaults(run=_member_update)


def _add_endpoint_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
) -> None:
    endpoint = commands.add_parser("endpoint", help="health and status of endpoints")
    inner = endpoint.add_subparsers(dest="endpoint_command", metavar="COMMAND", required=True)
    for name, run in (("health", _endpoint_health), ("status", _endpoint_status)):
        command = inner.add_parser(name, parents=[common])
        command.add_argument("--cluster", action="store_true", help="all members' endpoints")
        command.set_defaults(run=run)
    maintenance.add_hashkv(inner, common)


def _add_snapshot_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
) -> None:
    snapshot = commands.add_parser("snapshot", help="save, check and restore snapshots")
    inner = snapshot.add_subparsers(dest="snapshot_command", metavar="COMMAND", required=True)
    command = inner.add_parser("save", parents=[common])
    command.add_argument("file", type=Path)
    command.set_defaults(run=_snapshot_save)
    command = inner.add_parser("status", parents=[common])
    command.add_argument("file", type=Path)
    command.set_defaults(run=_snapshot_status)
    command = inner.add_parser("restore", parents=[common])
    command.add_argument("file", type=Path)
    command.add_argument("--name", default="default")
    command.add_argument("--data-dir", type=Path, default=None)
    command.add_argument("--wal-dir", type=Path, default=None)
    command.add_argument("--initial-cluster", default="default=http://localhost:2380")
    command.add_argument("--initial-cluster-token", default="etcd-cluster")
    command.add_argument("--initial-advertise-peer-urls", default="http://localhost:2380")
    command.add_argument(
        "--skip-hash-check", action="store_true", help="for a database that was copied"
    )
    command.add_argument(
        "--bump-revision", type=int, default=0, metavar="N", help="raise all revisions by N"
    )
    command.add_argument(
        "--mark-compacted", action="store_true", help="refuse what is older than the new revision"
    )
    command.set_defaults(run=_snapshot_restore)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _range_of(arguments: argparse.Namespace) -> tuple[bytes, bytes]:
    key, end = _bytes(arguments.key), _bytes(arguments.range_end)
    from_key = getattr(arguments, "from_key", False)
    if arguments.prefix and from_key:
        raise UsageError("--prefix and --from-key cannot be set at the same time, choose one")
    if end and (arguments.prefix or from_key):
        raise UsageError("a range end cannot be given with --prefix or --from-key")
    if arguments.prefix:
        return (key, prefix_end(key)) if key else (b"\0", b"\0")
    if from_key:
        return (key or b"\0"), b"\0"
    if not key:
        raise UsageError("a key is needed")
    return key, end


def _show(options: Options, message: Message) -> bool:
    """Print in a machine's format, if one was asked for."""
    if options.output == "json":
        printing.print_json(message)
    elif options.output == "fields":
        printing.print_fields(message)
    else:
        return False
    return True


def _put(options: Options, arguments: argparse.Namespace) -> int:
    value = b""
    if arguments.value is not None:
        value = _bytes(arguments.value)
    elif not arguments.ignore_value:
        value = sys.stdin.buffer.read()
    request = m.PutRequest(
        _bytes(arguments.key),
        value,
        int(arguments.lease, 16),
        arguments.prev_kv,
        arguments.ignore_value,
    )
    with _client(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Put", request, m.PutResponse, is_write=True)
    if not _show(options, answer):
        print("OK")
        if answer.prev_kv is not None:
            printing.print_key_values([answer.prev_kv], use_hex=options.use_hex)
    return 0


def _get(options: Options, arguments: argparse.Namespace) -> int:
    key, end = _range_of(arguments)
    order = {"": 0, "ASCEND": 1, "DESCEND": 2}[arguments.order]
    target = {"": 0, "KEY": 0, "VERSION": 1, "CREATE": 2, "MODIFY": 3, "VALUE": 4}[
        arguments.sort_by
    ]
    request = m.RangeRequest(
        key,
        end,
        arguments.limit,
        arguments.rev,
        order,
        target,
        serializable=arguments.consistency == "s",
        keys_only=arguments.keys_only,
        count_only=arguments.count_only,
    )
    with _client(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Range", request, m.RangeResponse)
    if not _show(options, answer):
        printing.print_key_values(
            answer.kvs,
            use_hex=options.use_hex,
            values_only=arguments.print_value_only,
            keys_only=arguments.keys_only,
        )
    return 0


def _delete(options: Options, arguments: argparse.Namespace) -> int:
    key, end = _range_of(arguments)
    request = m.DeleteRangeRequest(key, end, arguments.prev_kv)
    path = b"/etcdserverpb.KV/DeleteRange"
    with _client(options) as client:
        answer = client.call(path, request, m.DeleteRangeResponse, is_write=True)
    if not _show(options, answer):
        print(answer.deleted)
        printing.print_key_values(answer.prev_kvs, use_hex=options.use_hex)
    return 0


def _txn(options: Options, arguments: argparse.Namespace) -> int:
    request = txn_text.read(sys.stdin, interactive=arguments.interactive)
    with _client(options) as client:
        answer = client.call(b"/etcdserverpb.KV/Txn", request, m.TxnResponse, is_write=True)
    if _show(options, answer):
        return 0
    print("SUCCESS" if answer.succeeded else "FAILURE")
    for response in answer.responses:
        print()
        if response.response_put is not None:
            print("OK")
        elif response.response_delete_range is not None:
            print(response.response_delete_range.deleted)
        elif response.response_range is not None:
            printing.print_key_values(response.response_range.kvs, use_hex=options.use_hex)
    return 0


def _compaction(options: Options, arguments: argparse.Namespace) -> int:
    request = m.CompactionRequest(arguments.revision, arguments.physical)
    path = b"/etcdserverpb.KV/Compact"
    with _client(options) as client:
        client.call(path, request, m.CompactionResponse, is_write=True)
    print(f"compacted revision {arguments.revision}")
    return 0


def _watch(options: Options, arguments: argparse.Namespace) -> int:
    arguments.from_key = False
    key, end = _range_of(arguments)
    with _client(options) as client:
        for answer in client.watch(key, end, arguments.rev):
            if answer.canceled:
                print(f"watch was canceled ({answer.cancel_reason})", file=sys.stderr)
                return 1
            if options.output == "json":
                if answer.events:
                    printing.print_json(answer)
                continue
            for event in answer.events:
                print("DELETE" if event.type else "PUT", flush=True)
                if event.kv is not None:
                    printing.print_key_values([event.kv], use_hex=options.use_hex)
    return 0


def _member_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with _client(options) as client:
        answer = client.call(
            b"/etcdserverpb.Cluster/MemberList", m.MemberListRequest(), m.MemberListResponse
        )
    if _show(options, answer):
        return 0
    rows = [
        [
            f"{row.ID:x}",
            "started" if row.name else "unstarted",
            row.name,
            ",".join(row.peerURLs),
            ",".join(row.clientURLs),
            str(row.isLearner).lower(),
        ]
        for row in answer.members
    ]
    if options.output == "table":
        header = ("ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER")
        printing.print_table(header, rows)
    else:
        for row in rows:
            print(", ".join(row))
    return 0


def _member_add(options: Options, arguments: argparse.Namespace) -> int:
    with _client(options) as client:
        urls = arguments.peer_urls.split(",")
        added = client.member_add(urls, is_learner=arguments.learner)
        members = client.member_list(linearizable=False)
        cluster = client.status().cluster_id
    pairs = [
        f"{arguments.name if row.member_id == added.member_id else row.name}={url}"
        for row in members
        for url in row.peer_urls
    ]
    print(f"Member {added.member_id:16x} added to cluster {cluster:16x}\n")
    print(f'ETCD_NAME="{arguments.name}"')
    print(f'ETCD_INITIAL_CLUSTER="{",".join(pairs)}"')
    print(f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{arguments.peer_urls}"')
    print('ETCD_INITIAL_CLUSTER_STATE="existing"')
    return 0


def _member_id(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        raise UsageError(f"bad member ID arg ({text!r}), expecting ID in Hex") from None


def _member_remove(options: Options, arguments: argparse.Namespace) -> int:
    member_id = _member_id(arguments.member)
    with _client(options) as client:
        cluster = client.status().cluster_id
        client.member_remove(member_id)
    print(f"Member {member_id:16x} removed from cluster {cluster:16x}")
    return 0


def _member_promote(options: Options, arguments: argparse.Namespace) -> int:
    member_id = _member_id(arguments.member)
    with _client(options) as client:
        cluster = client.status().cluster_id
        client.member_promote(member_id)
    print(f"Member {member_id:16x} promoted in cluster {cluster:16x}")
    return 0


def _member_update(options: Options, arguments: argparse.Namespace) -> int:
    member_id = _member_id(arguments.member)
    with _client(options) as client:
        cluster = client.status().cluster_id
        client.member_update(member_id, arguments.peer_urls.split(","))
    print(f"Member {member_id:16x} updated in cluster {cluster:16x}")
    return 0


def _endpoint_health(options: Options, arguments: argparse.Namespace) -> int:
    unhealthy = 0
    for endpoint in maintenance.endpoints_of(options, arguments):
        started = time.monotonic()
        try:
            with _client(options, endpoint) as client:
                client.get(b"health")
        except KvClientError as error:
            unhealthy += 1
            print(f"{endpoint} is unhealthy: failed to commit proposal: {error.message}")
            continue
        took = (time.monotonic() - started) * 1000
        print(f"{endpoint} is healthy: successfully committed proposal: took = {took:.6f}ms")
    if unhealthy:
        print("Error: unhealthy cluster", file=sys.stderr)
    return 1 if unhealthy else 0


def _endpoint_status(options: Options, arguments: argparse.Namespace) -> int:
    rows = []
    documents = []
    failed = False
    for endpoint in maintenance.endpoints_of(options, arguments):
        try:
            with _client(options, endpoint) as client:
                answer = client.call(
                    b"/etcdserverpb.Maintenance/Status", m.StatusRequest(), m.StatusResponse
                )
        except KvClientError as error:
            print(f"Failed to get the status of endpoint {endpoint} ({error})", file=sys.stderr)
            failed = True
            continue
        header = answer.header or m.ResponseHeader()
        documents.append({"Endpoint": endpoint, "Status": printing.to_plain(answer)})
        rows.append(
            [
                endpoint,
                f"{header.member_id:x}",
                answer.version,
                _size_text(answer.dbSize),
                str(answer.leader == header.member_id).lower(),
                str(answer.isLearner).lower(),
                str(answer.raftTerm),
                str(answer.raftIndex),
                str(answer.raftAppliedIndex),
                ", ".join(answer.errors),
            ],
        )
    if options.output == "json":
        print(json.dumps(documents, separators=(",", ":")))
    elif options.output == "table":
        header_row = (
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
        printing.print_table(header_row, rows)
    else:
        for row in rows:
            print(", ".join(row))
    return 1 if failed else 0


def _size_text(size_bytes: int) -> str:
    """Sizes as etcdctl prints them: powers of a thousand, two digits."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size_bytes} B"


def _move_leader(options: Options, arguments: argparse.Namespace) -> int:
    target = _member_id(arguments.target)
    for endpoint in options.endpoints:
        with _client(options, endpoint) as client:
            status = client.status()
            if status.leader_id != status.member_id:
                continue
            client.move_leader(target)
            print(f"Leadership transferred from {status.leader_id:x} to {target:x}")
            return 0
    raise UsageError("no leader endpoint given: name the leader's endpoint in --endpoints")


def _snapshot_save(options: Options, arguments: argparse.Namespace) -> int:
    if len(options.endpoints) != 1:
        raise UsageError("snapshot must be requested to one selected node, not multiple ones")
    partial = arguments.file.with_name(arguments.file.name + ".part")
    descriptor_mode = 0o600
    with _client(options) as client, partial.open("wb") as file:
        partial.chmod(descriptor_mode)
        client.snapshot(file.write)
        file.flush()
    partial.replace(arguments.file)
    print(f"Snapshot saved at {arguments.file}")
    return 0


def _snapshot_status(options: Options, arguments: argparse.Namespace) -> int:
    found = restore.inspect(arguments.file)
    if options.output == "json":
        print(
            json.dumps(
                {
                    "hash": found.hash,
                    "revision": found.revision,
                    "totalKey": found.keys_count,
                    "totalSize": found.size_bytes,
                },
                separators=(",", ":"),
            ),
        )
    elif options.output == "table":
        row = [
            f"{found.hash:x}",
            str(found.revision),
            str(found.keys_count),
            _size_text(found.size_bytes),
        ]
        printing.print_table(("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"), [row])
    else:
        size = _size_text(found.size_bytes)
        print(f"{found.hash:x}, {found.revision}, {found.keys_count}, {size}")
    return 0


def _snapshot_restore(options: Options, arguments: argparse.Namespace) -> int:
    del options
    if arguments.bump_revision < 0 or arguments.mark_compacted != (arguments.bump_revision > 0):
        raise UsageError("--bump-revision wants a number above 0, and --mark-compacted beside it")
    restore.restore(
        arguments.file,
        restore.Target(
            name=arguments.name,
            data_dir=arguments.data_dir or Path(f"{arguments.name}.etcd"),
            wal_dir=arguments.wal_dir,
            initial_cluster=arguments.initial_cluster,
            token=arguments.initial_cluster_token,
            advertise_peer_urls=arguments.initial_advertise_peer_urls,
        ),
        skip_hash_check=arguments.skip_hash_check,
        bump_revision=arguments.bump_revision,
    )
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
    print(json.dumps(rows, separators=(",", ":")))
    return 0


def _version(options: Options, arguments: argparse.Namespace) -> int:
    del options, arguments
    print("raftkvctl version: 0.1.0")
    print("API version: 3.4")
    return 0
