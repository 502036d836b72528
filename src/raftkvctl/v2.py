"""Commands of the v2 mode: the first of etcdctl's that people use."""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from raftkvctl.options import Options

EXIT_V2_ERROR = 4


class V2CommandError(Exception):
    """An error of the v2 API, or nobody to ask."""

    def __init__(self, message: str, exit_code: int = EXIT_V2_ERROR) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def add_commands(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Declare every command."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, parents=[common])
        command.set_defaults(run=run)
        return command

    for name, text in (("set", "write a key"), ("mk", "create a key"), ("update", "change a key")):
        command = add(name, _set, text)
        command.add_argument("key")
        command.add_argument("value", nargs="?")
        command.add_argument("--ttl", type=int, default=0)
        command.add_argument("--swap-with-value", default=None)
        command.add_argument("--swap-with-index", default=None)
    command = add("get", _get, "read a key")
    command.add_argument("key")
    command.add_argument("--quorum", "-q", action="store_true")
    command = add("ls", _ls, "list a directory")
    command.add_argument("key", nargs="?", default="/")
    command.add_argument("--recursive", "-r", action="store_true")
    command.add_argument("--sort", action="store_true")
    command.add_argument("-p", action="store_true", dest="slash")
    command = add("mkdir", _mkdir, "make a directory")
    command.add_argument("key")
    command.add_argument("--ttl", type=int, default=0)
    command = add("rm", _rm, "remove a key or a directory")
    command.add_argument("key")
    command.add_argument("--recursive", "-r", action="store_true")
    command.add_argument("--dir", action="store_true")
    command = add("rmdir", _rm, "remove an empty directory")
    command.add_argument("key")
    command.set_defaults(dir=True, recursive=False)
    command = add("watch", _watch, "wait for a change")
    command.add_argument("key")
    command.add_argument("--recursive", "-r", action="store_true")
    command.add_argument("--forever", "-f", action="store_true")
    command.add_argument("--after-index", type=int, default=0)
    add("cluster-health", _cluster_health, "health of all members")
    member = commands.add_parser("member", help="members of the cluster")
    inner = member.add_subparsers(dest="member_command", metavar="COMMAND", required=True)
    inner.add_parser("list", parents=[common]).set_defaults(run=_member_list)
    command = inner.add_parser("add", parents=[common])
    command.add_argument("name")
    command.add_argument("peer_url")
    command.set_defaults(run=_member_add)
    command = inner.add_parser("remove", parents=[common])
    command.add_argument("member")
    command.set_defaults(run=_member_remove)


def request(
    options: Options,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "application/x-www-form-urlencoded",
    timeout_s: float | None = None,
) -> tuple[int, Any]:
    """(HTTP status, parsed body) from the first endpoint that answers.

    Raises:
        V2CommandError: nobody answers.
    """
    problem = ""
    for endpoint in options.endpoints:
        try:
            return _request_one(options, endpoint, method, path, body, content_type, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            problem = f"{endpoint}: {error}"
    raise V2CommandError(
        f"client: etcd cluster is unavailable or misconfigured; error: {problem}", 1
    )


def _request_one(
    options: Options,
    endpoint: str,
    method: str,
    path: str,
    body: bytes,
    content_type: str,
    timeout_s: float | None,
) -> tuple[int, Any]:
    parts = urlsplit(endpoint)
    limit = options.timeout_s if timeout_s is None else timeout_s
    host, port = parts.hostname or "localhost", parts.port or 2379
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = options.tls.context()
        context.set_alpn_protocols(["http/1.1"])
        connection = http.client.HTTPSConnection(
            host, port, timeout=limit or None, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=limit or None)
    try:
        connection.request(method, path, body or None, {"Content-Type": content_type})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data.strip() else {}
    except ValueError:
        raise V2CommandError(f"{endpoint} does not serve the v2 API (--enable-v2)", 1) from None
    finally:
        connection.close()


def _keys(
    options: Options,
    method: str,
    key: str,
    query: dict[str, object] | None = None,
    form: dict[str, object] | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    path = "/v2/keys/" + quote(key.strip("/"), safe="/")
    if query:
        path += "?" + urlencode(query)
    body = urlencode(form).encode() if form else b""
    status, data = request(options, method, path, body, timeout_s=timeout_s)
    if status >= 400:
        if "errorCode" not in data:
            raise V2CommandError(str(data.get("message", f"HTTP status {status}")))
        raise V2CommandError(
            f"{data['errorCode']}: {data['message']} ({data['cause']}) [{data['index']}]"
        )
    result: dict[str, Any] = data
    return result


def _set(options: Options, arguments: argparse.Namespace) -> int:
    value = arguments.value if arguments.value is not None else sys.stdin.read()
    form: dict[str, object] = {"value": value}
    if arguments.ttl:
        form["ttl"] = arguments.ttl
    if arguments.command == "mk":
        form["prevExist"] = "false"
    elif arguments.command == "update":
        form["prevExist"] = "true"
    if arguments.swap_with_value is not None:
        form["prevValue"] = arguments.swap_with_value
    if arguments.swap_with_index is not None:
        form["prevIndex"] = arguments.swap_with_index
    data = _keys(options, "PUT", arguments.key, form=form)
    print(json.dumps(data) if options.output == "json" else data["node"].get("value", ""))
    return 0


def _get(options: Options, arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {"quorum": "true"} if arguments.quorum else {}
    data = _keys(options, "GET", arguments.key, query)
    if data["node"].get("dir"):
        raise V2CommandError(f"{arguments.key}: is a directory", 1)
    print(json.dumps(data) if options.output == "json" else data["node"].get("value", ""))
    return 0


def _ls(options: Options, arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {}
    if arguments.recursive:
        query["recursive"] = "true"
    if arguments.sort:
        query["sorted"] = "true"
    data = _keys(options, "GET", arguments.key, query)
    _print_nodes(data["node"].get("nodes", []), slash=arguments.slash)
    return 0


def _print_nodes(nodes: list[dict[str, Any]], *, slash: bool) -> None:
    stack = list(reversed(nodes))
    while stack:
        node = stack.pop()
        print(node["key"] + ("/" if slash and node.get("dir") else ""))
        stack.extend(reversed(node.get("nodes", [])))


def _mkdir(options: Options, arguments: argparse.Namespace) -> int:
    form: dict[str, object] = {"dir": "true", "prevExist": "false"}
    if arguments.ttl:
        form["ttl"] = arguments.ttl
    _keys(options, "PUT", arguments.key, form=form)
    return 0


def _rm(options: Options, arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {}
    if arguments.recursive:
        query["recursive"] = "true"
    if arguments.dir:
        query["dir"] = "true"
    data = _keys(options, "DELETE", arguments.key, query)
    previous = data.get("prevNode", {})
    if previous.get("value"):
        print(f"PrevNode.Value: {previous['value']}")
    return 0


def _watch(options: Options, arguments: argparse.Namespace) -> int:
    index = arguments.after_index
    while True:
        query: dict[str, object] = {"wait": "true"}
        if arguments.recursive:
            query["recursive"] = "true"
        if index:
            query["waitIndex"] = index + 1
        data = _keys(options, "GET", arguments.key, query, timeout_s=0)
        node = data["node"]
        if arguments.recursive:
            print(f"[{data['action']}] {node['key']}", flush=True)
        print(node.get("value", ""), flush=True)
        if not arguments.forever:
            return 0
        index = node["modifiedIndex"]


def _members(options: Options) -> list[dict[str, Any]]:
    status, data = request(options, "GET", "/v2/members")
    if status != 200:
        raise V2CommandError(str(data.get("message", f"HTTP status {status}")))
    members: list[dict[str, Any]] = data["members"]
    return members


def _cluster_health(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    healthy = 0
    members = _members(options)
    for member in members:
        problem = "no client URL is published"
        for url in member["clientURLs"]:
            try:
                status, data = _request_one(options, url, "GET", "/health", b"", "", None)
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
    body = json.dumps({"peerURLs": [arguments.peer_url]}).encode()
    status, data = request(options, "POST", "/v2/members", body, content_type="application/json")
    if status != 201:
        raise V2CommandError(str(data.get("message", f"HTTP status {status}")), 1)
    print(f"Added member named {arguments.name} with ID {data['id']} to cluster\n")
    pairs = [
        f"{m['name'] or arguments.name}={url}" for m in _members(options) for url in m["peerURLs"]
    ]
    print(f'ETCD_NAME="{arguments.name}"')
    print(f'ETCD_INITIAL_CLUSTER="{",".join(pairs)}"')
    print('ETCD_INITIAL_CLUSTER_STATE="existing"')
    return 0


def _member_remove(options: Options, arguments: argparse.Namespace) -> int:
    status, data = request(options, "DELETE", f"/v2/members/{arguments.member}")
    if status != 204:
        raise V2CommandError(str(data.get("message", f"HTTP status {status}")), 1)
    print(f"Removed member {arguments.member} from cluster")
    return 0
