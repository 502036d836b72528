"""Plain HTTP: where each path goes, ``/health``, ``/version``, ``/metrics``."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Final
from urllib.parse import quote

from raftkv.api import gateway, metrics, v2_access, v2_keys, v2_members
from raftkv.api.host import Host
from raftkv.api.http import JSON, TEXT, HttpReply, HttpRequest, method_not_allowed, not_found
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
    elif handle_metrics_plane(host, request, reply):
        return
    not_found(reply)


def handle_metrics_plane(host: Host, request: HttpRequest, reply: HttpReply) -> bool:
    """Serve ``/health`` and ``/metrics``; whether the path was one of them."""
    if request.path == "/health":
        if request.method not in ("GET", "HEAD"):
            method_not_allowed(reply, "GET")
        else:
            _health(host, reply)
        return True
    if request.path == "/metrics":
        body = metrics.render(host)
        reply.respond(200, ((b"Content-Type", metrics.CONTENT_TYPE),), body)
        return True
    return False


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
    if host.machine.auth.enabled:
        v2_access.admit(host, request, reply, lambda: _route_v2(host, request, reply))
    else:
        _route_v2(host, request, reply)
    return True


_V2_PATHS: Final = (v2_keys.PREFIX, v2_members.PREFIX, "/v2/machines", "/v2/stats/self")


def _route_v2(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    path = request.path
    if path == v2_keys.PREFIX or path.startswith(v2_keys.PREFIX + "/"):
        v2_keys.handle(host, request, reply)
    elif path == v2_members.PREFIX or path.startswith(v2_members.PREFIX + "/"):
        v2_members.handle(host, request, reply)
    elif path == "/v2/machines":
        v2_members.machines(host, request, reply)
    elif path == "/v2/stats/self":
        _stats_self(host, reply)
    else:
        not_found(reply)


def _stats_self(host: Host, reply: HttpReply) -> None:
    state = "StateLeader" if host.leader_id == host.member_id else "StateFollower"
    body = {
        "name": host.name,
        "id": f"{host.member_id:x}",
        "state": state,
        "leaderInfo": {"leader": f"{host.leader_id:x}"},
    }
    reply.respond(200, (JSON,), json.dumps(body, separators=(",", ":")).encode())


class _HealthToken:
    """Health is proved by a linearizable read, as etcd proves it."""

    __slots__ = ("_reply",)

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply

    def applied(self, result: object) -> None:
        """Never called for a read."""

    def ready(self) -> None:
        """Healthy: a quorum answered."""
        self._reply.respond(200, (TEXT,), b'{"health":"true"}')

    def rejected(self, rejection: Rejected) -> None:
        """Not healthy."""
        del rejection
        self._reply.respond(503, (TEXT,), b'{"health":"false"}')


def _health(host: Host, reply: HttpReply) -> None:
    if host.leader_id == NO_MEMBER:
        reply.respond(503, (TEXT,), b'{"health":"false"}')
    else:
        host.read(_HealthToken(reply))
