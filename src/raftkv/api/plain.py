"""Plain HTTP: where each path goes, ``/health``, ``/version``, ``/metrics``."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Final
from urllib.parse import parse_qsl, quote

from etcdwire.messages import AlarmType
from raftkv.api import (
    dashboard,
    gateway,
    metrics,
    v2_access,
    v2_auth,
    v2_keys,
    v2_members,
    v2_stats,
)
from raftkv.api.figures import Figures
from raftkv.api.host import Host
from raftkv.api.http import (
    JSON,
    NO_SNIFF,
    TEXT,
    HttpReply,
    HttpRequest,
    method_not_allowed,
    not_found,
)
from raftkv.api.v3_maintenance import API_VERSION, CLUSTER_VERSION
from raftkv.replica.effects import Rejected
from raftkv.values import NO_MEMBER

_VERSION: Final = json.dumps(
    {"etcdserver": API_VERSION, "etcdcluster": CLUSTER_VERSION}, separators=(",", ":")
).encode()


_UNCLEAN: Final = re.compile(r"//|/\.\.?(/|$)")


def _clean(path: str) -> str:
    """The path without empty and dotted parts, as Go's server redirects to it."""
    return posixpath.normpath(path) + ("/" if path.endswith("/") else "")


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one plain request on the client plane."""
    path = request.path
    if _UNCLEAN.search(path):
        location = quote(_clean(path)) + (f"?{request.query}" if request.query else "")
        reply.respond(301, ((b"Location", location.encode()),), b"")
        return
    if path.startswith("/v2/"):
        if host.enable_v2 and handle_v2(host, request, reply):
            return
    elif path.startswith("/v3") and gateway.is_gateway_path(path):
        if host.enable_gateway:
            gateway.handle(host, request, reply)
            return
    elif path == "/version":
        reply.respond(200, (JSON,), _VERSION)
        return
    elif path.startswith(dashboard.PREFIX):
        dashboard.handle(host, request, reply)
        return
    elif handle_metrics_plane(host, request, reply):
        return
    not_found(reply)


def handle_metrics_plane(host: Host, request: HttpRequest, reply: HttpReply) -> bool:
    """Serve ``/health`` and ``/metrics``; whether the path was one of them."""
    if request.path == "/health":
        if request.method not in ("GET", "HEAD"):
            method_not_allowed(reply, "GET")
        else:
            _health(host, request, reply)
        return True
    if request.path.startswith(("/livez", "/readyz")):
        return _probe(host, request, reply)
    if request.path == "/metrics":
        body = metrics.render(host)
        reply.respond(200, ((b"Content-Type", metrics.CONTENT_TYPE),), body)
        return True
    return False


def _probe(host: Host, request: HttpRequest, reply: HttpReply) -> bool:
    """Serve ``/livez`` and ``/readyz`` as etcd 3.5 does; whether the path is known.

    Alive is who answers: the loop turns. An alarm, a lost quorum or a long replay is no reason to
    be restarted. Ready is who can serve a read through a quorum and holds no damaged data.
    """
    _, name, *check = request.path.split("/")
    checks = _PROBES.get(name, ())
    if check:
        checks = tuple(found for found in checks if [found] == check)
    if not checks:
        return False
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    answer = _ProbeAnswer(host, reply, checks, is_verbose="verbose" in fields)
    if "linearizable_read" in checks and host.leader_id != NO_MEMBER:
        host.read(answer)
    else:
        answer.respond(can_read="linearizable_read" not in checks)
    return True


_PROBES: Final = {
    "livez": ("serializable_read",),
    "readyz": ("data_corruption", "serializable_read", "linearizable_read"),
}


class _ProbeAnswer:
    """One probe under way (``host.Token``)."""

    __slots__ = ("_checks", "_host", "_is_verbose", "_reply")

    def __init__(
        self, host: Host, reply: HttpReply, checks: tuple[str, ...], *, is_verbose: bool
    ) -> None:
        self._host = host
        self._reply = reply
        self._checks = checks
        self._is_verbose = is_verbose

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """A quorum answered."""
        self.respond(can_read=True)

    def rejected(self, rejection: Rejected) -> None:
        """It did not."""
        del rejection
        self.respond(can_read=False)

    def respond(self, *, can_read: bool) -> None:
        """Answer with each check's outcome when asked for, or when one failed."""
        failures = {}
        if not can_read:
            failures["linearizable_read"] = "no leader, or no quorum in time"
        if self._host.machine.alarms.is_corrupt:
            failures["data_corruption"] = "alarm activated: CORRUPT"
        lines = [
            f"[-]{name} failed: {failures[name]}" if name in failures else f"[+]{name} ok"
            for name in self._checks
        ]
        is_ok = not any(name in failures for name in self._checks)
        text = "ok\n"
        if self._is_verbose or not is_ok:
            text = "\n".join([*lines, "ok" if is_ok else "not ok"]) + "\n"
        self._reply.respond(200 if is_ok else 503, (TEXT, NO_SNIFF), text.encode())


