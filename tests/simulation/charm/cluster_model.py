"""An engine's cluster as the charm can see it: members, votes, quorum. No log, no data.

It refuses what etcd refuses: a second learner, a promotion of a learner that has not caught up, a
change without a quorum, a removal after which the started voters would be no majority.
"""

from dataclasses import dataclass, field

from etcd_charm.cluster.errors import Retry
from etcd_charm.cluster.facts import NO_MEMBER, ClusterView, MemberId, MemberView


@dataclass
class Member:
    member_id: MemberId
    peer_url: str
    name: str = ""
    is_learner: bool = False
    is_running: bool = False
    contacts_until_caught_up: int = 0
    listens: frozenset[str] = frozenset()
    """Where it listens; empty while nobody cares, which stands for its announced address."""

    @property
    def is_found(self) -> bool:
        """Whether the others find it where it is announced."""
        return self.is_running and (not self.listens or self.peer_url in self.listens)


@dataclass
class Cluster:
    """One cluster that was founded; `history` names every change for a failing seed's report."""

    cluster_id: int
    members: dict[MemberId, Member] = field(default_factory=dict)
    removed: set[MemberId] = field(default_factory=set)
    history: list[str] = field(default_factory=list)
    next_id: int = 1

    def has_quorum(self) -> bool:
        voters = [m for m in self.members.values() if not m.is_learner]
        found = sum(m.is_found for m in voters)
        return found > len(voters) // 2 or (len(voters) == 1 and voters[0].is_running)

    def leader(self) -> MemberId:
        running = [m.member_id for m in self.members.values() if m.is_running and not m.is_learner]
        return min(running) if running and self.has_quorum() else NO_MEMBER

    def view(self) -> ClusterView:
        members = tuple(
            MemberView(
                member_id=m.member_id,
                name=m.name,
                peer_urls=(m.peer_url,),
                client_urls=(m.peer_url.replace("2380", "2379"),) if m.name else (),
                is_learner=m.is_learner,
                is_reachable=m.is_running,
            )
            for m in self.members.values()
        )
        return ClusterView(self.cluster_id, members, self.leader(), self.has_quorum(), "3.4.36")

    def _demand_quorum(self) -> None:
        if not self.has_quorum():
            raise Retry("no quorum")

    def _fresh_id(self) -> MemberId:
        self.next_id += 1
        return MemberId(self.cluster_id * 1000 + self.next_id)

    def found(self, name: str, peer_url: str) -> MemberId:
        member_id = self._fresh_id()
        self.members[member_id] = Member(member_id, peer_url, name, is_running=True)
        return member_id

    def add_learner(self, peer_url: str, slowness: int) -> None:
        self._demand_quorum()
        if any(m.peer_url == peer_url for m in self.members.values()):
            return
        if any(m.is_learner for m in self.members.values()):
            raise Retry("too many learner members in cluster")
        member_id = self._fresh_id()
        self.members[member_id] = Member(
            member_id, peer_url, is_learner=True, contacts_until_caught_up=slowness
        )
        self.history.append(f"add {member_id} {peer_url}")

    def promote(self, member_id: MemberId) -> None:
        self._demand_quorum()
        member = self.members.get(member_id)
        if member is None or not member.is_learner:
            return
        if not member.is_running:
            raise Retry("can only promote a learner member which is in sync with leader")
        if member.contacts_until_caught_up > 0:
            member.contacts_until_caught_up -= 1
            raise Retry("can only promote a learner member which is in sync with leader")
        member.is_learner = False
        self.history.append(f"promote {member_id}")

    def remove(self, member_id: MemberId) -> None:
        self._demand_quorum()
        member = self.members.get(member_id)
        if member is None:
            return
        rest = [m for m in self.members.values() if not m.is_learner and m is not member]
        running = sum(m.is_running for m in rest)
        if not member.is_learner and running <= len(rest) // 2:
            raise Retry("re-configuration failed due to not enough started members")
        del self.members[member_id]
        member.is_running = False
        self.removed.add(member_id)
        self.history.append(f"remove {member_id} {member.name}")

    def update(self, member_id: MemberId, peer_url: str) -> None:
        self._demand_quorum()
        self.members[member_id].peer_url = peer_url
        self.history.append(f"update {member_id}")
