"""Commands of the v3 mode: ``snapshot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from raftkvctl import printing, restore
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the family."""
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


def _snapshot_save(options: Options, arguments: argparse.Namespace) -> int:
    if len(options.endpoints) != 1:
        raise UsageError("snapshot must be requested to one selected node, not multiple ones")
    partial = arguments.file.with_name(arguments.file.name + ".part")
    descriptor_mode = 0o600
    with connect(options) as client, partial.open("wb") as file:
        partial.chmod(descriptor_mode)
        client.snapshot(file.write)
        file.flush()
    partial.replace(arguments.file)
    print(f"Snapshot saved at {arguments.file}")
    return 0


def _snapshot_status(options: Options, arguments: argparse.Namespace) -> int:
    found = restore.inspect(arguments.file)
    size = printing.size_text(found.size_bytes)
    if options.output == "json":
        printing.print_plain(
            {
                "hash": found.hash,
                "revision": found.revision,
                "totalKey": found.keys_count,
                "totalSize": found.size_bytes,
            }
        )
    elif options.output == "fields":
        print(f'"Hash" : {found.hash}\n"Revision" : {found.revision}')
        print(f'"Keys" : {found.keys_count}\n"Size" : {found.size_bytes}')
    elif options.output == "table":
        row = [f"{found.hash:x}", str(found.revision), str(found.keys_count), size]
        printing.print_table(("HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE"), [row])
    elif options.output == "protobuf":
        printing.refuse(options.output)
    else:
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
