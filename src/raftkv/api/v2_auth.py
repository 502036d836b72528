"""``/v2/auth``: users, roles, and whether v2 asks for them. Answers are etcd 3.4's."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote

from etcdwire.errors import AUTH_OLD_REVISION, ApiError
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest, method_not_allowed
from raftkv.api.v2_access import admit, deny, wrap
from raftkv.auth.passwords import hash_password
from raftkv.auth.v2_state import ROOT, V2AuthError, V2AuthOp, is_empty, kv_of
from raftkv.replica.commands import encode_v2_auth
from raftkv.replica.effects import Rejected

PREFIX: Final = "/v2/auth/"
_ERRORS: Final = 400
_USER_FIELDS: Final[dict[str, type]] = {
    "user": str,
    "password": str,
    "roles": list,
    "grant": list,
    "revoke": list,
}
_ROLE_FIELDS: Final[dict[str, type]] = {
    "role": str,
    "permissions": dict,
    "grant": dict,
    "revoke": dict,
}


def is_auth_path(path: str) -> bool:
    """Whether this module serves a path."""
    family, _, name = path[len(PREFIX) :].partition("/")
    return path == f"{PREFIX}enable" or (family in ("users", "roles") and "/" not in name)


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one request; whether its sender may was decided before (``v2_access``)."""
    family, _, name = request.path[len(PREFIX) :].partition("/")
    name = unquote(name.strip("/"))
    allowed = ("GET", "PUT", "DELETE") if family == "enable" or name else ("GET",)
    if request.method not in (*allowed, "HEAD"):
        method_not_allowed(reply, ",".join(allowed))
    elif request.method in ("GET", "HEAD"):
        host.read(_ReadToken(host, reply, family, name))
    elif family == "enable":
        op = V2AuthOp.ENABLE if request.method == "PUT" else V2AuthOp.DISABLE
        _propose(host, request, reply, op, {})
    elif request.method == "DELETE":
        op = V2AuthOp.DELETE_USER if family == "users" else V2AuthOp.DELETE_ROLE
        _propose(host, request, reply, op, {"user": name, "role": name})
    else:
        _put(host, request, reply, family, name)


def _put(host: Host, request: HttpRequest, reply: HttpReply, family: str, name: str) -> None:
    body = _read(family, request.body)
    if body is None:
        _respond(reply, 400, {"message": "Invalid JSON in request body."})
        return
    field, title = ("user", "User") if family == "users" else ("role", "Role")
    if body.get(field) != name:
        text = f"{title} JSON name does not match the name in the URL"
        _respond(reply, 400, {"message": text})
        return
    if family == "roles":
        changes = not is_empty(body.get("grant")) or not is_empty(body.get("revoke"))
        if changes and not is_empty(body.get("permissions")):
            text = "Role JSON contains both permissions and grant/revoke"
            _respond(reply, 400, {"message": text})
            return
        _propose(host, request, reply, V2AuthOp.PUT_ROLE, body)
        return
    if body.get("roles") and (body.get("grant") or body.get("revoke")):
        text = "User JSON contains both roles and grant/revoke"
        _respond(reply, 400, {"message": text})
        return
    password = body.get("password")
    if not password:
        _propose(host, request, reply, V2AuthOp.PUT_USER, body)
        return
    cost = host.bcrypt_cost

    def go_on(hashed: str) -> None:
        body["password"] = hashed
        _propose(host, request, reply, V2AuthOp.PUT_USER, body)

    try:
        host.run_aside(lambda: hash_password(password, cost), go_on)
    except ApiError as error:
        _respond(reply, 503, {"message": error.message})


