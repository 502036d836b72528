"""``/v2/stats/self``, ``/v2/stats/leader``, ``/v2/stats/store``."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from collections.abc import Sequence
from typing import Any, Final

from raftkv.api.figures import PeerFigures
from raftkv.api.host import Host
from raftkv.api.http import JSON, HttpReply, HttpRequest, method_not_allowed

PREFIX: Final = "/v2/stats/"
_NAMES: Final = ("self", "leader", "store")


def is_stats_path(path: str) -> bool:
    """Whether this module serves a path."""
    return path.startswith(PREFIX) and path[len(PREFIX) :] in _NAMES


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one of the three."""
    if request.method not in ("GET", "HEAD"):
        method_not_allowed(reply, "GET")
        return
    name = request.path[len(PREFIX) :]
    if name == "leader" and host.leader_id != host.member_id:
        _respond(reply, {"message": "not current leader"}, 403)
    elif name == "leader":
        _respond(reply, _leader(host))
    elif name == "self":
        _respond(reply, _self(host))
    else:
        _respond(reply, _store(host))


def _respond(reply: HttpReply, document: dict[str, Any], status: int = 200) -> None:
    reply.respond(status, (JSON,), json.dumps(document, separators=(",", ":")).encode())


def _time_text(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _self(host: Host) -> dict[str, Any]:
    figures = host.figures
    state = "StateLeader" if host.leader_id == host.member_id else "StateFollower"
    since = figures.leader_since_s
    document: dict[str, Any] = {
        "name": host.name,
        "id": f"{host.member_id:x}",
        "state": state,
        "startTime": _time_text(figures.started_s),
        "leaderInfo": {
            "leader": f"{host.leader_id:x}" if host.leader_id else "",
            "uptime": f"{max(host.now_ms / 1000 - since, 0):.6f}s" if since else "0s",
            "startTime": _time_text(since or figures.started_s),
        },
    }
    now_s = time.monotonic()
    # In etcd's order; a rate of nought is left out, as its encoder does.
    for prefix, appends in (("recv", figures.appends_received), ("send", figures.appends_sent)):
        requests, size_bytes = appends.rate(now_s)
        document[f"{prefix}AppendRequestCnt"] = appends.count
        if requests:
            document[f"{prefix}PkgRate"] = requests
            document[f"{prefix}BandwidthRate"] = size_bytes
    return document


def _leader(host: Host) -> dict[str, Any]:
    """Latency to each follower over the last minute of heartbeats, in milliseconds."""
    followers = {
        f"{member_id:x}": _follower(host.figures.peer(member_id))
        for member_id in sorted(host.membership.members)
        if member_id != host.member_id
    }
    return {"leader": f"{host.member_id:x}", "followers": followers}


def _follower(peer: PeerFigures) -> dict[str, Any]:
    samples = [seconds * 1000 for _, seconds in peer.samples]
    return {
        "latency": {
            "current": _rounded(samples[-1:]),
            "average": _rounded(samples),
            "standardDeviation": round(_deviation(samples), 6),
            "minimum": round(min(samples, default=0.0), 6),
            "maximum": round(max(samples, default=0.0), 6),
        },
        "counts": {"fail": peer.send_failures, "success": peer.round_trip.count},
    }


def _rounded(samples: Sequence[float]) -> float:
    return round(math.fsum(samples) / len(samples), 6) if samples else 0.0


def _deviation(samples: Sequence[float]) -> float:
    if not samples:
        return 0.0
    mean = math.fsum(samples) / len(samples)
    return math.sqrt(math.fsum((sample - mean) ** 2 for sample in samples) / len(samples))


def _store(host: Host) -> dict[str, Any]:
    counts = host.machine.counts_v2
    document: dict[str, Any] = {}
    for name in ("gets", "sets", "delete", "update", "create", "compareAndSwap",
                 "compareAndDelete"):  # fmt: skip
        document[f"{name}Success"] = counts.get((name, True), 0)
        document[f"{name}Fail"] = counts.get((name, False), 0)
    document["expireCount"] = counts.get(("expire", True), 0)
    document["watchers"] = host.machine.history_v2.waiters_count
    return document
