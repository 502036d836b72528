"""What related applications receive: the content of `db` and `proxy`.

Both are old interfaces with unit scope: every unit publishes the same content in its own bag,
because a consumer reads whichever it meets first. The form is in `lib/charms/etcd/v0`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from etcd_charm.cluster.facts import ClusterView


@dataclass(frozen=True, slots=True)
class ClientMaterial:
    """A client's certificate and key, and what verifies our servers: PEM texts."""

    certificate: str
    key: str
    ca: str


def list_client_urls(view: ClusterView) -> tuple[str, ...]:
    """Return the client URLs of all voters, sorted as texts: equal on every unit."""
    return tuple(sorted({url for voter in view.voters for url in voter.client_urls}))


def list_peer_pairs(view: ClusterView) -> tuple[str, ...]:
    """Return `name=peer_url` of all voters that ever started, sorted."""
    pairs: Iterable[str] = (
        f"{voter.name}={url}" for voter in view.voters if voter.name for url in voter.peer_urls
    )
    return tuple(sorted(set(pairs)))


def list_client_pairs(view: ClusterView) -> tuple[str, ...]:
    """Return `name=client_url` of all voters that ever started, sorted."""
    pairs: Iterable[str] = (
        f"{voter.name}={url}" for voter in view.voters if voter.name for url in voter.client_urls
    )
    return tuple(sorted(set(pairs)))


def is_publishable(view: ClusterView | None) -> bool:
    """Whether consumers may be told of the cluster: the list is current and has voters."""
    return view is not None and view.has_quorum and bool(list_client_urls(view))