def handle_peer_plane(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve what joining members and proxies ask on the peer port."""
    if request.path == "/members":
        reply.respond(
            200,
            (JSON, (b"X-Etcd-Cluster-Id", b"%x" % host.cluster_id)),
            v2_members.encode_peer_members(host),
        )
    elif request.path == "/version":
        reply.respond(200, (JSON,), _VERSION)
    else:
        not_found(reply)


def handle_v2(host: Host, request: HttpRequest, reply: HttpReply) -> bool:
    """Serve a request under ``/v2/``; whether the path is known."""
    if request.path == "/v2" or not request.path.startswith(_V2_PATHS):
        return False
    if host.machine.auth.enabled or host.machine.v2_auth.enabled:
        v2_access.admit(host, request, reply, lambda: _route_v2(host, request, reply))
    else:
        _route_v2(host, request, reply)
    return True


_V2_PATHS: Final = (
    v2_keys.PREFIX,
    v2_members.PREFIX,
    "/v2/machines",
    v2_stats.PREFIX,
    v2_auth.PREFIX,
)


def _route_v2(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    path = request.path
    if path == v2_keys.PREFIX or path.startswith(v2_keys.PREFIX + "/"):
        v2_keys.handle(host, request, reply)
    elif path == v2_members.PREFIX or path.startswith(v2_members.PREFIX + "/"):
        v2_members.handle(host, request, reply)
    elif path == "/v2/machines":
        v2_members.machines(host, request, reply)
    elif v2_auth.is_auth_path(path):
        v2_auth.handle(host, request, reply)
    elif v2_stats.is_stats_path(path):
        v2_stats.handle(host, request, reply)
    else:
        not_found(reply)


class _HealthToken:
    """Health is proved by a linearizable read, as etcd proves it."""

    __slots__ = ("_figures", "_reply")

    def __init__(self, figures: Figures, reply: HttpReply) -> None:
        self._figures = figures
        self._reply = reply

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Healthy: a quorum answered."""
        self._figures.health_success += 1
        self._reply.respond(200, (TEXT,), b'{"health":"true"}')

    def rejected(self, rejection: Rejected) -> None:
        """Not healthy."""
        del rejection
        self._figures.health_failures += 1
        self._reply.respond(503, (TEXT,), b'{"health":"false"}')


def _health(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """As in etcd an alarm is unhealthy, unless ``?exclude=NOSPACE`` says otherwise."""
    excluded = {value for name, value in parse_qsl(request.query) if name == "exclude"}
    alarms = {AlarmType(kind).name for _, kind in host.machine.alarms.active if kind in (1, 2)}
    if host.leader_id == NO_MEMBER or alarms - excluded:
        host.figures.health_failures += 1
        reply.respond(503, (TEXT,), b'{"health":"false"}')
    else:
        host.read(_HealthToken(host.figures, reply))
