"""Joining a running cluster: ask its members who this member is."""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from raftkv.server.config import Config
from raftkv.server.flags import ConfigError
from raftkv.values import ClusterId, Member, MemberId

ATTEMPTS: Final = 30
RETRY_S: Final = 1.0
TIMEOUT_S: Final = 2.0
REMEDY: Final = "remove it (raftkvctl member remove) and add it anew, with an empty directory"
_LOG: Final = logging.getLogger("raftkv.join")


def ask_members(
    config: Config, context: ssl.SSLContext | None
) -> tuple[ClusterId, MemberId, list[Member]]:
    """(cluster id, this member's id, all members) as the running cluster knows them.

    Raises:
        ConfigError: nobody answers, or nobody knows this member.
    """
    others = [
        url for name, urls in config.initial_cluster.items() for url in urls if name != config.name
    ]
    if not others:
        raise ConfigError(
            "--initial-cluster-state is existing, but --initial-cluster names only this member: "
            "name the running members too",
        )
    problem = ""
    for attempt in range(ATTEMPTS):
        for url in others:
            try:
                answer = fetch_members(url, context)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                problem = f"{url}: {error}"
                continue
            mine = [m for m in answer.members if set(m.peer_urls) & set(config.advertise_peer)]
            if mine:
                refuse_if_seen(mine[0], url)
                return answer.cluster_id, mine[0].member_id, answer.members
            problem = (
                f"{url} knows no member with peer URL {','.join(config.advertise_peer)}: add it "
                "first (raftkvctl member add)"
            )
        if attempt == 0:
            _LOG.info("cannot join yet: %s", problem)
        time.sleep(RETRY_S)
    raise ConfigError(f"cannot join the cluster: {problem}")


def refuse_if_seen(known: Member, url: str) -> None:
    """Refuse an empty disk for a member that once told its cluster where it serves clients.

    Raises:
        ConfigError: it did.
    """
    if known.client_urls:
        raise ConfigError(
            f"member {known.member_id:x} has already been bootstrapped, says {url}, but its disk "
            f"is empty here: what it promised is lost. Mount its disk, or {REMEDY}",
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What one member says of its cluster."""

    cluster_id: ClusterId
    members: list[Member]
    match_indexes: dict[MemberId, int]
    """Up to where each follower's log is known to agree; only a leader knows."""

    def find(self, wanted: Member) -> Member | None:
        """The member of this id."""
        return next((m for m in self.members if m.member_id == wanted.member_id), None)


def fetch_members(
    url: str, context: ssl.SSLContext | None, timeout_s: float = TIMEOUT_S
) -> Answer:
    """Ask the member at this peer URL. Blocks.

    Raises:
        OSError, HTTPException, ValueError, KeyError: nobody answers, or not with a member list.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", "/members")
        response = connection.getresponse()
        body = response.read(1 << 20)
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        cluster_id = ClusterId(int(response.headers["X-Etcd-Cluster-Id"], 16))
        rows = json.loads(body)
        matches = {MemberId(int(row["id"])): int(row.get("matchIndex", 0)) for row in rows}
        return Answer(cluster_id, _parse(rows), matches)
    finally:
        connection.close()


def _parse(rows: Sequence[dict[str, Any]]) -> list[Member]:
    return [
        Member(
            MemberId(int(row["id"])),
            str(row.get("name", "")),
            tuple(row["peerURLs"]),
            tuple(row.get("clientURLs", ())),
            bool(row.get("isLearner")),
        )
        for row in rows
    ]
