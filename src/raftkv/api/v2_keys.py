"""``/v2/keys``: parameters, validation, and the answer with its headers.

Validation order and texts are etcd 3.4's, tried against it: the first thing wrong is the error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from etcdwire.errors import AUTH_OLD_REVISION, NO_SPACE, ApiError
from etcdwire.json_v2 import encode_error, encode_event
from raftkv.api import v2_access
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest, method_not_allowed
from raftkv.auth.v2_state import GUEST
from raftkv.replica.commands import CommandV2, MethodV2, encode_v2
from raftkv.replica.effects import Rejected, Rejection
from raftkv.store import errors_v2 as e
from raftkv.store.errors_v2 import V2Error
from raftkv.store.tree_v2 import EventV2
from raftkv.watch.history_v2 import Waiter

PREFIX: Final = "/v2/keys"
FORM_FIELDS_MAX: Final = 64
_SWITCHES: Final = ("recursive", "sorted", "wait", "stream", "dir", "refresh", "quorum")


@dataclass(slots=True)
class Parameters:
    """What a request asks for, checked."""

    path: str
    value: str = ""
    previous_value: str = ""
    previous_index: int = 0
    previous_exists: bool | None = None
    ttl_s: int | None = None
    wait_index: int = 0
    recursive: bool = False
    is_sorted: bool = False
    wait: bool = False
    stream: bool = False
    is_dir: bool = False
    refresh: bool = False
    quorum: bool = False
    no_value: bool = False
    """Of what is set the answer need only say that it was."""


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one request under ``/v2/keys``."""
    if request.method not in ("HEAD", "GET", "PUT", "POST", "DELETE"):
        method_not_allowed(reply, "HEAD,GET,PUT,POST,DELETE")
        return
    try:
        parameters = parse(request)
    except V2Error as error:
        _respond_error(host, reply, error, 0)
        return
    if not _may(host, request, parameters):
        v2_access.deny_key(reply)
        return
    if request.method in ("GET", "HEAD"):
        _get(host, request, reply, parameters)
        return
    if (host.is_full or host.machine.alarms.is_full) and request.method != "DELETE":
        full = V2Error(e.RAFT_INTERNAL, NO_SPACE.message)
        _respond_error(host, reply, full, host.machine.tree.index)
        return
    command = encode_v2(_to_command(host, request.method, parameters))
    if request.identity is not None or request.v2_revision is not None:
        command = v2_access.wrap(request, command)
    host.propose(command, _WriteToken(host, reply, request, no_value=parameters.no_value))


def _may(host: Host, request: HttpRequest, p: Parameters) -> bool:
    """Whether v2's own users let this through; the path as given, as etcd compares it."""
    path, writes = request.path[len(PREFIX) :], request.method not in ("GET", "HEAD")
    return v2_access.may_use(host, request, path, writes=writes, recursive=p.recursive)


def parse(request: HttpRequest) -> Parameters:
    """Read path, query and form.

    Raises:
        V2Error: the first parameter that is wrong.
    """
    body = request.body
    if not request.query and not body:  # the usual read
        return Parameters(_clean(request.path))
    if request.method == "PUT" and body[:6] == b"value=" and not request.query:
        raw = body[6:]
        if not any(mark in raw for mark in b"&%+;") and _is_form(request):
            return Parameters(_clean(request.path), raw.decode("utf-8", "surrogateescape"))
    fields = _fields(request)
    p = Parameters(_clean(request.path))
    p.previous_index = _number(fields, "prevIndex", e.INDEX_NOT_A_NUMBER)
    p.wait_index = _number(fields, "waitIndex", e.INDEX_NOT_A_NUMBER)
    p.recursive = _switch(fields, "recursive")
    p.is_sorted = _switch(fields, "sorted")
    p.wait = _switch(fields, "wait")
    p.is_dir = _switch(fields, "dir")
    p.quorum = _switch(fields, "quorum")
    p.stream = _switch(fields, "stream")
    if p.wait and request.method != "GET":
        raise V2Error(e.INVALID_FIELD, '"wait" can only be used with GET requests')
    if "prevValue" in fields:
        p.previous_value = fields["prevValue"]
        if not p.previous_value:
            raise V2Error(e.PREVIOUS_VALUE_REQUIRED, '"prevValue" cannot be empty')
    p.no_value = _switch(fields, "noValueOnSuccess")
    # "no value on refresh" is checked after the TTL, as etcd does
    if fields.get("ttl"):
        p.ttl_s = _number(fields, "ttl", e.TTL_NOT_A_NUMBER)
    if "prevExist" in fields:
        text = fields["prevExist"]
        if text not in _TRUE and text not in _FALSE:
            raise V2Error(e.INVALID_FIELD, "invalid value for prevExist")
        p.previous_exists = text in _TRUE
    if "refresh" in fields:
        p.refresh = _switch(fields, "refresh")
        if p.refresh:
            if fields.get("value"):
                raise V2Error(e.REFRESH_VALUE, "A value was provided on a refresh")
            if p.ttl_s is None:
                raise V2Error(e.REFRESH_TTL_REQUIRED, "No TTL value set")
    p.value = fields.get("value", "")
    return p


