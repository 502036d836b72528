"""Who founds the cluster: exactly one unit, exactly once.

Two facts make this hard. What a leader writes for the application becomes visible only when its
hook succeeds, and leadership can move between any two hooks. So a leader that founds a cluster in
the hook in which it decides to do so may found a second one beside that of the leader before it.

The rule therefore has two hooks. One hook commits a *claim* that names a unit and a token. Only a
later hook of that very unit, which reads the claim as committed, starts the first member. Whoever
leads in between does nothing: a claim is never overwritten. A claimant that is gone leads to a
`blocked` status with a remedy, not to a second cluster, because nobody can know what it did last.

The claim is spent once anything shows that the cluster exists: a recorded cluster id, a peer with
a member, or this machine's own memory of having founded with that token. Afterwards an empty data
directory is a loss to repair by joining, never a reason to found again.
"""

from etcd_charm.cluster.facts import Claim, DataState, Facts
from etcd_charm.cluster.steps import AppWrites, FoundCluster, Plan, Waiting, WokenBy

CLAIM_COMMIT_S = 1
"""The claim is committed at the end of the hook; the next one can come at once."""

LEAVER_S = 5
"""A claimant that leaves tells nobody when it is gone, unless it gives the claim back."""


def decide_claim(facts: Facts) -> AppWrites:
    """Return the claim that the Juju leader writes or gives back, if any."""
    if not facts.is_leader or facts.is_cluster_known or not facts.has_peer_relation:
        return AppWrites()
    if facts.claim is None and not facts.is_dying and facts.has_authorities:
        return AppWrites(claim=Claim(facts.unit, facts.fresh_token, facts.settings.engine))
    if _may_give_back(facts):
        return AppWrites(releases_claim=True)
    return AppWrites()


def _may_give_back(facts: Facts) -> bool:
    """Whether this unit leaves without having used its own claim, and so frees it for others.

    Only the claimant may do that, for only it knows that it never started and never will: a
    dying unit does not come back to life.
    """
    return (
        facts.is_dying
        and facts.claim is not None
        and facts.claim.unit == facts.unit
        and facts.engine.data is DataState.NEW
        and not facts.engine.founded_token
    )


def decide_founding(facts: Facts) -> Plan:
    """Decide for a unit with an empty data directory while no cluster is known."""
    claim = facts.claim
    if claim is None:
        if facts.is_leader:
            reason = "recording who founds the cluster"
            return Plan(waiting=Waiting(reason, WokenBy.TIMER, CLAIM_COMMIT_S))
        return Plan(waiting=Waiting("waiting for the leader to found the cluster", WokenBy.PEER))
    if claim.unit == facts.unit:
        return _found(facts, claim)
    if claim.unit not in facts.units_known:
        return Plan(
            blocked=f"{claim.unit} was to found the cluster and is gone: "
            "run the action bootstrap-again on the leader"
        )
    reason = f"waiting for {claim.unit} to found the cluster"
    if claim.unit not in facts.units_alive:
        return Plan(waiting=Waiting(reason, WokenBy.TIMER, LEAVER_S))
    return Plan(waiting=Waiting(reason, WokenBy.PEER))


def _found(facts: Facts, claim: Claim) -> Plan:
    if facts.engine.founded_token == claim.token:
        return Plan(
            blocked="the data of the founded cluster is missing here: "
            "restore a snapshot, or run the action bootstrap-again"
        )
    waiting = Waiting("founding the cluster", WokenBy.TIMER, CLAIM_COMMIT_S)
    return Plan(steps=(FoundCluster(claim.token),), waiting=waiting)


def decide_adoption(facts: Facts) -> Plan:
    """Decide for a unit whose storage came with data while no cluster is known."""
    if facts.claim is not None and facts.claim.unit == facts.unit:
        return Plan(
            blocked="the attached storage holds the data of another cluster: "
            "attach empty storage, then restore a snapshot"
        )
    return decide_founding(facts)
