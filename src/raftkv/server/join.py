"""Joining a running cluster: ask its members who this member is."""

from __future__ import annotations

import http.client
import json
import logging
import ssl
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from raftkv.server.config import Config
from raftkv.server.flags import ConfigError
from raftkv.values import ClusterId, Member, MemberId

ATTEMPTS: Final = 30
RETRY_S: Final = 1.0
TIMEOUT_S: Final = 2.0
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
                cluster_id, members = fetch_members(url, context)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                problem = f"{url}: {error}"
                continue
            mine = [m for m in members if set(m.peer_urls) & set(config.advertise_peer)]
            if mine:
                return cluster_id, mine[0].member_id, members
            problem = (
                f"{url} knows no member with peer URL {','.join(config.advertise_peer)}: add it "
                "first (raftkvctl member add)"
            )
        if attempt == 0:
            _LOG.info("cannot join yet: %s", problem)
        time.sleep(RETRY_S)
    raise ConfigError(f"cannot join the cluster: {problem}")


def fetch_members(url: str, context: ssl.SSLContext | None) -> tuple[ClusterId, list[Member]]:
    """(cluster id, members) as the member at this peer URL knows them. Blocks.

    Raises:
        OSError, HTTPException, ValueError, KeyError: nobody answers, or not with a member list.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/members")
        response = connection.getresponse()
        body = response.read(1 << 20)
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        cluster_id = ClusterId(int(response.headers["X-Etcd-Cluster-Id"], 16))
        return cluster_id, _parse(json.loads(body))
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
