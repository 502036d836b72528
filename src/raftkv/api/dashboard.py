"""``/dashboard``: a page about this member and its cluster, and a browser of keys.

The page holds no secret and is served to everybody who may connect. What it shows comes from
``/dashboard/state``, which asks for a user while auth is on, and from the same v3 and v2 paths that
every client uses, with the rights of whoever looks: by certificate, or by name and password.
"""

from __future__ import annotations

import json
import time
from importlib import resources
from typing import Any, Final

from etcdwire.errors import HTTP_STATUS, ApiError
from etcdwire.messages import AlarmType
from raftkv.api.access import Level, admit, caller_of
from raftkv.api.host import Host
from raftkv.api.http import JSON, NO_SNIFF, HttpReply, HttpRequest, method_not_allowed, not_found

PREFIX: Final = "/dashboard"
STATE: Final = f"{PREFIX}/state"
_FILES: Final = {
    PREFIX: ("index.html", b"text/html; charset=utf-8"),
    f"{PREFIX}/": ("index.html", b"text/html; charset=utf-8"),
    f"{PREFIX}/style.css": ("style.css", b"text/css; charset=utf-8"),
    f"{PREFIX}/app.js": ("app.js", b"text/javascript; charset=utf-8"),
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def handle(host: Host, request: HttpRequest, reply: HttpReply) -> None:
    """Serve one request below ``/dashboard``."""
    if request.method not in ("GET", "HEAD"):
        method_not_allowed(reply, "GET,HEAD")
    elif request.path == STATE:
        admit(
            host,
            caller_of(request.headers, request.common_name),
            Level.USER,
            lambda: _respond_state(host, reply),
            lambda error: _refuse(reply, error),
        )
    elif request.path in _FILES:
        name, kind = _FILES[request.path]
        body = (resources.files("raftkv.api") / "web" / name).read_bytes()
        headers = (
            (b"Content-Type", kind),
            (b"Content-Security-Policy", _POLICY),
            (b"Referrer-Policy", b"no-referrer"),
            (b"Cache-Control", b"no-cache"),
            NO_SNIFF,
        )
        reply.respond(200, headers, body)
    else:
        not_found(reply)


def _refuse(reply: HttpReply, error: ApiError) -> None:
    body = json.dumps({"message": error.message}).encode()
    reply.respond(HTTP_STATUS[error.code], (JSON,), body)


def _respond_state(host: Host, reply: HttpReply) -> None:
    body = json.dumps(describe(host), separators=(",", ":")).encode()
    reply.respond(200, (JSON, (b"Cache-Control", b"no-store")), body)


def describe(host: Host) -> dict[str, Any]:
    """This member's state as the page wants it; times in milliseconds, sizes in bytes."""
    figures, machine = host.figures, host.machine
    progress = host.progress()
    members = []
    for member_id, member in sorted(host.membership.members.items(), key=lambda i: i[1].name):
        row: dict[str, Any] = {
            "id": f"{member_id:x}",
            "name": member.name,
            "isLearner": member.is_learner,
            "clientURLs": list(member.client_urls),
        }
        if member_id in progress:
            row["match"] = progress[member_id].match
        members.append(row)
    syncs = figures.log_sync.count
    return {
        "now": round(time.time(), 3),
        "name": host.name,
        "id": f"{host.member_id:x}",
        "cluster": f"{host.cluster_id:x}",
        "isLeader": host.leader_id == host.member_id,
        "leader": f"{host.leader_id:x}",
        "term": host.term,
        "commit": host.commit_index,
        "applied": host.applied_index,
        "pending": host.pending_proposals_count,
        "revision": machine.kv.revision,
        "keys": machine.kv.keys_count,
        "puts": figures.puts,
        "deletes": figures.deletes,
        "watchers": machine.hub.watchers_count + machine.history_v2.waiters_count,
        "leases": len(machine.lessor.leases),
        "sizeBytes": host.size_bytes(),
        "usedBytes": host.used_bytes(),
        "quotaBytes": host.limits.quota_bytes,
        "syncMs": 1000 * figures.log_sync.total / syncs if syncs else 0.0,
        "members": members,
        "alarms": [
            {"member": f"{member_id:x}", "type": AlarmType(kind).name}
            for member_id, kind in sorted(machine.alarms.active)
        ],
        "roundTrips": {
            f"{member_id:x}": [
                [round(at, 3), round(1000 * seconds, 3)] for at, seconds in peer.samples
            ]
            for member_id, peer in figures.peers.items()
            if host.leader_id == host.member_id
        },
    }