def _is_form(request: HttpRequest) -> bool:
    kind = request.headers.get(b"content-type", b"")
    return kind.startswith(b"application/x-www-form-urlencoded")


def _fields(request: HttpRequest) -> dict[str, str]:
    """Form fields beat query fields, as in Go's ``Request.FormValue``."""
    fields: dict[str, str] = {}
    try:
        pairs = parse_qsl(
            request.query,
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=FORM_FIELDS_MAX,
        )
        if request.body and request.method in ("PUT", "POST") and _is_form(request):
            form = parse_qsl(
                request.body.decode("utf-8", "surrogateescape"),
                keep_blank_values=True,
                errors="surrogateescape",
                max_num_fields=FORM_FIELDS_MAX,
            )
            pairs = form + pairs
    except ValueError as error:
        raise V2Error(e.INVALID_FORM, str(error)) from None
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def _clean(path: str) -> str:
    """The key: no double or trailing slashes, no dots (Go's ``path.Clean``)."""
    key = path[len(PREFIX) :]
    if key and key[-1] != "/" and "//" not in key and "/." not in key:
        return key
    names: list[str] = []
    for name in key.split("/"):
        if name == "..":
            if names:
                names.pop()
        elif name not in ("", "."):
            names.append(name)
    return "/" + "/".join(names)


def _number(fields: dict[str, str], name: str, number: int) -> int:
    text = fields.get(name)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit()) or int(text) >= 1 << 64:
        raise V2Error(number, f'invalid value for "{name}"')
    return int(text)


def _switch(fields: dict[str, str], name: str) -> bool:
    text = fields.get(name)
    if text is None:
        return False
    if text not in _TRUE and text not in _FALSE:
        raise V2Error(e.INVALID_FIELD, f'invalid value for "{name}"')
    return text in _TRUE


_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""As Go's ``strconv.ParseBool`` has them."""


def _to_command(host: Host, method: str, p: Parameters) -> CommandV2:
    now_ms = host.now_ms
    expires_ms = now_ms + p.ttl_s * 1000 if p.ttl_s else 0
    if method == "POST":
        kind = MethodV2.CREATE_UNIQUE
    elif method == "DELETE":
        compares = p.previous_index > 0 or p.previous_value != ""
        kind = MethodV2.COMPARE_AND_DELETE if compares else MethodV2.DELETE
    elif p.previous_exists is False:
        kind = MethodV2.CREATE
    elif p.previous_index > 0 or p.previous_value:
        kind = MethodV2.COMPARE_AND_SWAP
    elif p.previous_exists:
        kind = MethodV2.UPDATE
    else:
        kind = MethodV2.SET
    return CommandV2(
        kind,
        p.path,
        p.value,
        p.previous_value,
        p.previous_index,
        expires_ms,
        now_ms,
        p.is_dir,
        p.recursive,
        p.refresh,
    )


def _get(host: Host, request: HttpRequest, reply: HttpReply, p: Parameters) -> None:
    if p.wait:
        _wait(host, request, reply, p)
    elif p.quorum:
        host.read(_ReadToken(host, reply, p))
    else:
        _answer_get(host, reply, p)


def _answer_get(host: Host, reply: HttpReply, p: Parameters) -> None:
    tree = host.machine.tree
    try:
        event = tree.get(p.path, host.now_ms, recursive=p.recursive, is_sorted=p.is_sorted)
    except V2Error as error:
        host.machine.count_v2("gets", is_success=False)
        _respond_error(host, reply, error, tree.index)
        return
    host.machine.count_v2("gets", is_success=True)
    _respond_event(host, reply, event)


def _wait(host: Host, request: HttpRequest, reply: HttpReply, p: Parameters) -> None:
    history, tree = host.machine.history_v2, host.machine.tree
    opened_at = tree.index
    head = _headers(host, opened_at)
    waiter = Waiter(None, p.path, p.recursive, p.stream, p.wait_index)
    call = _WaitCall(reply, stream=p.stream)
    waiter.call = call
    try:
        found = (
            history.find(p.path, p.wait_index, tree.index, recursive=p.recursive)
            if p.wait_index
            else None
        )
    except V2Error as error:
        _respond_error(host, reply, error, opened_at)
        return
    reply.start(200, head)
    right = _WaitRight(host, request, reply, p)
    host.watch_streams.add(right)

    def closed() -> None:
        host.watch_streams.discard(right)
        history.remove(waiter)

    reply.on_close(closed)
    while found is not None:
        call.deliver(found)
        if not p.stream:
            return
        found = history.find(p.path, found.store_index + 1, tree.index, recursive=p.recursive)
    history.add(waiter)


