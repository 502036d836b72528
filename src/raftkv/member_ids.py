"""Ids of members and clusters: the first eight bytes of a SHA-1, computed as etcd does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from raftkv.values import ClusterId, Member, MemberId


def founding_member_id(peer_urls: Iterable[str], token: str) -> MemberId:
    """The id of a founding member: equal on all members that are given the same cluster."""
    return _hash("".join(sorted(peer_urls)) + token)


def make_member_id(peer_urls: Iterable[str], cluster_id: ClusterId, now_ms: int) -> MemberId:
    """The id of a member added later; the time makes it differ from any removed one."""
    return _hash("".join(sorted(peer_urls)) + f"{cluster_id:x}{now_ms}")


def cluster_id_of(members: Iterable[Member]) -> ClusterId:
    """The cluster's id, from the ids of its founding members."""
    joined = b"".join(i.to_bytes(8, "big") for i in sorted(m.member_id for m in members))
    digest = hashlib.sha1(joined, usedforsecurity=False).digest()
    return ClusterId(int.from_bytes(digest[:8], "big"))


def _hash(text: str) -> MemberId:
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).digest()
    return MemberId(int.from_bytes(digest[:8], "big"))
