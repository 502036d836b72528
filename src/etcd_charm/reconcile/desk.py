"""What all actions share: a look at the cluster, refusals, parameters, sizes."""

from dataclasses import dataclass, replace
from pathlib import Path

import ops

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import ClusterView, Facts, MemberView
from etcd_charm.reconcile.gather import PEER_RELATION, JujuFacts
from etcd_charm.reconcile.loop import Reconciler
from etcd_charm.workload.engine import Care, Fingerprint, Workload

HOME = Path("/home/ubuntu")
_SIZE_STEP = 1024


class Refused(Exception):  # noqa: N818 - the action's own word
    """The action cannot do this; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the actions of one hook are worked on."""

    charm: ops.CharmBase
    reconciler: Reconciler
    workload: Workload

    def observe(self) -> tuple[JujuFacts, Facts]:
        """Look at Juju and the cluster."""
        juju = self.reconciler.read_juju()
        return juju, self.reconciler.observe(juju, None)

    def lead(self, juju: JujuFacts) -> ops.RelationDataContent:
        """Return the application's databag.

        Raises:
            Refused: this unit does not lead.
        """
        relation = self.charm.model.get_relation(PEER_RELATION)
        if not juju.is_leader or relation is None:
            raise Refused("run this on the leader")
        return relation.data[self.charm.app]


def demand_view(facts: Facts) -> ClusterView:
    """Return the cluster.

    Raises:
        Refused: nobody answers, or without a quorum.
    """
    if facts.view is None:
        raise Refused("no member answers")
    if not facts.view.has_quorum:
        raise Refused("the cluster has no quorum: see the action health")
    return facts.view


def find_member(view: ClusterView, text: str) -> MemberView:
    """Return a member by its name, its unit's name or its id.

    Raises:
        Refused: there is none.
    """
    for member in view.members:
        if text in (member.name, f"{member.member_id:x}") or text.replace("/", "") == member.name:
            return member
    names = ", ".join(member.name or f"{member.member_id:x}" for member in view.members)
    raise Refused(f"there is no member {text!r}: {names}")


def name_of(member: MemberView) -> str:
    """Return how a member is called in messages."""
    return member.name or f"{member.member_id:x}"


def list_urls(view: ClusterView) -> list[str]:
    """Return the client URLs of the voters that answer, the Raft leader's first."""
    voters = sorted(
        (voter for voter in view.voters if voter.is_reachable),
        key=lambda voter: (voter.member_id != view.leader_id, voter.name),
    )
    return [url for voter in voters for url in voter.client_urls[:1]]


def hash_at(care: Care, url: str, revision: int) -> Fingerprint:
    """Return a hash over a member's data at a revision, or at the present one.

    etcd refuses the very revision that was compacted, which is the present one of an idle cluster.
    """
    try:
        return replace(care.hash_data(url, revision), revision=revision)
    except Retry:
        return care.hash_data(url, 0)


def read_target(event: ops.ActionEvent, default: Path) -> Path:
    """Return the folder that the operator names.

    Raises:
        Refused: it is not absolute.
    """
    return read_path(event, "target") or default


def read_path(event: ops.ActionEvent, name: str) -> Path | None:
    """Return a path that the operator may name.

    Raises:
        Refused: it is not absolute.
    """
    text = str(event.params.get(name) or "").strip()
    if not text:
        return None
    if not Path(text).is_absolute():
        raise Refused(f"{name} must be an absolute path, not {text!r}")
    return Path(text)


def format_size(size_bytes: int) -> str:
    """Return a size as `ls -h` prints it: rounded up, one letter."""
    if size_bytes < _SIZE_STEP:
        return str(size_bytes)
    size = float(size_bytes)
    for letter in "KMG":
        size /= _SIZE_STEP
        if size < _SIZE_STEP or letter == "G":
            break
    return f"{-(-int(size * 10) // 10)}{letter}"
