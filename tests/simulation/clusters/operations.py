"""The operator: membership changes and leadership transfers, sometimes several at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from raftkv.replica.effects import Effects
from raftkv.replica.inputs import ProposeMembership, TransferLeadership
from raftkv.replica.levels import WAITING_VOTERS
from raftkv.values import Member, MemberId, MembershipChange, MembershipChangeKind
from tests.simulation.clusters.member import SimulatedMember
from tests.simulation.clusters.world import World

VOTERS_MIN = 2
VOTERS_MAX = 5


@dataclass
class Order:
    """One asked change or transfer; serves as its own token."""

    text: str
    member_id: int


class Operations:
    """Chooses changes from what one running member believes the membership to be."""

    def __init__(
        self,
        world: World,
        members: dict[int, SimulatedMember],
    ) -> None:
        self._world = world
        self._members = members
        self._next_id = 100
        self.done_count = 0

    def transfer(self) -> None:
        """Ask some member to hand leadership to some voter."""
        member = self._choose_member()
        if member is None or member.replica is None:
            return
        voters = sorted(member.replica.membership.voters)
        if voters:
            to = self._world.choose(voters)
            self._world.tell(f"operator asks member {member.member_id}: transfer to {to}")
            member.submit(TransferLeadership(to, Order(f"transfer to {to}", to)))

    def transfer_from(self, member: SimulatedMember) -> None:
        """Ask a leader to hand leadership to some other voter."""
        if member.replica is None:
            return
        voters = sorted(member.replica.membership.voters - {member.member_id})
        if voters:
            to = self._world.choose(voters)
            member.submit(TransferLeadership(to, Order(f"transfer to {to}", to)))

    def change(self, *, to_leader: bool = False) -> None:
        """Ask for one change, sometimes for two at once."""
        member = self._choose_member()
        leading = [m for m in self._members.values() if m.leads]
        if to_leader and leading:
            member = leading[-1]
        if member is None:
            return
        for _ in range(2 if self._world.happens(0.3) else 1):
            self._change(member)

    def _choose_member(self) -> SimulatedMember | None:
        leading = [m for m in self._members.values() if m.leads]
        running = [m for m in self._members.values() if m.is_running]
        if leading and self._world.happens(0.6):
            running = leading
        if not running:
            return None
        chosen: SimulatedMember = self._world.choose(running)
        return chosen

    def _change(self, member: SimulatedMember) -> None:
        replica = member.replica
        if replica is None:
            return
        world = self._world
        voters = sorted(replica.membership.voters)
        learners = sorted(replica.membership.learners)
        if learners and world.happens(0.6):
            kind, target = MembershipChangeKind.PROMOTE, Member(world.choose(learners))
        elif len(voters) >= VOTERS_MAX or (len(voters) > VOTERS_MIN and world.happens(0.5)):
            kind, target = MembershipChangeKind.REMOVE, Member(world.choose(voters + learners))
        else:
            self._next_id += 1
            urls = (f"http://{self._next_id}:2380",)
            target = Member(MemberId(self._next_id), "", urls)
            kind = MembershipChangeKind.ADD_LEARNER
            if world.happens(0.4):
                kind = MembershipChangeKind.ADD_VOTER
            elif replica.membership.level >= WAITING_VOTERS and world.happens(0.5):
                target = replace(target, wants_vote=True)
        text = f"{kind.name} {target.member_id}"
        world.tell(f"operator asks member {member.member_id}: {text}")
        order = Order(text, target.member_id)
        member.submit(ProposeMembership(MembershipChange(kind, target), order))

    def on_effects(self, _member: SimulatedMember, effects: Effects) -> None:
        """Take the outcomes of one step."""
        for token in effects.membership_done:
            assert isinstance(token, Order)
            self.done_count += 1
            self._world.tell(f"operator: {token.text} done")
        for rejected in effects.rejected:
            for token in rejected.tokens:
                if isinstance(token, Order):
                    self._world.tell(
                        f"operator: {token.text} {rejected.reason.value} {rejected.detail}"
                    )
