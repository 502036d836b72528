"""Commands of the v2 mode about the cluster: ``member``, ``cluster-health``, ``backup``."""

from __future__ import annotations

import argparse
import http.client
import sys
import time
from pathlib import Path
from typing import Any, Final

from raftkvctl import backup
from raftkvctl.grammar import Commands
from raftkvctl.options import Options
from raftkvctl.v2_requests import administer, refuse, request, request_one

HEALTH_PAUSE_S: Final = 10.0


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare them."""
    command = commands.add_parser(
        "cluster-health", help="health of all members", parents=[common], allow_abbrev=False
    )
    command.add_argument("--forever", "-f", action="store_true", help="every ten seconds")
    command.set_defaults(run=_cluster_health)
    command = commands.add_parser(
        "backup", help="copy a member's directory", parents=[common], allow_abbrev=False
    )
    command.add_argument("--data-dir", default="", metavar="DIR")
    command.add_argument("--wal-dir", default="", metavar="DIR")
    command.add_argument("--backup-dir", default="", metavar="DIR")
    command.add_argument("--backup-wal-dir", default="", metavar="DIR")
    command.add_argument("--with-v3", action="store_true", help="accepted: both always are")
    command.set_defaults(run=_backup)
    member = commands.add_parser("member", help="members of the cluster")
    inner = member.add_subparsers(dest="member_command", metavar="COMMAND", required=True)
    for name, run, words in (
        ("list", _member_list, ()),
        ("add", _member_add, ("name", "peer_url")),
        ("remove", _member_remove, ("member",)),
        ("update", _member_update, ("member", "peer_urls")),
    ):
        command = inner.add_parser(name, parents=[common], allow_abbrev=False)
        for word in words:
            command.add_argument(word, nargs="?")
        command.set_defaults(run=run)


def _members(options: Options) -> list[dict[str, Any]]:
    members: list[dict[str, Any]] = administer(options, "GET", "/v2/members")["members"]
    return members


def _cluster_health(options: Options, arguments: argparse.Namespace) -> int:
    while arguments.forever:
        _look(options)
        sys.stdout.flush()
        time.sleep(HEALTH_PAUSE_S)
    return _look(options)


def _look(options: Options) -> int:
    healthy = 0
    members = _members(options)
    for member in members:
        problem = "no client URL is published"
        for url in member["clientURLs"]:
            try:
                status, data = request_one(options, url, "GET", "/health", b"", "", None)
            except (OSError, http.client.HTTPException) as error:
                problem = str(error)
                continue
            if status == 200 and data.get("health") == "true":
                problem = ""
                print(f"member {member['id']} is healthy: got healthy result from {url}")
                healthy += 1
                break
            problem = f"got unhealthy result from {url}"
        if problem:
            print(f"member {member['id']} is unhealthy: {problem}")
    if healthy == len(members):
        print("cluster is healthy")
        return 0
    if healthy > len(members) // 2:
        print("cluster is degraded")
        return 5
    print("cluster is unavailable")
    return 5


def _member_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    status, leader = request(options, "GET", "/v2/members/leader")
    leader_id = leader.get("id") if status == 200 else None
    for member in _members(options):
        peers, clients = ",".join(member["peerURLs"]), ",".join(member["clientURLs"])
        if not member["name"]:
            print(f"{member['id']}[unstarted]: peerURLs={peers}")
            continue
        is_leader = str(member["id"] == leader_id).lower()
        print(
            f"{member['id']}: name={member['name']} peerURLs={peers} clientURLs={clients} "
            f"isLeader={is_leader}"
        )
    return 0


def _member_add(options: Options, arguments: argparse.Namespace) -> int:
    if arguments.peer_url is None:
        raise refuse("Provide a name and a single member peerURL")
    data = administer(options, "POST", "/v2/members", {"peerURLs": [arguments.peer_url]})
    print(f"Added member named {arguments.name} with ID {data['id']} to cluster\n")
    pairs = [
        f"{m['name'] or arguments.name}={url}" for m in _members(options) for url in m["peerURLs"]
    ]
    print(f'ETCD_NAME="{arguments.name}"')
    print(f'ETCD_INITIAL_CLUSTER="{",".join(pairs)}"')
    print('ETCD_INITIAL_CLUSTER_STATE="existing"')
    return 0


def _member_remove(options: Options, arguments: argparse.Namespace) -> int:
    if arguments.member is None:
        raise refuse("Provide a single member ID")
    wanted = arguments.member.lower().removeprefix("0x")
    if all(member["id"] != wanted for member in _members(options)):
        raise refuse(f"Couldn't find a member in the cluster with an ID of {arguments.member}.")
    administer(options, "DELETE", f"/v2/members/{wanted}")
    print(f"Removed member {wanted} from cluster")
    return 0


def _member_update(options: Options, arguments: argparse.Namespace) -> int:
    if arguments.peer_urls is None:
        raise refuse(
            "Provide an ID and a list of comma separated peerURL "
            "(0xabcd http://example.com,http://example1.com)"
        )
    wanted = arguments.member.lower().removeprefix("0x")
    document = {"peerURLs": arguments.peer_urls.split(",")}
    administer(options, "PUT", f"/v2/members/{wanted}", document)
    print(f"Updated member with ID {wanted} in cluster")
    return 0


def _backup(options: Options, arguments: argparse.Namespace) -> int:
    del options
    if not arguments.data_dir or not arguments.backup_dir:
        raise refuse("backup needs --data-dir and --backup-dir")
    backup.copy_member(
        backup.Place(Path(arguments.data_dir), _path(arguments.wal_dir)),
        backup.Place(Path(arguments.backup_dir), _path(arguments.backup_wal_dir)),
    )
    return 0


def _path(text: str) -> Path | None:
    return Path(text) if text else None
