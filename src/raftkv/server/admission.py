"""Before a member starts: does its cluster know more of it than its own disk does?

A vote and an acknowledgement are promises that outlive the process. A disk that forgot them (an
emptied one, an old copy) must not speak for this member again: with its help an entry that was
committed could be lost. The members that answer now are asked; who is silent is not waited for,
so after a power cut of the whole cluster nobody can tell (docs/explanation: what is not covered).
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from raftkv.member_ids import cluster_id_of
from raftkv.replica.forcing import read_membership
from raftkv.server.config import Config
from raftkv.server.data_dir import Opened
from raftkv.server.flags import ConfigError
from raftkv.server.join import REMEDY, Answer, fetch_members, refuse_if_seen
from raftkv.values import Member

TIMEOUT_S: Final = 1.0
"""A start waits this long at most for members that do not answer."""


@dataclass(frozen=True, slots=True)
class _Asked:
    url: str
    answer: Answer


def check_not_seen(config: Config, context: ssl.SSLContext | None) -> None:
    """Before founding on an empty disk: no listed peer may know that this member ran before.

    Raises:
        ConfigError: it ran before, or a peer belongs to another cluster.
    """
    founders = config.founding_members()
    mine = next(m for m in founders if m.name == config.name)
    for asked in _ask((m for m in founders if m != mine), context):
        if asked.answer.cluster_id != cluster_id_of(founders):
            raise ConfigError(
                f"{asked.url} is a member of cluster {asked.answer.cluster_id:x} already, not of "
                f"the one that --initial-cluster describes ({cluster_id_of(founders):x})",
            )
        known = asked.answer.find(mine)
        if known is None:
            raise ConfigError(
                f"member {mine.member_id:x} was removed from its cluster, says {asked.url}: "
                "add it anew and start it with --initial-cluster-state existing",
            )
        refuse_if_seen(known, asked.url)


def check_not_older(opened: Opened, context: ssl.SSLContext | None) -> None:
    """Before the first vote: the log must hold everything that this member acknowledged.

    Raises:
        ConfigError: the leader remembers more.
    """
    boot = opened.boot
    membership = read_membership(boot)
    others = [m for m in membership.members.values() if m.member_id != opened.member_id]
    last = boot.log_start + len(boot.entries)
    for asked in _ask(others, context):
        match = asked.answer.match_indexes.get(opened.member_id, 0)
        if asked.answer.cluster_id == opened.cluster_id and match > max(last, boot.applied):
            raise ConfigError(
                f"this disk ends at index {last}, but member {opened.member_id:x} acknowledged "
                f"{match}, says {asked.url}: it is an older copy. Mount the right one, or {REMEDY}",
            )


def _ask(members: Iterable[Member], context: ssl.SSLContext | None) -> list[_Asked]:
    """What those say who answer, all asked at once."""
    urls = [url for member in members for url in member.peer_urls]
    if not urls:
        return []

    def ask(url: str) -> _Asked | None:
        try:
            return _Asked(url, fetch_members(url, context, TIMEOUT_S))
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            return None

    with ThreadPoolExecutor(len(urls)) as pool:
        return [asked for asked in pool.map(ask, urls) if asked is not None]
