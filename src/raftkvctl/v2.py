"""Commands of the v2 mode: the key space, and the list of all others."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from raftkvctl import printing, v2_cluster, v2_users
from raftkvctl.options import Options
from raftkvctl.v2_requests import INDEX, V2CommandError, keys, refuse

Command = Callable[[Options, argparse.Namespace], int]


def add_commands(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Declare every command."""
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Command, text: str, *words: str) -> Callable[..., object]:
        command = commands.add_parser(name, help=text, parents=[common], allow_abbrev=False)
        command.set_defaults(run=run, command=name)
        for word in words:
            command.add_argument(word, nargs="?")
        return command.add_argument

    for name, text in (("set", "write a key"), ("mk", "create a key"), ("update", "change a key")):
        flag = add(name, _set, text, "key", "value")
        flag("--ttl", type=int, default=0, metavar="SECONDS")
        flag("--in-order", action="store_true", help="below the directory, under the next number")
        flag("--swap-with-value", default=None)
        flag("--swap-with-index", default=None)
    flag = add("get", _get, "read a key", "key")
    flag("--sort", action="store_true")
    flag("--quorum", "-q", action="store_true")
    flag = add("ls", _ls, "list a directory", "key")
    flag("--recursive", "-r", action="store_true")
    flag("--sort", action="store_true")
    flag("--quorum", "-q", action="store_true")
    flag("-p", action="store_true", dest="slash", help="a slash behind directories")
    for name, text in (
        ("mkdir", "make a directory"),
        ("setdir", "make a directory, or one of a key"),
        ("updatedir", "change the time to live of a directory"),
    ):
        flag = add(name, _mkdir, text, "key")
        flag("--ttl", type=int, default=0, metavar="SECONDS")
    flag = add("rm", _rm, "remove a key or a directory", "key")
    flag("--recursive", "-r", action="store_true")
    flag("--dir", action="store_true")
    flag("--with-value", default=None)
    flag("--with-index", default=None)
    add("rmdir", _rmdir, "remove an empty directory", "key")
    flag = add("watch", _watch, "wait for a change", "key")
    flag("--recursive", "-r", action="store_true")
    flag("--forever", "-f", action="store_true")
    flag("--after-index", type=int, default=0)
    command = commands.add_parser(
        "exec-watch", help="run a command at each change", parents=[common], allow_abbrev=False
    )
    command.add_argument("words", nargs="*", metavar="KEY COMMAND ...")
    command.add_argument("--recursive", "-r", action="store_true")
    command.add_argument("--after-index", type=int, default=0)
    command.set_defaults(run=_exec_watch, takes_exec=True)
    v2_cluster.add_commands(commands, common)
    v2_users.add_commands(commands, common)


def _key(arguments: argparse.Namespace) -> str:
    if arguments.key is None:
        raise V2CommandError("key required", 1)
    key: str = arguments.key
    return key


def _show(options: Options, data: dict[str, Any], simple: Callable[[], None]) -> None:
    """Print an answer; ``extended`` shows the numbers around the value."""
    if options.output == "json":
        node, previous = data["node"], data.get("prevNode")
        document = {
            "action": data["action"],
            "node": _plain(node),
            "prevNode": None if previous is None else _plain(previous),
        }
        printing.print_plain(document)
    elif options.output == "extended":
        node, previous = data["node"], data.get("prevNode")
        print(f"Key: {node.get('key', '')}")
        print(f"Created-Index: {node.get('createdIndex', 0)}")
        print(f"Modified-Index: {node.get('modifiedIndex', 0)}")
        if previous is not None:
            print(f"PrevNode.Value: {previous.get('value', '')}")
        print(f"TTL: {node.get('ttl', 0)}")
        print(f"Index: {data.get(INDEX, 0)}", flush=True)
        if data["action"] not in ("delete", "expire", "compareAndDelete"):
            print(f"\n{node.get('value', '')}", flush=True)
    else:
        simple()


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """A node with the fields, and in the order, in which etcdctl's library writes it."""
    nodes = node.get("nodes")
    out: dict[str, Any] = {"key": node.get("key", "")}
    if node.get("dir"):
        out["dir"] = True
    out["value"] = node.get("value", "")
    out["nodes"] = None if nodes is None else [_plain(one) for one in nodes]
    out["createdIndex"] = node.get("createdIndex", 0)
    out["modifiedIndex"] = node.get("modifiedIndex", 0)
    for name in ("expiration", "ttl"):
        if node.get(name):
            out[name] = node[name]
    return out


def _print_value(data: dict[str, Any]) -> None:
    print(data["node"].get("value", ""), flush=True)


