"""``--initial-cluster`` of offline commands, with ids computed as the daemon computes them."""

from __future__ import annotations

from raftkv.member_ids import cluster_id_of, founding_member_id
from raftkv.values import ClusterId, Member
from raftkvctl.options import UsageError


def parse_static_cluster(text: str, token: str) -> tuple[ClusterId, list[Member]]:
    """(cluster id, founding members) of ``NAME=URL,...``.

    Raises:
        UsageError: malformed.
    """
    urls: dict[str, list[str]] = {}
    for item in text.split(","):
        name, equals, url = item.strip().partition("=")
        if not equals or not name or "://" not in url:
            raise UsageError(f"--initial-cluster: {item!r} is not NAME=URL")
        urls.setdefault(name, []).append(url)
    members = [
        Member(founding_member_id(found, token), name, tuple(sorted(found)))
        for name, found in sorted(urls.items())
    ]
    return cluster_id_of(members), members