class _WaitRight:
    """What a waiting client's answer rests on: it ends when the user loses the right to it."""

    __slots__ = ("_host", "_parameters", "_reply", "_request")

    def __init__(
        self, host: Host, request: HttpRequest, reply: HttpReply, parameters: Parameters
    ) -> None:
        self._parameters = parameters
        self._host = host
        self._request = request
        self._reply = reply

    def recheck(self) -> None:
        """See ``host.Recheckable``."""
        if self._host.machine.v2_auth.enabled:
            self._recheck_v2()
            return
        auth, identity = self._host.machine.auth, self._request.identity
        name = identity.name if identity is not None else self._request.common_name
        rights = auth.rights_of(name)
        if auth.enabled and (rights is None or not rights.has_all_keys):
            self._reply.finish()

    def _recheck_v2(self) -> None:
        host, request, state = self._host, self._request, self._host.machine.v2_auth
        if request.v2_revision == state.revision:
            return
        pair = v2_access.basic_of(request)
        name = pair[0] if pair is not None else request.common_name
        was_checked = request.v2_revision is not None
        request.v2_revision = state.revision
        request.v2_roles = tuple(state.roles_of(name)) if name in state.users else (GUEST,)
        is_known = pair is None or (was_checked and name in state.users)
        if not is_known or not _may(host, request, self._parameters):
            self._reply.finish()


class _WaitCall:
    """A waiting client."""

    __slots__ = ("_reply", "_stream")

    def __init__(self, reply: HttpReply, *, stream: bool) -> None:
        self._reply = reply
        self._stream = stream

    def deliver(self, event: EventV2) -> None:
        """Send one event; the first is the last unless the client streams."""
        self._reply.send(encode_event(event.action, event.node, event.previous))
        if not self._stream:
            self._reply.finish()


class _WriteToken:
    """A v2 write under way."""

    __slots__ = ("_host", "_no_value", "_reply", "_request")

    def __init__(
        self, host: Host, reply: HttpReply, request: HttpRequest, *, no_value: bool
    ) -> None:
        self._no_value = no_value
        self._host = host
        self._reply = reply
        self._request = request

    def applied(self, result: object) -> None:
        """Answer."""
        if isinstance(result, EventV2):
            _respond_event(self._host, self._reply, result, no_value=self._no_value)
        elif isinstance(result, V2Error):
            _respond_error(self._host, self._reply, result, result.index)
        elif result is AUTH_OLD_REVISION:  # rights changed, nothing was done: begin anew
            request, reply = self._request, self._reply
            v2_access.admit(self._host, request, reply, lambda: handle(self._host, request, reply))
        elif isinstance(result, ApiError):
            v2_access.deny(self._reply)
        else:
            raise TypeError(f"result {result!r} of a v2 write")

    def ready(self) -> None:
        """Never called for a write."""

    def rejected(self, rejection: Rejected) -> None:
        """Answer that there is no result."""
        _respond_rejection(self._host, self._reply, rejection)


class _ReadToken:
    """A quorum read under way."""

    __slots__ = ("_host", "_parameters", "_reply")

    def __init__(self, host: Host, reply: HttpReply, parameters: Parameters) -> None:
        self._host = host
        self._reply = reply
        self._parameters = parameters

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Answer."""
        _answer_get(self._host, self._reply, self._parameters)

    def rejected(self, rejection: Rejected) -> None:
        """Answer that there is no result."""
        _respond_rejection(self._host, self._reply, rejection)


def _headers(host: Host, index: int) -> tuple[tuple[bytes, bytes], ...]:
    return (
        JSON,
        (b"X-Etcd-Cluster-Id", b"%x" % host.cluster_id),
        (b"X-Etcd-Index", b"%d" % index),
        (b"X-Raft-Index", b"%d" % host.applied_index),
        (b"X-Raft-Term", b"%d" % host.term),
    )


_WITHOUT_VALUE: Final = frozenset({"set", "create", "update", "compareAndSwap"})


def _respond_event(
    host: Host, reply: HttpReply, event: EventV2, *, no_value: bool = False
) -> None:
    if no_value and event.action in _WITHOUT_VALUE:
        body = b'{"action":"%s"}\n' % event.action.encode()
    else:
        body = encode_event(event.action, event.node, event.previous)
    headers = _headers(host, event.store_index)
    reply.respond(201 if event.is_created else 200, headers, body)


def _respond_error(host: Host, reply: HttpReply, error: V2Error, index: int) -> None:
    reply.respond(
        e.HTTP_STATUS.get(error.number, 400),
        (
            JSON,
            (b"X-Etcd-Cluster-Id", b"%x" % host.cluster_id),
            (b"X-Etcd-Index", b"%d" % index),
        ),
        encode_error(error.number, e.MESSAGES[error.number], error.cause, index),
    )


def _respond_rejection(host: Host, reply: HttpReply, rejection: Rejected) -> None:
    number = e.LEADER_ELECT if rejection.reason is Rejection.NO_LEADER else e.RAFT_INTERNAL
    cause = (
        "etcdserver: no leader"
        if rejection.reason is Rejection.NO_LEADER
        else f"etcdserver: {rejection.reason.value}"
    )
    _respond_error(host, reply, V2Error(number, cause), host.machine.tree.index)