def _set(options: Options, arguments: argparse.Namespace) -> int:
    key = _key(arguments)
    value = arguments.value if arguments.value is not None else sys.stdin.read()
    if not value and arguments.value is None:
        raise V2CommandError("value required", 1)
    form: dict[str, object] = {"value": value}
    if arguments.ttl:
        form["ttl"] = arguments.ttl
    if arguments.command == "update":
        form["prevExist"] = "true"
    elif arguments.command == "mk" and not arguments.in_order:
        form["prevExist"] = "false"
    if arguments.swap_with_value is not None:
        form["prevValue"] = arguments.swap_with_value
    if arguments.swap_with_index is not None:
        form["prevIndex"] = arguments.swap_with_index
    data = keys(options, "POST" if arguments.in_order else "PUT", key, form=form)
    _show(options, data, lambda: _print_value(data))
    return 0


def _get(options: Options, arguments: argparse.Namespace) -> int:
    key = _key(arguments)
    query: dict[str, object] = {"quorum": "true"} if arguments.quorum else {}
    if arguments.sort:
        query["sorted"] = "true"
    data = keys(options, "GET", key, query)
    if data["node"].get("dir"):
        raise V2CommandError(f"{data['node'].get('key', '/')}: is a directory", 1, prefix="")
    _show(options, data, lambda: _print_value(data))
    return 0


def _ls(options: Options, arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {}
    for flag, name in (("recursive", "recursive"), ("sort", "sorted"), ("quorum", "quorum")):
        if getattr(arguments, flag):
            query[name] = "true"
    data = keys(options, "GET", arguments.key or "/", query)
    _show(options, data, lambda: _print_nodes(data["node"], slash=arguments.slash))
    return 0


def _print_nodes(top: dict[str, Any], *, slash: bool) -> None:
    if not top.get("dir"):
        print(top["key"])
        return
    stack = list(reversed(top.get("nodes") or []))
    while stack:
        node = stack.pop()
        print(node["key"] + ("/" if slash and node.get("dir") else ""))
        stack.extend(reversed(node.get("nodes") or []))


def _mkdir(options: Options, arguments: argparse.Namespace) -> int:
    form: dict[str, object] = {"dir": "true"}
    if arguments.command != "setdir":
        form["prevExist"] = "false" if arguments.command == "mkdir" else "true"
    if arguments.ttl:
        form["ttl"] = arguments.ttl
    data = keys(options, "PUT", _key(arguments), form=form)
    _show(options, data, lambda: None)
    return 0


def _rm(options: Options, arguments: argparse.Namespace) -> int:
    query: dict[str, object] = {}
    if arguments.recursive:
        query["recursive"] = "true"
    if arguments.dir:
        query["dir"] = "true"
    if arguments.with_value is not None:
        query["prevValue"] = arguments.with_value
    if arguments.with_index is not None:
        query["prevIndex"] = arguments.with_index
    return _remove(options, _key(arguments), query)


def _rmdir(options: Options, arguments: argparse.Namespace) -> int:
    return _remove(options, _key(arguments), {"dir": "true"})


def _remove(options: Options, key: str, query: dict[str, object]) -> int:
    data = keys(options, "DELETE", key, query)

    def simple() -> None:
        previous = data.get("prevNode") or {}
        if data["action"] != "delete":
            print(data["node"].get("value", ""))  # a compared one: nothing, as etcdctl shows it
        elif not data["node"].get("dir") and previous:
            print(f"PrevNode.Value: {previous.get('value', '')}")

    _show(options, data, simple)
    return 0


def _next_change(options: Options, key: str, index: int, *, recursive: bool) -> dict[str, Any]:
    query: dict[str, object] = {"wait": "true"}
    if recursive:
        query["recursive"] = "true"
    if index:
        query["waitIndex"] = index + 1
    return keys(options, "GET", key, query, timeout_s=0)


def _watch(options: Options, arguments: argparse.Namespace) -> int:
    key, index = _key(arguments), arguments.after_index
    while True:
        data = _next_change(options, key, index, recursive=arguments.recursive)
        index = data["node"]["modifiedIndex"]
        if data["node"].get("dir"):
            print(f"Ignored dir {data['node']['key']} change", file=sys.stderr)
            continue
        if arguments.recursive:
            print(f"[{data['action']}] {data['node']['key']}", flush=True)
        _show(options, data, lambda: _print_value(data))  # noqa: B023 - used at once
        if not arguments.forever:
            return 0


def _exec_watch(options: Options, arguments: argparse.Namespace) -> int:
    words = [*arguments.words, *(arguments.exec or ())]
    if len(words) < 2:
        raise V2CommandError("key and command to exec required", 1)
    key, index = words[0], arguments.after_index
    while True:
        data = _next_change(options, key, index, recursive=arguments.recursive)
        node = data["node"]
        index = node["modifiedIndex"]
        if node.get("dir"):
            print(f"Ignored dir {node['key']} change", file=sys.stderr)
            continue
        environment = {
            **os.environ,
            "ETCD_WATCH_ACTION": data["action"],
            "ETCD_WATCH_MODIFIED_INDEX": str(index),
            "ETCD_WATCH_KEY": node["key"],
            "ETCD_WATCH_VALUE": node.get("value", ""),
        }
        sys.stdout.flush()
        try:
            subprocess.run(words[1:], env=environment, check=False)
        except OSError as error:
            raise refuse(f"cannot run {words[1]}: {error.strerror}") from None