def _read(family: str, data: bytes) -> dict[str, Any] | None:
    """The fields that count, each of the type that it should have; None for anything else.

    Nothing else may reach the log: every member applies it.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    kinds = _USER_FIELDS if family == "users" else _ROLE_FIELDS
    found = {name: body[name] for name in kinds if body.get(name) is not None}
    lists: list[Any]
    for name, value in found.items():
        if kinds[name] is dict:
            if not isinstance(value, dict) or not isinstance(value.get("kv") or {}, dict):
                return None
            found[name] = {"kv": kv_of(value)}
            lists = [each for each in kv_of(value).values() if each is not None]
        else:
            if not isinstance(value, kinds[name]):
                return None
            lists = [value] if kinds[name] is list else []
        for each in lists:
            if not isinstance(each, list) or not all(isinstance(item, str) for item in each):
                return None
    return found


def _propose(
    host: Host, request: HttpRequest, reply: HttpReply, op: V2AuthOp, body: dict[str, Any]
) -> None:
    data = json.dumps(body, separators=(",", ":"), sort_keys=True).encode()
    command = wrap(request, encode_v2_auth(op, data))
    host.propose(command, _WriteToken(host, request, reply))


def _respond(reply: HttpReply, status: int, document: Any) -> None:
    body = b"" if document is None else json.dumps(document, separators=(",", ":")).encode()
    if body and status < _ERRORS:
        body += b"\n"
    reply.respond(status, (JSON,), body)


class _WriteToken:
    """A change under way."""

    __slots__ = ("_host", "_reply", "_request")

    def __init__(self, host: Host, request: HttpRequest, reply: HttpReply) -> None:
        self._host = host
        self._request = request
        self._reply = reply

    def applied(self, result: object) -> None:
        """Answer."""
        if isinstance(result, V2AuthError):
            _respond(self._reply, result.status, {"message": result.message})
        elif result is AUTH_OLD_REVISION:  # rights changed, nothing was done: begin anew
            host, request, reply = self._host, self._request, self._reply
            admit(host, request, reply, lambda: handle(host, request, reply))
        elif isinstance(result, ApiError):
            deny(self._reply)
        else:
            assert isinstance(result, tuple)
            _respond(self._reply, *result)

    def ready(self) -> None:
        """Never called for a write."""

    def rejected(self, rejection: Rejected) -> None:
        """No result."""
        _respond(self._reply, 503, {"message": f"etcdserver: {rejection.reason.value}"})


class _ReadToken:
    """A question under way: linearizable."""

    __slots__ = ("_family", "_host", "_name", "_reply")

    def __init__(self, host: Host, reply: HttpReply, family: str, name: str) -> None:
        self._host = host
        self._reply = reply
        self._family = family
        self._name = name

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Answer."""
        state = self._host.machine.v2_auth
        name = self._name
        if self._family == "enable":
            _respond(self._reply, 200, {"enabled": state.enabled})
        elif self._family == "users" and not name:
            users = [self._user(user) for user in sorted(state.users)]
            _respond(self._reply, 200, {"users": users or None})
        elif self._family == "users":
            self._one_user()
        elif not name:
            roles = [state.role(role) for role in sorted({*state.roles, ROOT})]
            _respond(self._reply, 200, {"roles": roles})
        else:
            role = state.role(name)
            if role is None:
                _respond(self._reply, 404, {"message": f"auth: Role {name} does not exist."})
            else:
                _respond(self._reply, 200, role)

    def _one_user(self) -> None:
        state, name = self._host.machine.v2_auth, self._name
        if name not in state.users:
            _respond(self._reply, 404, {"message": f"auth: User {name} does not exist."})
            return
        for role in state.roles_of(name):
            if state.role(role) is None:
                _respond(self._reply, 404, {"message": f"auth: Role {role} does not exist."})
                return
        _respond(self._reply, 200, self._user(name))

    def _user(self, name: str) -> dict[str, Any]:
        state = self._host.machine.v2_auth
        roles = [found for role in state.roles_of(name) if (found := state.role(role))]
        return {"user": name, "roles": roles} if roles else {"user": name}

    def rejected(self, rejection: Rejected) -> None:
        """No result."""
        _respond(self._reply, 503, {"message": f"etcdserver: {rejection.reason.value}"})
