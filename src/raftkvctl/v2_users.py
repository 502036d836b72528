"""Commands of the v2 mode: ``auth``, ``user``, ``role``."""

from __future__ import annotations

import argparse
import getpass
import posixpath
import sys
from typing import Any

from raftkvctl.grammar import Commands
from raftkvctl.options import Options
from raftkvctl.v2_requests import V2CommandError, administer, refuse

_USERS = "/v2/auth/users"
_ROLES = "/v2/auth/roles"


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the three families."""
    families = {
        "user": (
            "users and their roles",
            {
                "add": _user_add, "get": _user_get, "list": _user_list, "remove": _user_remove,
                "grant": _user_grant, "revoke": _user_grant, "passwd": _user_passwd,
            },
        ),
        "role": (
            "roles and their rights",
            {
                "add": _role_add, "get": _role_get, "list": _role_list, "remove": _role_remove,
                "grant": _role_grant, "revoke": _role_grant,
            },
        ),
        "auth": ("switch authentication on or off", {"enable": _enable, "disable": _disable}),
    }  # fmt: skip
    for family, (text, rows) in families.items():
        parser = commands.add_parser(family, help=text)
        inner = parser.add_subparsers(dest="family_command", metavar="COMMAND", required=True)
        for name, run in rows.items():
            command = inner.add_parser(name, parents=[common], allow_abbrev=False)
            command.set_defaults(run=run, family_command=name)
            if family != "auth":
                command.add_argument("name", nargs="?", default="")
            if family == "user" and name in ("grant", "revoke"):
                command.add_argument("--roles", action="append", default=[])
            if family == "role" and name in ("grant", "revoke"):
                command.add_argument("--path", default="")
                command.add_argument("--read", action="store_true")
                command.add_argument("--write", action="store_true")
                command.add_argument("--readwrite", "--rw", action="store_true")


def _enable(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    administer(options, "PUT", "/v2/auth/enable")
    print("Authentication Enabled")
    return 0


def _disable(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    administer(options, "DELETE", "/v2/auth/enable")
    print("Authentication Disabled")
    return 0


def _name(arguments: argparse.Namespace, what: str) -> str:
    name: str = arguments.name
    if not name:
        raise refuse(f"Please provide a {what}")
    return name


def _new_password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("New password: ")
    return sys.stdin.readline().rstrip("\n")


def _exists(options: Options, path: str) -> bool:
    try:
        administer(options, "GET", path)
    except V2CommandError:
        return False
    return True


# --- users ----------------------------------------------------------------------------------


def _user_add(options: Options, arguments: argparse.Namespace) -> int:
    name, colon, password = _name(arguments, "username").partition(":")
    if _exists(options, f"{_USERS}/{name}"):
        raise refuse(f"User {name} already exists")
    if not colon:
        password = _new_password()
    administer(options, "PUT", f"{_USERS}/{name}", {"user": name, "password": password})
    print(f"User {name} created")
    return 0


def _user_get(options: Options, arguments: argparse.Namespace) -> int:
    user = administer(options, "GET", f"{_USERS}/{_name(arguments, 'username')}")
    print(f"User: {user['user']}")
    roles = [role["role"] for role in user.get("roles") or []]
    # etcdctl's list of names begins with an empty one.
    print("Roles: " + "".join(f" {role}" for role in roles))
    return 0


def _user_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    for user in administer(options, "GET", _USERS).get("users") or []:
        print(user["user"])
    return 0


def _user_remove(options: Options, arguments: argparse.Namespace) -> int:
    name = _name(arguments, "username")
    administer(options, "DELETE", f"{_USERS}/{name}")
    print(f"User {name} removed")
    return 0


def _user_grant(options: Options, arguments: argparse.Namespace) -> int:
    roles = [role for word in arguments.roles for role in word.split(",") if role]
    if not roles:
        raise refuse("No roles specified; please use `--roles`")
    name = _name(arguments, "username")
    administer(options, "GET", f"{_USERS}/{name}")
    document = {"user": name, arguments.family_command: roles}
    administer(options, "PUT", f"{_USERS}/{name}", document)
    print(f"User {name} updated")
    return 0


def _user_passwd(options: Options, arguments: argparse.Namespace) -> int:
    name = _name(arguments, "username")
    administer(options, "GET", f"{_USERS}/{name}")
    document = {"user": name, "password": _new_password()}
    administer(options, "PUT", f"{_USERS}/{name}", document)
    print("Password updated")
    return 0


# --- roles ----------------------------------------------------------------------------------


def _role_add(options: Options, arguments: argparse.Namespace) -> int:
    name = _name(arguments, "role name")
    if _exists(options, f"{_ROLES}/{name}"):
        raise refuse(f"Role {name} already exists")
    administer(options, "PUT", f"{_ROLES}/{name}", {"role": name, "permissions": _rights([], [])})
    print(f"Role {name} created")
    return 0


def _rights(read: list[str], write: list[str]) -> dict[str, Any]:
    return {"kv": {"read": read, "write": write}}


def _role_get(options: Options, arguments: argparse.Namespace) -> int:
    role = administer(options, "GET", f"{_ROLES}/{_name(arguments, 'role name')}")
    print(f"Role: {role['role']}")
    for title, kind in (("KV Read:", "read"), ("KV Write:", "write")):
        print(title)
        for path in role["permissions"]["kv"].get(kind) or []:
            print(f"\t{path}")
    return 0


def _role_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    for role in administer(options, "GET", _ROLES).get("roles") or []:
        print(role["role"])
    return 0


def _role_remove(options: Options, arguments: argparse.Namespace) -> int:
    name = _name(arguments, "role name")
    administer(options, "DELETE", f"{_ROLES}/{name}")
    print(f"Role {name} removed")
    return 0


def _role_grant(options: Options, arguments: argparse.Namespace) -> int:
    path: str = arguments.path
    if not path:
        raise refuse("No path specified; please use `--path`")
    canonical = _canonical(path)
    if path != canonical:
        raise refuse(f"Not canonical path; please use `--path={canonical}`")
    if [arguments.read, arguments.write, arguments.readwrite].count(True) != 1:
        raise refuse("Please specify exactly one of --read, --write or --readwrite")
    name = _name(arguments, "role name")
    administer(options, "GET", f"{_ROLES}/{name}")
    rights = _rights(
        [] if arguments.write else [path],
        [] if arguments.read else [path],
    )
    document = {"role": name, arguments.family_command: rights}
    administer(options, "PUT", f"{_ROLES}/{name}", document)
    print(f"Role {name} updated")
    return 0


def _canonical(path: str) -> str:
    """With one leading slash, without dots and double slashes; a trailing slash stays."""
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean
