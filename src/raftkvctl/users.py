"""Commands of the v3 mode: ``auth``, ``user``, ``role``."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable

from etcdwire import messages_auth as m
from etcdwire.messages_auth import PermissionType
from etcdwire.protobuf import Message
from kvclient import RequestError, prefix_end
from raftkvctl import printing
from raftkvctl.grammar import Commands
from raftkvctl.options import Options, UsageError, connect

_AUTH = "/etcdserverpb.Auth/"


def add_commands(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    """Declare the three families."""
    _add_auth(commands, common)
    _add_user(commands, common)
    _add_role(commands, common)


def _family(
    commands: Commands[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    name: str,
    text: str,
) -> Callable[..., argparse.ArgumentParser]:
    parser = commands.add_parser(name, help=text)
    inner = parser.add_subparsers(dest=f"{name}_command", metavar="COMMAND", required=True)

    def add(
        word: str, run: Callable[[Options, argparse.Namespace], int], *arguments: str
    ) -> argparse.ArgumentParser:
        command = inner.add_parser(word, parents=[common], allow_abbrev=False)
        for argument in arguments:
            command.add_argument(argument)
        command.set_defaults(run=run)
        return command

    return add


def _add_auth(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _family(commands, common, "auth", "switch authentication on or off")
    add("enable", _auth_enable)
    add("disable", _auth_disable)
    add("status", _auth_status)


def _add_user(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _family(commands, common, "user", "users and their roles")
    command = add("add", _user_add)
    command.add_argument("name", metavar="NAME[:PASSWORD]")
    command.add_argument("--new-user-password", default=None)
    command.add_argument("--no-password", action="store_true")
    _add_interactive(command)
    add("delete", _user_delete, "name")
    command = add("get", _user_get, "name")
    command.add_argument("--detail", action="store_true", help="permissions as well")
    add("list", _user_list)
    _add_interactive(add("passwd", _user_passwd, "name"))
    add("grant-role", _user_grant_role, "name", "role")
    add("revoke-role", _user_revoke_role, "name", "role")


def _add_role(
    commands: Commands[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    add = _family(commands, common, "role", "roles and their permissions")
    add("add", _role_add, "name")
    add("delete", _role_delete, "name")
    add("get", _role_get, "name")
    add("list", _role_list)
    for word, run, names in (
        ("grant-permission", _role_grant, ("name", "kind", "key")),
        ("revoke-permission", _role_revoke, ("name", "key")),
    ):
        command = add(word, run, *names)
        command.add_argument("range_end", nargs="?", default="")
        command.add_argument("--prefix", action="store_true")
        command.add_argument("--from-key", action="store_true")


def _add_interactive(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--interactive",
        nargs="?",
        const="true",
        default="true",
        help="ask for the password twice; =false reads one line of standard input",
    )


def _new_password(arguments: argparse.Namespace, name: str) -> str:
    if arguments.interactive.lower() in ("false", "0", "f") or not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass(f"Password of {name}: ")
    if getpass.getpass(f"Type password of {name} again for confirmation: ") != first:
        raise UsageError("given passwords are different")
    return first


def _list(options: Options, answer: Message, names: list[str]) -> int:
    def simple() -> None:
        for name in names:
            print(name)

    printing.show(options.output, answer, simple)
    return 0


def _change(options: Options, method: str, request: Message, text: str) -> int:
    """Make a change whose answer is a header, and say so."""
    with connect(options) as client:
        answer = client.call((_AUTH + method).encode(), request, m.HeaderOnly, is_write=True)
    printing.show(options.output, answer, lambda: print(text))
    return 0


# --- auth -----------------------------------------------------------------------------------


def _auth_enable(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        try:
            client.auth_enable()
        except RequestError as error:
            if "does not have root role" not in error.message:
                raise
            if "root" not in client.role_list():
                client.role_add("root")
            client.user_grant_role("root", "root")
            client.auth_enable()
    print("Authentication Enabled")
    return 0


def _auth_disable(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        client.auth_disable()
    print("Authentication Disabled")
    return 0


def _auth_status(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        status = client.auth_status()
    print(f"Authentication Status: {str(status.enabled).lower()}")
    print(f"AuthRevision: {status.revision}")
    return 0


# --- users ----------------------------------------------------------------------------------


def _user_add(options: Options, arguments: argparse.Namespace) -> int:
    name, colon, password = arguments.name.partition(":")
    if not name:
        raise UsageError("empty user name is not allowed")
    given: str | None = None
    if not arguments.no_password:
        if colon:
            given = password
        elif arguments.new_user_password is not None:
            given = arguments.new_user_password
        else:
            given = _new_password(arguments, name)
    password_options = m.UserAddOptions(no_password=True) if given is None else None
    request = m.AuthUserAddRequest(name, given or "", password_options)
    return _change(options, "UserAdd", request, f"User {name} created")


def _user_delete(options: Options, arguments: argparse.Namespace) -> int:
    request = m.AuthUserNameRequest(arguments.name)
    return _change(options, "UserDelete", request, f"User {arguments.name} deleted")


def _user_get(options: Options, arguments: argparse.Namespace) -> int:
    with connect(options) as client:
        answer = client.call(
            (_AUTH + "UserGet").encode(),
            m.AuthUserNameRequest(arguments.name),
            m.AuthUserGetResponse,
        )
        if options.output != "simple":
            return _list(options, answer, [])
        print(f"User: {arguments.name}")
        if not arguments.detail:
            print(" ".join(["Roles:", *answer.roles]))
            return 0
        for role in answer.roles:
            print()
            _print_role(
                role, client.call(_role_path(), m.AuthRoleRequest(role), m.AuthRoleGetResponse)
            )
    return 0


def _user_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        path = (_AUTH + "UserList").encode()
        answer = client.call(path, m.Nothing(), m.AuthUserListResponse)
    return _list(options, answer, answer.users)


def _user_passwd(options: Options, arguments: argparse.Namespace) -> int:
    password = _new_password(arguments, arguments.name)
    request = m.AuthUserChangePasswordRequest(arguments.name, password)
    return _change(options, "UserChangePassword", request, "Password updated")


def _user_grant_role(options: Options, arguments: argparse.Namespace) -> int:
    request = m.AuthUserGrantRoleRequest(arguments.name, arguments.role)
    text = f"Role {arguments.role} is granted to user {arguments.name}"
    return _change(options, "UserGrantRole", request, text)


def _user_revoke_role(options: Options, arguments: argparse.Namespace) -> int:
    request = m.AuthUserRevokeRoleRequest(arguments.name, arguments.role)
    text = f"Role {arguments.role} is revoked from user {arguments.name}"
    return _change(options, "UserRevokeRole", request, text)


# --- roles ----------------------------------------------------------------------------------


def _role_path() -> bytes:
    return (_AUTH + "RoleGet").encode()


def _role_add(options: Options, arguments: argparse.Namespace) -> int:
    request = m.AuthRoleAddRequest(arguments.name)
    return _change(options, "RoleAdd", request, f"Role {arguments.name} created")


def _role_delete(options: Options, arguments: argparse.Namespace) -> int:
    request = m.AuthRoleRequest(arguments.name)
    return _change(options, "RoleDelete", request, f"Role {arguments.name} deleted")


def _role_get(options: Options, arguments: argparse.Namespace) -> int:
    with connect(options) as client:
        answer = client.call(
            _role_path(), m.AuthRoleRequest(arguments.name), m.AuthRoleGetResponse
        )
    printing.show(options.output, answer, lambda: _print_role(arguments.name, answer))
    return 0


def _print_role(name: str, answer: m.AuthRoleGetResponse) -> None:
    print(f"Role {name}")
    for title, other in (("KV Read:", PermissionType.WRITE), ("KV Write:", PermissionType.READ)):
        print(title)
        for permission in answer.perm:
            if permission.permType != other:
                print("\t" + _range_text(permission.key, permission.range_end, with_prefix=True))


def _range_text(key: bytes, end: bytes, *, with_prefix: bool) -> str:
    first, last = (part.decode("utf-8", "backslashreplace") for part in (key, end))
    if not end:
        return first
    if end == b"\0":
        return f"[{first}, <open ended>"
    suffix = f" (prefix {first})" if with_prefix and prefix_end(key) == end else ""
    return f"[{first}, {last}){suffix}"


def _role_list(options: Options, arguments: argparse.Namespace) -> int:
    del arguments
    with connect(options) as client:
        path = (_AUTH + "RoleList").encode()
        answer = client.call(path, m.Nothing(), m.AuthRoleListResponse)
    return _list(options, answer, answer.roles)


def _range_of(arguments: argparse.Namespace) -> tuple[bytes, bytes]:
    key, end = (
        text.encode("utf-8", "surrogateescape") for text in (arguments.key, arguments.range_end)
    )
    if arguments.prefix and arguments.from_key:
        raise UsageError("--from-key and --prefix flags are mutually exclusive")
    if end and (arguments.prefix or arguments.from_key):
        raise UsageError("unexpected endkey argument with --prefix or --from-key flag")
    if arguments.prefix:
        return (key, prefix_end(key)) if key else (b"\0", b"\0")
    if arguments.from_key:
        return key or b"\0", b"\0"
    return key, end


def _role_grant(options: Options, arguments: argparse.Namespace) -> int:
    kind = arguments.kind.lower()
    if kind not in ("read", "write", "readwrite"):
        raise UsageError(f"invalid permission type: {arguments.kind}")
    key, end = _range_of(arguments)
    permission = m.Permission(PermissionType[kind.upper()], key, end)
    request = m.AuthRoleGrantPermissionRequest(arguments.name, permission)
    return _change(options, "RoleGrantPermission", request, f"Role {arguments.name} updated")


def _role_revoke(options: Options, arguments: argparse.Namespace) -> int:
    key, end = _range_of(arguments)
    what = "range" if end else "key"
    text = f"Permission of {what} {_range_text(key, end, with_prefix=False)} is revoked"
    request = m.AuthRoleRevokePermissionRequest(arguments.name, key, end)
    text = f"{text} from role {arguments.name}"
    return _change(options, "RoleRevokePermission", request, text)
